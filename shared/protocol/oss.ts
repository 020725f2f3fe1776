// The messages of an oss: opcodes 0x0300 to 0x03ff.

import * as v from "valibot";
import { limits } from "../limits.ts";
import {
  bytesSchema,
  checksumsSchema,
  countSchema,
  epochSchema,
  idSchema,
  inodeIdSchema,
  objectIdSchema,
  targetIndexSchema,
} from "../model.ts";
import { downloadMethod, method, service, uploadMethod } from "../rpc/service.ts";
import { probe } from "./node.ts";

const nothing = v.object({});

const objectOf = { epoch: epochSchema, object: objectIdSchema };
/**
 * How long the object was when its file was opened, for the sender knows. Where it is shorter now, a
 * change that would put zeros in the place of what is lost is refused with DATA_MISSING.
 */
const existing = { existingBytes: v.optional(bytesSchema) };

/** Of an OST: changes whenever writes to it that were not synced may have been lost. */
const verifierSchema = idSchema;

/** How far a scrub has come. */
const scrubPlaceSchema = v.object({ object: objectIdSchema, offsetBytes: bytesSchema });
export type ScrubPlace = v.InferOutput<typeof scrubPlaceSchema>;

export const ossService = service("oss", {
  probe,
  /**
   * Writes the payload at an offset of an object that is made where it does not exist, here and on
   * `replicas`, in the order in which this OST got overlapping writes. The reply means that all
   * have it, and with `sync` that all have it on disk, with its directory entry. It is written as a
   * whole or not at all, whatever crashes. `checksums`: of the payload's parts, as checksums.ts cuts
   * it; CHECKSUM_MISMATCH where they are of other bytes. `verifiers`: of this OST and then of
   * `replicas`, in their order.
   */
  writeObject: uploadMethod(
    0x0301,
    v.object({
      ...objectOf,
      ...existing,
      offsetBytes: bytesSchema,
      replicas: v.pipe(v.array(targetIndexSchema), v.maxLength(limits.replicasMax)),
      sync: v.boolean(),
      checksums: checksumsSchema,
    }),
    v.object({
      verifiers: v.pipe(
        v.tupleWithRest([verifierSchema], verifierSchema),
        v.maxLength(1 + limits.replicasMax),
      ),
    }),
  ),
  /**
   * Exactly the asked bytes with the checksums that are kept with them, or DATA_MISSING. `verified`:
   * this OST checks them itself first, DATA_CORRUPT where they are not what was written; otherwise
   * the reader does, and where they do not match it asks again in this way, to know whether the copy
   * is bad or was just being changed.
   */
  readObject: downloadMethod(
    0x0302,
    v.object({
      ...objectOf,
      offsetBytes: bytesSchema,
      lengthBytes: v.pipe(countSchema, v.minValue(1), v.maxValue(limits.framePayloadBytesMax)),
      verified: v.boolean(),
    }),
    v.object({ checksums: checksumsSchema }),
    (request) => request.lengthBytes,
  ),
  /**
   * Sets an object's length, on this OST alone. `extend`: never makes it shorter, and makes it
   * where it does not exist; otherwise never makes it longer, and a missing one is left missing.
   */
  resizeObject: method(
    0x0303,
    v.object({ ...objectOf, ...existing, lengthBytes: bytesSchema, extend: v.boolean() }),
    v.object({ verifier: verifierSchema }),
  ),
  /**
   * The objects and their directory entries are on this OST's disk, with every change that was
   * answered with `verifier`. WRITES_LOST where it is not the OST's any more.
   */
  syncObjects: method(
    0x0304,
    v.object({
      epoch: epochSchema,
      objects: v.pipe(v.array(objectIdSchema), v.maxLength(limits.objectsPerSyncMax)),
      verifier: verifierSchema,
    }),
    nothing,
  ),
  statObject: method(
    0x0305,
    v.object({ object: objectIdSchema }),
    v.object({ lengthBytes: bytesSchema }),
  ),
  /**
   * To the primary: checks a range of an object on all its replicas, and writes what is bad again
   * from one that is good. Nobody changes the range meanwhile. `repaired` and `lost`: blocks, of all
   * replicas, that are right again, and those of which no replica has a good copy.
   */
  repairObject: method(
    0x0307,
    v.object({
      ...objectOf,
      offsetBytes: bytesSchema,
      lengthBytes: v.pipe(countSchema, v.minValue(1), v.maxValue(limits.framePayloadBytesMax)),
      replicas: v.pipe(v.array(targetIndexSchema), v.maxLength(limits.replicasMax)),
    }),
    v.object({ repairedBlocks: countSchema, lostBlocks: countSchema }),
  ),
  /**
   * Checks objects of this OST in order, from a place on, until it has read about `bytesMax`.
   * `next`: where to go on; absent where all are checked. `objects`: those it has begun with.
   */
  scrubObjects: method(
    0x0308,
    v.object({
      from: v.optional(scrubPlaceSchema),
      bytesMax: v.pipe(countSchema, v.minValue(1), v.maxValue(limits.scrubBytesMax)),
    }),
    v.object({
      objects: countSchema,
      bytes: countSchema,
      damaged: v.pipe(
        v.array(v.object({
          object: objectIdSchema,
          offsetBytes: bytesSchema,
          lengthBytes: bytesSchema,
        })),
        v.maxLength(limits.scrubDamagedMax),
      ),
      next: v.optional(scrubPlaceSchema),
    }),
  ),
  /**
   * Objects of this OST with their lengths, those after `after` in an order that stays; none where
   * there are no more. What comes or goes meanwhile may be among them or not.
   */
  listObjects: method(
    0x0309,
    v.object({
      after: v.optional(objectIdSchema),
      limit: v.pipe(countSchema, v.minValue(1), v.maxValue(limits.objectsPerListMax)),
    }),
    v.object({
      objects: v.pipe(
        v.array(v.object({ object: objectIdSchema, lengthBytes: bytesSchema })),
        v.maxLength(limits.objectsPerListMax),
      ),
    }),
  ),
  /**
   * Objects of one inode with their lengths, from `object` on, in order; fewer than
   * `objectsPerListMax` where there are no more. No change by an older epoch makes one longer, or
   * another one, after this has begun to look.
   */
  listInode: method(
    0x030b,
    v.object(objectOf),
    v.object({
      objects: v.pipe(
        v.array(v.object({ object: objectIdSchema, lengthBytes: bytesSchema })),
        v.maxLength(limits.objectsPerListMax),
      ),
    }),
  ),
  /** Their lengths, in their order; null of one that does not exist or that the disk has failed. */
  statObjects: method(
    0x030a,
    v.object({
      objects: v.pipe(v.array(objectIdSchema), v.maxLength(limits.objectsPerListMax)),
    }),
    v.object({
      lengthsBytes: v.pipe(
        v.array(v.nullable(bytesSchema)),
        v.maxLength(limits.objectsPerListMax),
      ),
    }),
  ),
  /** Deletes every object of these inodes, durably; later writes to them are refused. */
  destroyInodes: method(
    0x0306,
    v.object({ inodes: v.pipe(v.array(inodeIdSchema), v.maxLength(limits.collectBatch)) }),
    v.object({ objects: countSchema }),
  ),
});
