// The values of the metadata, as MessagePack arrays that begin with the format number of their kind.
// schema.ts has the keys that they are under.

import { Decoder, Encoder } from "@msgpack/msgpack";
import { assert } from "../shared/assert.ts";
import { RustreError } from "../shared/errors.ts";
import type { FileType, Layout, LayoutWish } from "../shared/model.ts";

/** What `ino/` keeps. Of a directory, links and times are kept beside it. */
export interface Inode {
  readonly ino: number;
  readonly type: FileType;
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  /** Of files and symbolic links. */
  readonly links: number;
  readonly sizeBytes: number;
  readonly dataEndBytes: number;
  readonly atimeNs: bigint;
  readonly mtimeNs: bigint;
  readonly ctimeNs: bigint;
  /** Of files. */
  readonly layout?: Layout | undefined;
  /** Of directories: the directory that holds it, for "..", and for rename's loop check. */
  readonly parent?: number | undefined;
  readonly defaults?: LayoutWish | undefined;
  /** Of symbolic links. */
  readonly target?: string | undefined;
}

export interface Child {
  readonly ino: number;
  readonly type: FileType;
}

export interface Session {
  /** By the clock of the mds that wrote it; only the collector compares it with a clock. */
  readonly expiresAtMs: number;
  /** It has ended, and what it left is being removed. */
  readonly over: boolean;
}

/** One opening of a file for writing. A client may have several of one file. */
export interface Writer {
  readonly ino: number;
  readonly clientId: string;
  readonly handle: string;
}

/** A create that waits for its commit. */
export interface Pending {
  readonly inode: Inode;
  readonly parent: number;
  readonly name: string;
  readonly replace: boolean;
}

/** The reply of a mutation, kept for a retry. */
export interface StoredReply {
  readonly requestId: number;
  readonly opcode: number;
  /** A map; or a {@link StoredFailure}, for it may not succeed when it comes again later. */
  readonly reply: unknown;
}

/** The error that a mutation was answered with: its number and message. */
export type StoredFailure = readonly [code: number, message: string];

/** A field that is undefined is absent in a stored reply, as it was in the first one. */
const encoder = new Encoder({ useBigInt64: true, ignoreUndefined: true });
const decoder = new Decoder({ useBigInt64: true });

const fileTypes: readonly FileType[] = ["file", "directory", "symlink"];
const format = 1;

// deno-lint-ignore no-explicit-any -- the shape is checked by the format number, and by asserts
type Fields = any[];

function encode(fields: unknown[]): Uint8Array {
  return encoder.encode([format, ...fields]);
}

function decode(what: string, value: Uint8Array, fieldCount: number): Fields {
  let fields: unknown;
  try {
    fields = decoder.decode(value);
  } catch (error) {
    throw new RustreError("STORE_FORMAT", `Cannot read ${what} in the store`, { cause: error });
  }
  if (!Array.isArray(fields) || fields[0] !== format || fields.length !== fieldCount + 1) {
    throw new RustreError("STORE_FORMAT", `Cannot read ${what} in the store: unknown format`);
  }
  return fields;
}

function encodeWish(wish: LayoutWish | undefined): (number | null)[] | null {
  if (!wish) return null;
  return [wish.stripeCount ?? null, wish.stripeBytes ?? null, wish.replicas ?? null];
}

function decodeWish(fields: (number | null)[] | null): LayoutWish | undefined {
  if (!fields) return undefined;
  const [stripeCount = null, stripeBytes = null, replicas = null] = fields;
  return {
    ...(stripeCount === null ? {} : { stripeCount }),
    ...(stripeBytes === null ? {} : { stripeBytes }),
    ...(replicas === null ? {} : { replicas }),
  };
}

function inodeFields(inode: Inode): unknown[] {
  const { layout } = inode;
  return [
    inode.ino,
    fileTypes.indexOf(inode.type),
    inode.mode,
    inode.uid,
    inode.gid,
    inode.links,
    inode.sizeBytes,
    inode.dataEndBytes,
    inode.atimeNs,
    inode.mtimeNs,
    inode.ctimeNs,
    layout ? [layout.stripeBytes, layout.stripesPerObject, layout.targets] : null,
    inode.parent ?? null,
    encodeWish(inode.defaults),
    inode.target ?? null,
  ];
}

function inodeOf(fields: Fields): Inode {
  const type = fileTypes[fields[1]];
  assert(type !== undefined, "an inode of an unknown type in the store");
  const layout = fields[11];
  return {
    ino: fields[0],
    type,
    mode: fields[2],
    uid: fields[3],
    gid: fields[4],
    links: fields[5],
    sizeBytes: fields[6],
    dataEndBytes: fields[7],
    atimeNs: fields[8],
    mtimeNs: fields[9],
    ctimeNs: fields[10],
    layout: layout
      ? { stripeBytes: layout[0], stripesPerObject: layout[1], targets: layout[2] }
      : undefined,
    parent: fields[12] ?? undefined,
    defaults: decodeWish(fields[13]),
    target: fields[14] ?? undefined,
  };
}

const inodeFieldCount = 15;

export function encodeInode(inode: Inode): Uint8Array {
  return encode(inodeFields(inode));
}

/**
 * Directories by the bytes they were decoded from. Engines give the same array again for what is read
 * often, and these are the directories that every path leads through.
 */
const decodedDirectories = new WeakMap<Uint8Array, Inode>();

export function decodeInode(value: Uint8Array): Inode {
  const known = decodedDirectories.get(value);
  if (known) return known;
  const inode = decodeNewInode(value);
  if (inode.type === "directory") decodedDirectories.set(value, inode);
  return inode;
}

function decodeNewInode(value: Uint8Array): Inode {
  return inodeOf(decode("an inode", value, inodeFieldCount).slice(1));
}

export function encodeChild(child: Child): Uint8Array {
  return encode([child.ino, fileTypes.indexOf(child.type)]);
}

export function decodeChild(value: Uint8Array): Child {
  const [, ino, typeIndex] = decode("a directory entry", value, 2);
  const type = fileTypes[typeIndex];
  assert(type !== undefined, "a directory entry of an unknown type in the store");
  return { ino, type };
}

export function encodePending(pending: Pending): Uint8Array {
  return encode([inodeFields(pending.inode), pending.parent, pending.name, pending.replace]);
}

export function decodePending(value: Uint8Array): Pending {
  const [, inode, parent, name, replace] = decode("a pending create", value, 4);
  return { inode: inodeOf(inode), parent, name, replace };
}

export function encodeSession(session: Session): Uint8Array {
  return encode([session.expiresAtMs, session.over]);
}

export function decodeSession(value: Uint8Array): Session {
  const [, expiresAtMs, over] = decode("a session", value, 2);
  return { expiresAtMs, over };
}

export function encodeStoredReply(stored: StoredReply): Uint8Array {
  return encode([stored.requestId, stored.opcode, stored.reply]);
}

export function decodeStoredReply(value: Uint8Array): StoredReply {
  const [, requestId, opcode, reply] = decode("a stored reply", value, 3);
  return { requestId, opcode, reply };
}

/**
 * Whose reply it is, without a look at the reply: most are of a request that is long over, and one of
 * a batch is large. Throws as {@link decodeStoredReply} does, where it is of another format.
 */
export function requestIdOfStoredReply(value: Uint8Array): number {
  const [array, first, type] = value;
  const view = new DataView(value.buffer, value.byteOffset, value.byteLength);
  const isUsual = array === storedReplyArray && first === format && value.length > longestNumberEnd;
  if (isUsual && type! < 0x80) return type!;
  if (isUsual && type === 0xcd) return view.getUint16(3);
  if (isUsual && type === 0xce) return view.getUint32(3);
  return decodeStoredReply(value).requestId;
}

/** MessagePack's first byte of an array of the format number and three fields. */
const storedReplyArray = 0x94;
/** Behind the request id, where it has 32 bits. */
const longestNumberEnd = 7;

/** When entries of a directory came or went last, or what mtime was set to since. */
export interface DirectoryTimes {
  readonly mtimeNs: bigint;
  readonly ctimeNs: bigint;
}

export function encodeDirectoryTimes({ mtimeNs, ctimeNs }: DirectoryTimes): Uint8Array {
  return encode([mtimeNs, ctimeNs]);
}

export function decodeDirectoryTimes(value: Uint8Array): DirectoryTimes {
  const [, mtimeNs, ctimeNs] = decode("a directory's times", value, 2);
  return { mtimeNs, ctimeNs };
}

/** A value of the store's own add(): 64 bits, little-endian, two's complement. */
export function decodeCounter(value: Uint8Array | undefined): number {
  if (!value) return 0;
  const view = new DataView(value.buffer, value.byteOffset, value.byteLength);
  return Number(view.getBigInt64(0, true));
}

export function encodeNumber(number: number): Uint8Array {
  return encode([number]);
}

export function decodeNumber(value: Uint8Array): number {
  return decode("a number", value, 1)[1];
}

/** In a truncation record: how far the objects reach is known to nobody. */
export const endUnknown = Number.MAX_SAFE_INTEGER;

/** The value of keys whose existence says all. */
export const present: Uint8Array = encode([]);
