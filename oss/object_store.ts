// What an OST keeps its objects in: the contract of file_store.ts and memory_store.ts, proved for
// both by tests/contract/object_store.ts. An object is a run of bytes with a length and a name, its
// object id; which file it is a part of is nothing to the store.

import type { Payload } from "../shared/environment.ts";
import { RustreError } from "../shared/errors.ts";
import type { ObjectId, Usage } from "../shared/model.ts";

/** Bytes of an object on their way to a reader, with the checksums that are kept with them. */
export interface ObjectData {
  /** From memory, or from the object's own file. */
  readonly payload: Payload;
  /** Of its parts; see shared/checksums.ts. */
  readonly checksums: Uint32Array;
  /** To be called once, when the payload is not needed any more. */
  release(): void;
}

/** Blocks that do not match their checksums, or whose bytes or checksums are gone. */
export interface DamagedRange {
  readonly object: ObjectId;
  /** Of the first block. */
  readonly offsetBytes: number;
  /** Whole blocks, but for the end of the object. */
  readonly lengthBytes: number;
}

/**
 * Object ids are those that parseObjectId takes. Concurrent calls are allowed, with two things left
 * to the caller: it orders writes and resizes of one object that touch the same block
 * (range_locks.ts), and it writes nothing to an inode that is being destroyed (destroyed_inodes.ts).
 *
 * A change happens as a whole or not at all, whatever crashes. A completed one is seen by every
 * later read, and is lost in a crash of the machine unless a sync that began after it succeeded. A
 * crash of the process alone loses nothing.
 *
 * Errors: DATA_MISSING, DATA_CORRUPT and CHECKSUM_MISMATCH as told below; ENOSPC, EFBIG and EROFS as
 * the disk has them; OVERLOADED where the process is out of descriptors; SHUTTING_DOWN after close;
 * EIO for all others.
 */
export interface ObjectStore extends AsyncDisposable {
  /**
   * 32 hexadecimal digits that stay the same while the store is open, and are others when it is
   * opened after writes that were not synced may have been lost. A writer who finds the verifier of
   * its writes unchanged after a sync has them on disk.
   */
  readonly writeVerifier: string;

  /**
   * Puts bytes at an offset. Makes the object where it does not exist; a gap between its end and
   * the offset reads as zeros. No bytes: makes the object and leaves its length.
   *
   * `checksums`: of the parts of `bytes`, made by whoever made the bytes. CHECKSUM_MISMATCH where
   * they are of others: then nothing is changed. DATA_CORRUPT where a block of which only a part is
   * written is damaged: its other part cannot be kept. Writing the whole block mends it, or all that
   * the object has of it.
   */
  write(
    object: ObjectId,
    offsetBytes: number,
    bytes: Uint8Array,
    checksums: Uint32Array,
  ): Promise<void>;

  /**
   * Exactly these bytes; DATA_MISSING where the object does not have all of them.
   *
   * `verified`: they match their checksums, DATA_CORRUPT where they cannot. Otherwise that is up to
   * whoever receives them: blocks that are sent whole are not looked at, and one that is written at
   * the same time may arrive half old and half new; those sent in part are always verified.
   */
  read(
    object: ObjectId,
    offsetBytes: number,
    lengthBytes: number,
    options: { verified: boolean },
  ): Promise<ObjectData>;

  /**
   * Reads a range, as far as the object goes, and says which blocks are damaged. DATA_MISSING where
   * the object does not exist. Where its list of checksums is damaged, the whole object is.
   */
  verify(object: ObjectId, offsetBytes: number, lengthBytes: number): Promise<DamagedRange[]>;

  /**
   * Objects with their lengths, at most `limit`, those after `after` in an order that stays: by the
   * directory that file_names.ts gives their inode, then by id. `ino`: only those of this inode.
   */
  list(
    after: ObjectId | undefined,
    limit: number,
    ino?: number,
  ): Promise<{ object: ObjectId; lengthBytes: number }[]>;

  /**
   * "extend": the object is at least so long afterwards, and made where it does not exist; what is
   * new reads as zeros. "cut": it is at most so long; one that does not exist is left so.
   */
  resize(object: ObjectId, lengthBytes: number, how: "extend" | "cut"): Promise<void>;

  /**
   * Everything that was written to these objects before the call, and that they exist, survives a
   * crash of the machine. DATA_MISSING where one does not exist.
   *
   * Once a sync of an object failed, nobody knows which of its bytes the disk has: every later
   * operation on it fails with EIO until it is destroyed. It is never a later sync that succeeds.
   */
  sync(objects: readonly ObjectId[]): Promise<void>;

  /** The object's length, or `undefined` where it does not exist. */
  stat(object: ObjectId): Promise<number | undefined>;

  /**
   * Deletes every object of these inodes, for good even if the machine crashes; says how many there
   * were. After a failure some may be left: the call may be repeated, also when it succeeded.
   */
  destroy(inodes: readonly number[]): Promise<number>;

  /** `usedBytes` is the sum of the objects' lengths, holes included. */
  usage(): StoreUsage;

  /** Lets operations under way finish and refuses others. Idempotent. */
  close(): Promise<void>;
}

/** What a store knows of its usage; handlers.ts adds what was found damaged. */
export type StoreUsage = Omit<Usage, "corruptBlocks" | "repairedBlocks">;

/** Who an OST's storage belongs to. */
export interface TargetOwner {
  readonly clusterId: string;
  readonly clusterName: string;
  readonly targetIndex: number;
}

/** An OST's storage: its lock, its identity, its objects. A disk directory, or a test's stand-in. */
export interface TargetStorage {
  /** Rejects with EBUSY where another daemon has it. */
  lock(): Promise<void>;
  /** Storage without an owner is claimed, that of another one refused. Needs the lock. */
  open(owner: TargetOwner): Promise<OpenTarget>;
  /** Idempotent. */
  unlock(): void;
}

export interface OpenTarget {
  /** Made when the storage was claimed; stays with it. */
  readonly nodeId: string;
  readonly objects: ObjectStore;
}

/** The error of a read that finds less than it was asked for. */
export function missingBytes(
  where: { object: ObjectId; targetIndex: number },
  wanted: { offsetBytes: number; lengthBytes: number },
  presentBytes: number | undefined,
): RustreError {
  const range = `${wanted.lengthBytes} bytes at ${wanted.offsetBytes} of object "${where.object}"`;
  const found = presentBytes === undefined ? "does not exist" : `has ${presentBytes} bytes`;
  return new RustreError(
    "DATA_MISSING",
    `Cannot read ${range} on OST ${where.targetIndex}: it ${found}`,
  );
}

/** The error of a read of bytes that do not match their checksums. */
export function corruptBytes(
  where: { object: ObjectId; targetIndex: number },
  offsetBytes: number,
  reason: string,
): RustreError {
  return new RustreError(
    "DATA_CORRUPT",
    `Cannot read object "${where.object}" on OST ${where.targetIndex}: its bytes at ` +
      `${offsetBytes} are damaged: ${reason}`,
  );
}

/** The error of bytes that do not match the checksums they came with. */
export function changedOnTheWay(object: ObjectId, offsetBytes: number): RustreError {
  return new RustreError(
    "CHECKSUM_MISMATCH",
    `Cannot write object "${object}": the bytes for offset ${offsetBytes} were changed on their way`,
  );
}

/** The error of any other operation on an object that does not exist. */
export function missingObject(
  action: string,
  where: { object: ObjectId; targetIndex: number },
): RustreError {
  return new RustreError(
    "DATA_MISSING",
    `Cannot ${action} object "${where.object}" on OST ${where.targetIndex}: it does not exist`,
  );
}
