// THE key table of the mgs: every key that it reads or writes, and the coding of its value.
//
//   {cluster}/…                 value
//   format                      number of the format of all that the store holds of this cluster
//   id                          the cluster's id (shared/store/cluster_id.ts)
//   epoch                       of the cluster map; raised with each change of the three below
//   mgs/{address}               an mgs: node id, address, host, version, state
//   mds/{address}               an mds: the same
//   ost/{index:08x}             an OST and the oss that serves it: the same and its index
//   ost_usage/{index:08x}       its space, as of its last probe; no change of the map
//   lease/prober                the mgs that probes (shared/store/lease.ts)
//
// Values are MessagePack arrays of a format number and the content. What is read is validated: an
// mgs of another version, or an operator, may have written it.

import { decode, encode } from "@msgpack/msgpack";
import * as v from "valibot";
import { formatAddress } from "../shared/address.ts";
import type { Address } from "../shared/environment.ts";
import { RustreError } from "../shared/errors.ts";
import {
  countSchema,
  epochSchema,
  serverSchema,
  targetSchema,
  usageSchema,
} from "../shared/model.ts";
import { type Key, type KeyRange, prefixRange, textToKey } from "../shared/store/store.ts";

export { storeFormat } from "../shared/store/cluster_id.ts";

/** The format of one value, raised with its own shape. */
const valueFormat = 1;

const downSince = {
  /** While down: wall-clock time at which it went down. */
  downSinceMs: v.optional(v.number()),
};

const serverRecordSchema = v.object({ ...serverSchema.entries, ...downSince });
/** An mgs or mds in the store. */
export type ServerRecord = v.InferOutput<typeof serverRecordSchema>;

const targetRecordSchema = v.object({ ...v.omit(targetSchema, ["usage"]).entries, ...downSince });
/** An OST in the store. */
export type TargetRecord = v.InferOutput<typeof targetRecordSchema>;

/** How one kind of value is written and read. */
export interface Codec<T> {
  encode(content: T): Uint8Array;
  /** Throws STORE_FORMAT. */
  decode(value: Uint8Array): T;
}

function codec<T>(what: string, schema: v.GenericSchema<unknown, T>): Codec<T> {
  const valueSchema = v.tuple([v.literal(valueFormat), schema]);
  return {
    encode: (content) => encode([valueFormat, content], { ignoreUndefined: true }),
    decode(value) {
      try {
        return v.parse(valueSchema, decode(value))[1];
      } catch (error) {
        throw new RustreError("STORE_FORMAT", `Cannot read ${what} in the store`, { cause: error });
      }
    },
  };
}

export const codecs = {
  format: codec("the format number", countSchema),
  epoch: codec("the epoch", epochSchema),
  server: codec("an mgs or mds", serverRecordSchema),
  target: codec("an OST", targetRecordSchema),
  usage: codec("the usage of an OST", usageSchema),
};

/** The keys of one cluster. */
export class MgsSchema {
  readonly format: Key;
  readonly epoch: Key;
  readonly proberLease: Key;
  readonly targets: KeyRange;
  readonly usages: KeyRange;
  readonly #prefix: Key;

  constructor(clusterName: string) {
    this.#prefix = `${textToKey(clusterName)}/`;
    this.format = `${this.#prefix}format`;
    this.epoch = `${this.#prefix}epoch`;
    this.proberLease = `${this.#prefix}lease/prober`;
    this.targets = prefixRange(`${this.#prefix}ost/`);
    this.usages = prefixRange(`${this.#prefix}ost_usage/`);
  }

  server(role: "mgs" | "mds", address: Address): Key {
    return `${this.#prefix}${role}/${textToKey(formatAddress(address))}`;
  }

  servers(role: "mgs" | "mds"): KeyRange {
    return prefixRange(`${this.#prefix}${role}/`);
  }

  target(index: number): Key {
    return `${this.targets.begin}${hex8(index)}`;
  }

  usage(index: number): Key {
    return `${this.usages.begin}${hex8(index)}`;
  }

  /** The OST index in a key of {@link usages}. */
  indexOf(key: Key): number {
    return Number.parseInt(key.slice(this.usages.begin.length), 16);
  }
}

function hex8(number: number): string {
  return number.toString(16).padStart(8, "0");
}
