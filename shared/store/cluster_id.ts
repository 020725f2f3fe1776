// The id of the cluster that a store belongs to: made by the cluster's first mgs, checked by an mds,
// which would otherwise serve an empty file system from a store of its own.

import { decode, encode } from "@msgpack/msgpack";
import * as v from "valibot";
import { RustreError } from "../errors.ts";
import { idSchema } from "../model.ts";
import { type Key, type ReadTransaction, textToKey, type Transaction } from "./store.ts";

/** [format, id] */
const valueSchema = v.tuple([v.literal(1), idSchema]);

function clusterIdKey(clusterName: string): Key {
  return `${textToKey(clusterName)}/id`;
}

/** Nothing where the store has no cluster of that name. Throws STORE_FORMAT. */
export async function readClusterId(
  transaction: ReadTransaction,
  clusterName: string,
): Promise<string | undefined> {
  const value = await transaction.get(clusterIdKey(clusterName));
  if (value === undefined) return undefined;
  try {
    return v.parse(valueSchema, decode(value))[1];
  } catch (error) {
    throw new RustreError("STORE_FORMAT", "Cannot read the cluster id in the store", {
      cause: error,
    });
  }
}

export function writeClusterId(transaction: Transaction, clusterName: string, id: string): void {
  transaction.set(clusterIdKey(clusterName), encode([1, id]));
}
