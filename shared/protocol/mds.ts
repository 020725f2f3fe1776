// The messages of an mds: opcodes 0x0200 to 0x02ff.

import * as v from "valibot";
import { limits } from "../limits.ts";
import {
  attributesSchema,
  bytesSchema,
  callerSchema,
  countSchema,
  fileTypeSchema,
  idSchema,
  inodeIdSchema,
  layoutSchema,
  layoutWishSchema,
  modeSchema,
  timeNsSchema,
  uint32Schema,
  usageSchema,
} from "../model.ts";
import { method, service } from "../rpc/service.ts";
import { probe } from "./node.ts";

const nothing = v.object({});

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
/** A pending file, and how it ends. */
const newFile = {
  ...entryOf,
  mode: modeSchema,
  layout: layoutWishSchema,
  /** Pending only: the commit replaces a file of this name. */
  replace: v.boolean(),
};
const wholeFile = {
  ino: inodeIdSchema,
  sizeBytes: bytesSchema,
  dataEndBytes: bytesSchema,
  atimeNs: v.optional(timeNsSchema),
  mtimeNs: v.optional(timeNsSchema),
  ...clean,
};
/** Why one of several operations was not carried out. */
const failure = { error: v.optional(v.object({ code: countSchema, message: v.string() })) };
/** "now" is the server's time and, unlike an explicit one, is allowed to every writer. */
const newTime = v.optional(v.union([timeNsSchema, v.literal("now")]));

export const directoryEntrySchema = v.object({
  name: v.string(),
  ino: inodeIdSchema,
  type: fileTypeSchema,
  attributes: v.optional(attributesSchema),
});
export type DirectoryEntry = v.InferOutput<typeof directoryEntrySchema>;

/** Of a pending file, what its creator did not choose. */
const newInodeSchema = v.object({
  ino: inodeIdSchema,
  gid: uint32Schema,
  mode: modeSchema,
  layout: layoutSchema,
});
export type NewInode = v.InferOutput<typeof newInodeSchema>;

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
      ...newFile,
      pending: v.boolean(),
    }),
    attributesReply,
  ),
  /** Makes a pending file visible under its name, with all its attributes, in one step. */
  commit: method(
    0x0223,
    v.object({ ...mutation, caller: callerSchema, ...wholeFile }),
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
  /**
   * Commits and then pending creates of several files, each as if it were sent alone: one that fails
   * does not keep the others. Their replies are in the order of the request, and have only what the
   * caller cannot know.
   */
  batch: method(
    0x022e,
    v.object({
      ...mutation,
      caller: callerSchema,
      commits: v.pipe(v.array(v.object(wholeFile)), v.maxLength(limits.batchFilesMax)),
      creates: v.pipe(v.array(v.object(newFile)), v.maxLength(limits.batchFilesMax)),
    }),
    v.object({
      /** The times that are set to that of the mutation. */
      timeNs: timeNsSchema,
      committed: v.array(v.object(failure)),
      created: v.array(v.object({ ...failure, inode: v.optional(newInodeSchema) })),
    }),
  ),
});
