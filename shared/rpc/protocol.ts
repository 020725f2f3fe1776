// EVERY message of rustre: the hello of a connection, and the methods of mgs, mds and oss with
// their opcodes. docs/protocol.md describes the frames around them.

import * as v from "valibot";
import { limits } from "../limits.ts";
import {
  addressSchema,
  attributesSchema,
  bytesSchema,
  callerSchema,
  checksumsSchema,
  clusterMapSchema,
  countSchema,
  dataPathSchema,
  epochSchema,
  fileTypeSchema,
  idSchema,
  inodeIdSchema,
  layoutWishSchema,
  modeSchema,
  objectIdSchema,
  serverRoleSchema,
  targetIndexSchema,
  timeNsSchema,
  uint32Schema,
  usageSchema,
} from "../model.ts";
import { downloadMethod, method, service, uploadMethod } from "./service.ts";

/** Raised by every change that an older peer would misread. */
export const protocolVersion = 3;

// ── hello: the first frame each way, opcode 1 ──────────────────────────────────────────────────

export const helloOpcode = 1;

/** The part of the request that every version has. */
export const helloVersionSchema = v.object({ protocol: countSchema });

/** What the caller expects of the server it has reached; the server refuses if it is another. */
export const helloRequestSchema = v.object({
  protocol: countSchema,
  /** Empty: the caller does not know the cluster yet. */
  clusterId: v.union([idSchema, v.literal("")]),
  /** The role that the caller wants to talk to. */
  wants: serverRoleSchema,
  /** Of an oss: the OST that it must serve. */
  targetIndex: v.optional(targetIndexSchema),
  /** Names this connection, for the one that takes its place; nobody else can guess it. */
  connection: v.optional(idSchema),
  /**
   * Lost connections of this caller, on which requests may still be on their way. Nothing that
   * arrives there after this hello was answered is carried out.
   */
  replaces: v.optional(v.pipe(v.array(idSchema), v.maxLength(limits.replacedConnectionsMax))),
  /** Who calls, for the server's log. */
  caller: v.picklist(["client", "mgs", "mds", "oss"]),
  /** Room for authentication. */
  credentials: v.optional(v.record(v.string(), v.string())),
});
export type HelloRequest = v.InferOutput<typeof helloRequestSchema>;

export const helloReplySchema = v.object({
  protocol: countSchema,
  clusterId: idSchema,
  clusterName: v.string(),
  role: serverRoleSchema,
  nodeId: idSchema,
  targetIndex: v.optional(targetIndexSchema),
  /**
   * Of an oss with several workers: the ports at which each is reached alone, by its index; 0 for
   * one that is being replaced. Objects of inode `ino` are with worker `ino % workers.length`.
   */
  workers: v.optional(
    v.pipe(v.array(v.pipe(countSchema, v.maxValue(0xffff))), v.maxLength(limits.workersMax)),
  ),
});
export type HelloReply = v.InferOutput<typeof helloReplySchema>;

/** The body of a reply that is an error. */
export const errorReplySchema = v.object({
  code: countSchema,
  message: v.pipe(v.string(), v.maxLength(8192)),
});

const nothing = v.object({});

// ── node: what the mgs asks of every server, opcodes 0x00.. ────────────────────────────────────

const probeRequest = v.object({
  epoch: epochSchema,
  /** Every mgs, so that the node finds another when this one dies. */
  mgs: v.pipe(v.array(addressSchema), v.maxLength(limits.serversMax)),
});
const probeReply = v.object({
  nodeId: idSchema,
  /** Of an oss. */
  usage: v.optional(usageSchema),
});
const probe = method(0x0010, probeRequest, probeReply);

// ── mgs: 0x01.. ────────────────────────────────────────────────────────────────────────────────

const registration = v.object({
  role: serverRoleSchema,
  nodeId: idSchema,
  address: addressSchema,
  hostName: v.pipe(v.string(), v.maxLength(255)),
  version: v.pipe(v.string(), v.maxLength(64)),
  /** Of an oss. */
  targetIndex: v.optional(targetIndexSchema),
  usage: v.optional(usageSchema),
  dataPath: v.optional(dataPathSchema),
});
export type Registration = v.InferOutput<typeof registration>;

/** When each node last answered a probe, by node id, in milliseconds before the reply. */
const statusReply = v.object({
  map: clusterMapSchema,
  heartbeatAgesMs: v.record(idSchema, v.number()),
});

export const mgsService = service("mgs", {
  probe,
  register: method(0x0101, registration, v.object({ epoch: epochSchema })),
  /** A server that stops says so; an OST stays known and is down, others leave the map. */
  unregister: method(0x0102, v.object({ nodeId: idSchema }), nothing),
  /** The map, or nothing where the caller's is the newest. */
  getMap: method(
    0x0103,
    v.object({ knownEpoch: v.optional(epochSchema) }),
    v.object({ map: v.optional(clusterMapSchema) }),
  ),
  status: method(0x0104, nothing, statusReply),
  /** Whether that node answers this mgs, for another mgs that it does not answer. */
  reaches: method(
    0x0105,
    v.object({
      role: serverRoleSchema,
      nodeId: idSchema,
      address: addressSchema,
      targetIndex: v.optional(targetIndexSchema),
    }),
    v.object({ reached: v.boolean() }),
  ),
  /**
   * Raises the epoch without another change of the map. An OST that knows it refuses every request
   * that was sent before, however late it comes.
   */
  raiseEpoch: method(0x0106, nothing, v.object({ epoch: epochSchema })),
});

// ── mds: 0x02.. ────────────────────────────────────────────────────────────────────────────────

/** Identifies a mutation: a retry carries the same pair and gets the stored reply. */
const mutation = { clientId: idSchema, requestId: countSchema };

/** A place in the tree: a path that the mds walks from an inode, inside the operation. */
const placeSchema = v.object({
  ino: inodeIdSchema,
  /** Names separated by "/"; empty for the inode itself. Checked name by name in the walk. */
  path: v.string(),
});
export type Place = v.InferOutput<typeof placeSchema>;

/** A name in a directory; checked by the mds. */
const nameSchema = v.string();
const entryOf = { directory: placeSchema, name: nameSchema };
const attributesReply = v.object({ attributes: attributesSchema });
/** No write of this opening, failed ones too, reached behind the end of the data that is committed. */
const clean = { clean: v.optional(v.boolean()) };
/** "now" is the server's time and, unlike an explicit one, is allowed to every writer. */
const newTime = v.optional(v.union([timeNsSchema, v.literal("now")]));

export const directoryEntrySchema = v.object({
  name: v.string(),
  ino: inodeIdSchema,
  type: fileTypeSchema,
  attributes: v.optional(attributesSchema),
});
export type DirectoryEntry = v.InferOutput<typeof directoryEntrySchema>;

export const mdsService = service("mds", {
  probe,

  /** The mds makes the id: no copy of this request that comes late opens the same session again. */
  openSession: method(0x0201, nothing, v.object({ clientId: idSchema, leaseMs: countSchema })),
  renewSession: method(0x0202, v.object({ clientId: idSchema }), nothing),
  /** Ends the session and removes what it left pending. */
  closeSession: method(0x0203, v.object({ clientId: idSchema }), nothing),

  /**
   * `follow`: of a symbolic link at the end of the path, its target. `access`: what the caller must
   * be allowed to do with it, as an or of read 4, write 2, execute 1.
   */
  stat: method(
    0x0210,
    v.object({
      caller: callerSchema,
      place: placeSchema,
      follow: v.boolean(),
      access: v.pipe(countSchema, v.maxValue(7)),
    }),
    attributesReply,
  ),
  readlink: method(
    0x0211,
    v.object({ caller: callerSchema, place: placeSchema }),
    v.object({ target: v.string() }),
  ),
  /** Entries in byte order of their names, those after `after`. */
  readdir: method(
    0x0212,
    v.object({
      caller: callerSchema,
      directory: placeSchema,
      after: v.string(),
      limit: v.pipe(countSchema, v.minValue(1), v.maxValue(limits.readdirPageMax)),
      withAttributes: v.boolean(),
    }),
    v.object({ entries: v.array(directoryEntrySchema), more: v.boolean() }),
  ),
  statfs: method(
    0x0213,
    nothing,
    v.object({ inodes: countSchema, usage: usageSchema, targetsUp: countSchema }),
  ),

  mkdir: method(
    0x0220,
    v.object({ ...mutation, caller: callerSchema, ...entryOf, mode: modeSchema }),
    attributesReply,
  ),
  symlink: method(
    0x0221,
    v.object({ ...mutation, caller: callerSchema, ...entryOf, target: v.string() }),
    attributesReply,
  ),
  /**
   * Makes an empty file. `pending`: an inode that nobody sees and that is removed with its session,
   * until commit gives it the name.
   */
  create: method(
    0x0222,
    v.object({
      ...mutation,
      caller: callerSchema,
      ...entryOf,
      mode: modeSchema,
      layout: layoutWishSchema,
      pending: v.boolean(),
      /** Pending only: the commit replaces a file of this name. */
      replace: v.boolean(),
    }),
    attributesReply,
  ),
  /** Makes a pending file visible under its name, with all its attributes, in one step. */
  commit: method(
    0x0223,
    v.object({
      ...mutation,
      caller: callerSchema,
      ino: inodeIdSchema,
      sizeBytes: bytesSchema,
      dataEndBytes: bytesSchema,
      atimeNs: v.optional(timeNsSchema),
      mtimeNs: v.optional(timeNsSchema),
      ...clean,
    }),
    attributesReply,
  ),
  /** Removes a pending file. */
  abort: method(0x0224, v.object({ ...mutation, ino: inodeIdSchema }), nothing),
  link: method(
    0x0225,
    v.object({ ...mutation, caller: callerSchema, source: placeSchema, ...entryOf }),
    attributesReply,
  ),
  unlink: method(0x0226, v.object({ ...mutation, caller: callerSchema, ...entryOf }), nothing),
  rmdir: method(0x0227, v.object({ ...mutation, caller: callerSchema, ...entryOf }), nothing),
  rename: method(
    0x0228,
    v.object({
      ...mutation,
      caller: callerSchema,
      ...entryOf,
      newDirectory: placeSchema,
      newName: nameSchema,
      /** Refuse where the new name exists. */
      noReplace: v.boolean(),
    }),
    nothing,
  ),
  setattr: method(
    0x0229,
    v.object({
      ...mutation,
      caller: callerSchema,
      place: placeSchema,
      follow: v.boolean(),
      mode: v.optional(modeSchema),
      uid: v.optional(uint32Schema),
      gid: v.optional(uint32Schema),
      atimeNs: newTime,
      mtimeNs: newTime,
      sizeBytes: v.optional(bytesSchema),
    }),
    attributesReply,
  ),
  /** Defaults for new files below a directory. */
  setLayoutDefaults: method(
    0x022a,
    v.object({
      ...mutation,
      caller: callerSchema,
      directory: placeSchema,
      defaults: layoutWishSchema,
    }),
    attributesReply,
  ),
  /**
   * Opens an existing file for writing: until closeWrite its size is changed by nobody else. The
   * handle is the client's, random, for this one opening.
   */
  openWrite: method(
    0x022b,
    v.object({ ...mutation, caller: callerSchema, place: placeSchema, handle: idSchema }),
    attributesReply,
  ),
  /**
   * Records what was written and synced to a file open for writing: the end of the data and the
   * size only ever grow here.
   */
  commitWrite: method(
    0x022c,
    v.object({
      ...mutation,
      ino: inodeIdSchema,
      handle: idSchema,
      dataEndBytes: bytesSchema,
      mtimeNs: v.optional(timeNsSchema),
    }),
    attributesReply,
  ),
  closeWrite: method(
    0x022d,
    v.object({ ...mutation, ino: inodeIdSchema, handle: idSchema, ...clean }),
    nothing,
  ),
});

// ── oss: 0x03.. ────────────────────────────────────────────────────────────────────────────────

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
