// The plain data that roles exchange and keep: attributes, layouts, the cluster map. Each type is
// derived from the schema that checks it at the edge, so the two cannot drift apart.

import * as v from "valibot";
import { limits } from "./limits.ts";

// ── scalars ────────────────────────────────────────────────────────────────────────────────────

const int64Min = -(2n ** 63n);
const int64Max = 2n ** 63n - 1n;

/** One check each for what every message is full of: a pipe of several costs twice as much. */
const integer = (min: number, max: number) =>
  v.custom<number>(
    (value) => Number.isInteger(value) && (value as number) >= min && (value as number) <= max,
    `Expected an integer from ${min} to ${max}`,
  );

/** An inode number: 1 and up, never used twice in the life of a cluster. */
export const inodeIdSchema = integer(1, limits.inodeMax);
/** A byte offset or length within a file or object. */
export const bytesSchema = integer(0, limits.fileBytesMax);
export const targetIndexSchema = integer(0, limits.targetIndexMax);
export const countSchema = integer(0, Number.MAX_SAFE_INTEGER);
export const uint32Schema = integer(0, 0xffff_ffff);
/** Nanoseconds since 1970; negative before. */
export const timeNsSchema = v.custom<bigint>(
  (value) => typeof value === "bigint" && value >= int64Min && value <= int64Max,
  "Expected an integer of 64 bits",
);
export const epochSchema = countSchema;
/** Permission bits with setuid, setgid and sticky. */
export const modeSchema = integer(0, 0o7777);
export const idSchema = v.pipe(v.string(), v.regex(/^[0-9a-f]{32}$/));
const portSchema = integer(0, 65535);

export const addressSchema = v.object({
  host: v.pipe(v.string(), v.minLength(1), v.maxLength(255)),
  port: portSchema,
});

/** The root directory's inode. */
export const rootInode = 1;

// ── inodes ─────────────────────────────────────────────────────────────────────────────────────

export const fileTypeSchema = v.picklist(["file", "directory", "symlink"]);
export type FileType = v.InferOutput<typeof fileTypeSchema>;

/**
 * Where the bytes of one file live; see layout.ts for the arithmetic. `targets[position]` lists
 * the OSTs that hold the objects of a stripe position, the primary first.
 */
export const layoutSchema = v.object({
  stripeBytes: integer(limits.stripeBytesMin, limits.stripeBytesMax),
  stripesPerObject: integer(1, 1 << 20),
  targets: v.pipe(
    v.array(v.pipe(v.array(targetIndexSchema), v.minLength(1), v.maxLength(limits.replicasMax))),
    v.minLength(1),
    v.maxLength(limits.stripeCountMax),
  ),
});
export type Layout = v.InferOutput<typeof layoutSchema>;

/** What a caller asks of a new file's layout; what is absent comes from the directory. */
export const layoutWishSchema = v.object({
  /** 0 = one stripe position for each OST. */
  stripeCount: v.optional(integer(0, limits.stripeCountMax)),
  stripeBytes: v.optional(integer(limits.stripeBytesMin, limits.stripeBytesMax)),
  replicas: v.optional(integer(1, limits.replicasMax)),
});
export type LayoutWish = v.InferOutput<typeof layoutWishSchema>;

export const attributesSchema = v.object({
  ino: inodeIdSchema,
  type: fileTypeSchema,
  mode: modeSchema,
  uid: uint32Schema,
  gid: uint32Schema,
  /** Hard links; for a directory 2 and one for each directory in it. */
  links: countSchema,
  /** Of a file its length, of a symbolic link its target's, of a directory 0. */
  sizeBytes: bytesSchema,
  /**
   * Bytes of a file at and above this offset were never written: they are zeros that no object
   * holds. Below it every object has its full length, so a missing byte is a lost byte.
   */
  dataEndBytes: bytesSchema,
  atimeNs: timeNsSchema,
  mtimeNs: timeNsSchema,
  ctimeNs: timeNsSchema,
  /** Files only. */
  layout: v.optional(layoutSchema),
  /** Directories only: defaults for new files below. */
  defaults: v.optional(layoutWishSchema),
});
export type Attributes = v.InferOutput<typeof attributesSchema>;

/** Who asks, for permission checks. */
export const callerSchema = v.object({
  uid: uint32Schema,
  gid: uint32Schema,
  groups: v.pipe(v.array(uint32Schema), v.maxLength(limits.groupsMax)),
});
export type Caller = v.InferOutput<typeof callerSchema>;

// ── objects ────────────────────────────────────────────────────────────────────────────────────

/** A frame's payload that begins within a block has one more part than blocks. */
const checksumsBytesMax = 4 * (limits.framePayloadBytesMax / limits.checksumBlockBytes + 1);

/** CRC32C of the blocks of a range, 4 bytes each, little-endian; see checksums.ts. */
export const checksumsSchema = v.custom<Uint8Array>(
  (value) => value instanceof Uint8Array && value.length <= checksumsBytesMax,
  `Expected at most ${checksumsBytesMax} bytes`,
);

/** How the bytes of files leave a server: from the file to the socket, or through its memory. */
export const dataPathSchema = v.picklist(["zero-copy", "streaming"]);
export type DataPath = v.InferOutput<typeof dataPathSchema>;

/** `{ino:016x}:{seq:08x}`. */
export const objectIdSchema = v.pipe(v.string(), v.regex(/^[0-9a-f]{16}:[0-9a-f]{8}$/));
export type ObjectId = v.InferOutput<typeof objectIdSchema>;

/** Space of one target. `usedBytes` is what its objects take, `freeBytes` what the disk has left. */
export const usageSchema = v.object({
  capacityBytes: countSchema,
  usedBytes: countSchema,
  freeBytes: countSchema,
  objects: countSchema,
  /** Since the oss was started: blocks that did not match their checksums, and those mended. */
  corruptBlocks: countSchema,
  repairedBlocks: countSchema,
});
export type Usage = v.InferOutput<typeof usageSchema>;

// ── cluster map ────────────────────────────────────────────────────────────────────────────────

const serverStateSchema = v.picklist(["up", "down"]);

/** What every server says of itself, and the mgs keeps. */
const serverFields = {
  /** Stays the same over restarts where the server has a place to keep it. */
  nodeId: idSchema,
  address: addressSchema,
  /** The machine's name: replicas go to different ones where there are any. */
  hostName: v.pipe(v.string(), v.maxLength(255)),
  version: v.pipe(v.string(), v.maxLength(64)),
};

export const serverSchema = v.object({ ...serverFields, state: serverStateSchema });
/** An mgs or mds. */
export type Server = v.InferOutput<typeof serverSchema>;

export const targetSchema = v.object({
  ...serverFields,
  index: targetIndexSchema,
  state: serverStateSchema,
  usage: usageSchema,
  dataPath: dataPathSchema,
});
/** An OST and the oss that serves it. */
export type Target = v.InferOutput<typeof targetSchema>;

/** Who is in the cluster; each change raises the epoch. */
export const clusterMapSchema = v.object({
  clusterId: idSchema,
  clusterName: v.string(),
  epoch: epochSchema,
  mgs: v.pipe(v.array(serverSchema), v.maxLength(limits.serversMax)),
  mds: v.pipe(v.array(serverSchema), v.maxLength(limits.serversMax)),
  targets: v.pipe(v.array(targetSchema), v.maxLength(limits.targetsMax)),
});
export type ClusterMap = v.InferOutput<typeof clusterMapSchema>;

export const serverRoleSchema = v.picklist(["mgs", "mds", "oss"]);
export type ServerRole = v.InferOutput<typeof serverRoleSchema>;
