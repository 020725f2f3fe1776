// The id of the cluster that a store belongs to: made by the cluster's first mgs, checked by an mds,
// which would otherwise serve an empty file system from a store of its own. And the mark of a store
// that a cluster is being copied to: until the copy is complete nobody uses it.

import { decode, encode } from "@msgpack/msgpack";
import * as v from "valibot";
import { RustreError } from "../errors.ts";
import { countSchema, idSchema } from "../model.ts";
import { bytesToKey, type Key, keyToBytes, type ReadTransaction, textToKey } from "./store.ts";
import type { Transaction } from "./store.ts";

/** Raised by every change after which an older rustre would misread the store. */
export const storeFormat = 1;

/** [format of this value, number] */
const formatSchema = v.tuple([v.literal(1), countSchema]);
/** [format, id] */
const valueSchema = v.tuple([v.literal(1), idSchema]);

function clusterIdKey(clusterName: string): Key {
  return `${textToKey(clusterName)}/id`;
}

function formatKey(clusterName: string): Key {
  return `${textToKey(clusterName)}/format`;
}

/** Throws STORE_FORMAT where another version of rustre wrote the cluster. `url` is for the message. */
export async function requireStoreFormat(
  transaction: ReadTransaction,
  clusterName: string,
  url: string,
): Promise<void> {
  const value = await transaction.get(formatKey(clusterName));
  const number = value === undefined ? "no format number" : decodeFormat(value);
  if (number === storeFormat) return;
  throw new RustreError(
    "STORE_FORMAT",
    `Cannot use the store "${url}": it has format ${number}, and this version of rustre reads ` +
      `format ${storeFormat}`,
  );
}

function decodeFormat(value: Uint8Array): number {
  try {
    return v.parse(formatSchema, decode(value))[1];
  } catch (error) {
    const message = "Cannot read the format number in the store";
    throw new RustreError("STORE_FORMAT", message, { cause: error });
  }
}

/**
 * Nothing where the store has no cluster of that name. Throws STORE_FORMAT, also where a copy into
 * the store is not complete.
 */
export async function readClusterId(
  transaction: ReadTransaction,
  clusterName: string,
): Promise<string | undefined> {
  const [value, mark] = await Promise.all([
    transaction.get(clusterIdKey(clusterName)),
    transaction.get(copyMarkKey(clusterName)),
  ]);
  if (mark !== undefined) {
    throw new RustreError(
      "STORE_FORMAT",
      `Cannot use the store for cluster "${clusterName}": a copy into it is not complete; run ` +
        '"rustre admin store copy" again to complete it',
    );
  }
  if (value === undefined) return undefined;
  try {
    return v.parse(valueSchema, decode(value))[1];
  } catch (error) {
    throw new RustreError("STORE_FORMAT", "Cannot read the cluster id in the store", {
      cause: error,
    });
  }
}

/** Of a cluster that this version can read. `what`: what cannot be done else, as "copy". */
export async function requireCluster(
  transaction: ReadTransaction,
  clusterName: string,
  { url, what }: { readonly url: string; readonly what: string },
): Promise<string> {
  const clusterId = await readClusterId(transaction, clusterName);
  if (clusterId === undefined) {
    const message = `Cannot ${what} the store "${url}": it has no cluster "${clusterName}"`;
    throw new RustreError("WRONG_CLUSTER", message);
  }
  await requireStoreFormat(transaction, clusterName, url);
  return clusterId;
}

/** With the format in which this version writes. */
export function writeClusterId(transaction: Transaction, clusterName: string, id: string): void {
  transaction.set(formatKey(clusterName), encode([1, storeFormat]));
  transaction.set(clusterIdKey(clusterName), encode([1, id]));
}

// ── the mark of an incomplete copy ─────────────────────────────────────────────────────────────

/** How far a copy into the store has come; changed with each batch, in its transaction. */
export interface CopyMark {
  /** Of the cluster that is copied. */
  readonly clusterId: string;
  /** The run of the command that copies. */
  readonly copier: string;
  /** Everything before this key is there. */
  readonly cursor: Key;
  readonly pairs: number;
  readonly bytes: number;
}

/** [format, cluster id, copier, cursor, pairs, bytes] */
const markSchema = v.tuple([
  v.literal(1),
  idSchema,
  idSchema,
  v.instance(Uint8Array),
  countSchema,
  countSchema,
]);

export function copyMarkKey(clusterName: string): Key {
  return `${textToKey(clusterName)}/copy`;
}

export async function readCopyMark(
  transaction: ReadTransaction,
  clusterName: string,
): Promise<CopyMark | undefined> {
  const value = await transaction.get(copyMarkKey(clusterName));
  if (value === undefined) return undefined;
  try {
    const [, clusterId, copier, cursor, pairs, bytes] = v.parse(markSchema, decode(value));
    return { clusterId, copier, cursor: bytesToKey(cursor), pairs, bytes };
  } catch (error) {
    throw new RustreError("STORE_FORMAT", "Cannot read the mark of a copy in the store", {
      cause: error,
    });
  }
}

export function writeCopyMark(transaction: Transaction, clusterName: string, mark: CopyMark) {
  const { clusterId, copier, cursor, pairs, bytes } = mark;
  const value = encode([1, clusterId, copier, keyToBytes(cursor), pairs, bytes]);
  transaction.set(copyMarkKey(clusterName), value);
}
