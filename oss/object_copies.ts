// The copies of one object as a repair sees them: the one on this OST and those on its replicas.

import { assert } from "../shared/assert.ts";
import {
  blockBytes,
  decodeChecksums,
  encodeChecksums,
  firstMismatch,
  partCount,
} from "../shared/checksums.ts";
import { type Payload, payloadBytesOf } from "../shared/environment.ts";
import { isRustreError, RustreError } from "../shared/errors.ts";
import { readRange } from "../shared/file_ranges.ts";
import type { ObjectId, Target } from "../shared/model.ts";
import type { DamagedBlocks } from "./damaged_blocks.ts";
import type { ObjectStore } from "./object_store.ts";
import type { Range } from "./range_locks.ts";
import type { ReplicaCall, Replication } from "./replication.ts";

export interface CopiedBytes {
  readonly bytes: Uint8Array;
  readonly checksums: Uint32Array;
}

/** Ranges begin with a block, and end with one or with the object. */
export interface ObjectCopy {
  readonly targetIndex: number;
  /** `undefined` where the object does not exist. */
  lengthBytes(): Promise<number | undefined>;
  /** The blocks of a range, which the copy has, that are damaged, by number and in order. */
  damagedBlocks(range: Range): Promise<number[]>;
  /** Bytes that were verified. */
  read(range: Range): Promise<CopiedBytes>;
  write(offsetBytes: number, copied: CopiedBytes): Promise<void>;
  sync(): Promise<void>;
}

/** What a copy may say of bytes that it cannot give: another copy has to. */
function isBadCopy(error: unknown): boolean {
  return isRustreError(error, "DATA_CORRUPT", "DATA_MISSING", "EIO");
}

/** All blocks of a range, by number. */
export function blocksOf({ startBytes, endBytes }: Range): number[] {
  if (startBytes >= endBytes) return [];
  const first = Math.floor(startBytes / blockBytes);
  return Array.from({ length: Math.ceil(endBytes / blockBytes) - first }, (_, i) => first + i);
}

export class LocalCopy implements ObjectCopy {
  readonly targetIndex: number;
  readonly #object: ObjectId;
  readonly #objects: ObjectStore;
  readonly #damaged: DamagedBlocks;

  constructor(
    object: ObjectId,
    parts: { targetIndex: number; objects: ObjectStore; damaged: DamagedBlocks },
  ) {
    this.targetIndex = parts.targetIndex;
    this.#object = object;
    this.#objects = parts.objects;
    this.#damaged = parts.damaged;
  }

  lengthBytes(): Promise<number | undefined> {
    return this.#objects.stat(this.#object);
  }

  async damagedBlocks(range: Range): Promise<number[]> {
    const { startBytes, endBytes } = range;
    try {
      const found = await this.#objects.verify(this.#object, startBytes, endBytes - startBytes);
      this.#damaged.found(found);
      return found.flatMap(({ offsetBytes, lengthBytes }) =>
        blocksOf({ startBytes: offsetBytes, endBytes: offsetBytes + lengthBytes })
      );
    } catch (error) {
      if (isBadCopy(error)) return blocksOf(range);
      throw error;
    }
  }

  async read({ startBytes, endBytes }: Range): Promise<CopiedBytes> {
    const lengthBytes = endBytes - startBytes;
    const data = await this.#objects.read(this.#object, startBytes, lengthBytes, {
      verified: true,
    });
    try {
      return { bytes: inMemory(data.payload), checksums: data.checksums };
    } finally {
      data.release();
    }
  }

  async write(offsetBytes: number, { bytes, checksums }: CopiedBytes): Promise<void> {
    await this.#objects.write(this.#object, offsetBytes, bytes, checksums);
    this.#damaged.written(this.#object, offsetBytes, bytes.length);
  }

  sync(): Promise<void> {
    return this.#objects.sync([this.#object]);
  }
}

function inMemory(payload: Payload): Uint8Array {
  if (payload instanceof Uint8Array) return payload;
  const bytes = new Uint8Array(payloadBytesOf(payload));
  readRange(payload, bytes);
  return bytes;
}

/** The copy of a replica. Its calls all end in time, those to a replica that hangs too. */
export class RemoteCopy implements ObjectCopy {
  readonly targetIndex: number;
  readonly #target: Target;
  readonly #of: { readonly epoch: number; readonly object: ObjectId };
  readonly #replication: Replication;
  readonly #timeoutMs: () => number;
  /** Of its last write. */
  #verifier: string | undefined;

  constructor(
    target: Target,
    of: { epoch: number; object: ObjectId },
    replication: Replication,
    timeoutMs: () => number,
  ) {
    this.targetIndex = target.index;
    this.#target = target;
    this.#of = of;
    this.#replication = replication;
    this.#timeoutMs = timeoutMs;
  }

  async lengthBytes(): Promise<number | undefined> {
    try {
      const request = { object: this.#of.object };
      const call = this.#call("stat");
      return (await this.#replication.call(call, "statObject", request)).lengthBytes;
    } catch (error) {
      if (isRustreError(error, "DATA_MISSING")) return undefined;
      throw error;
    }
  }

  /** Asks for less and less until it is known which: most often all is well, or one block is not. */
  async damagedBlocks(range: Range): Promise<number[]> {
    const blocks = blocksOf(range);
    if (blocks.length === 0 || await this.#isGood(range)) return [];
    if (blocks.length === 1) return blocks;
    const middle = blocks[blocks.length >> 1]! * blockBytes;
    return [
      ...await this.damagedBlocks({ ...range, endBytes: middle }),
      ...await this.damagedBlocks({ ...range, startBytes: middle }),
    ];
  }

  async #isGood(range: Range): Promise<boolean> {
    try {
      await this.read(range);
      return true;
    } catch (error) {
      if (isBadCopy(error)) return false;
      throw error;
    }
  }

  async read({ startBytes, endBytes }: Range): Promise<CopiedBytes> {
    const lengthBytes = endBytes - startBytes;
    const request = { ...this.#of, offsetBytes: startBytes, lengthBytes, verified: true };
    const { reply, payload } = await this.#replication.download(this.#call("read"), request);
    const checksums = decodeChecksums(reply.checksums, partCount(startBytes, lengthBytes));
    const isWhole = checksums && payload.length === lengthBytes &&
      firstMismatch(startBytes, payload, checksums) === undefined;
    if (isWhole) return { bytes: payload, checksums };
    const what = `object "${this.#of.object}" from its replica OST ${this.targetIndex}`;
    throw new RustreError("CHECKSUM_MISMATCH", `Cannot read ${what}: bytes changed on the way`);
  }

  async write(offsetBytes: number, { bytes, checksums }: CopiedBytes): Promise<void> {
    const encoded = encodeChecksums(checksums);
    const request = { ...this.#of, offsetBytes, replicas: [], sync: false, checksums: encoded };
    const call = { ...this.#call("write"), payload: bytes };
    const { verifiers } = await this.#replication.call(call, "writeObject", request);
    this.#verifier = verifiers[0];
  }

  async sync(): Promise<void> {
    const { epoch, object } = this.#of;
    assert(this.#verifier !== undefined, "a sync without a write");
    const request = { epoch, objects: [object], verifier: this.#verifier };
    await this.#replication.call(this.#call("sync"), "syncObjects", request);
  }

  #call(action: string): ReplicaCall {
    return { target: this.#target, action, of: this.#of, timeoutMs: this.#timeoutMs() };
  }
}
