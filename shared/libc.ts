// The calls to libc that the platform has no function for, by FFI: the only file that knows FFI and
// the numbers of Linux. Where there is no such libc each function says so. What waits for a disk runs
// on a thread of the platform's pool; everything else runs at once on this thread, so that nobody can
// close its descriptor, and have the number given to another file, between the call and its effect.
//
// No function reads errno: the engine may make calls of its own before it could. Whoever is told that
// a call failed does the same with the platform's functions, which succeed or say why.

import { constants, existsSync, openSync } from "node:fs";
import { assert } from "./assert.ts";
import { type ErrorCode, meaningOf, RustreError } from "./errors.ts";

const functions = {
  sendfile: { parameters: ["i32", "i32", "buffer", "usize"], result: "isize" },
  setsockopt: { parameters: ["i32", "i32", "i32", "buffer", "u32"], result: "i32" },
  getsockname: { parameters: ["i32", "buffer", "buffer"], result: "i32" },
  getpeername: { parameters: ["i32", "buffer", "buffer"], result: "i32" },
  pwrite: { parameters: ["i32", "buffer", "usize", "i64"], result: "isize", nonblocking: true },
  syncfs: { parameters: ["i32"], result: "i32", nonblocking: true },
  madvise: { parameters: ["buffer", "usize", "i32"], result: "i32" },
  posix_fallocate: { parameters: ["i32", "i64", "i64"], result: "i32", nonblocking: true },
  lseek: { parameters: ["i32", "i64", "i32"], result: "i64" },
  fgetxattr: { parameters: ["i32", "buffer", "buffer", "usize"], result: "isize" },
  flistxattr: { parameters: ["i32", "buffer", "usize"], result: "isize" },
  fsetxattr: { parameters: ["i32", "buffer", "buffer", "usize", "i32"], result: "i32" },
  fremovexattr: { parameters: ["i32", "buffer"], result: "i32" },
  statx: { parameters: ["i32", "buffer", "i32", "u32", "buffer"], result: "i32" },
  utimensat: { parameters: ["i32", "buffer", "buffer", "i32"], result: "i32" },
  futimens: { parameters: ["i32", "buffer"], result: "i32" },
  socket: { parameters: ["i32", "i32", "i32"], result: "i32" },
  close: { parameters: ["i32"], result: "i32" },
  sendto: {
    parameters: ["i32", "buffer", "usize", "i32", "buffer", "u32"],
    result: "isize",
    nonblocking: true,
  },
  linkat: { parameters: ["i32", "buffer", "i32", "buffer", "i32"], result: "i32" },
} as const;

type Libc = Deno.DynamicLibrary<typeof functions>["symbols"];

/** `undefined` until it is looked for, `null` where there is none. */
let loaded: Libc | null | undefined;

/** The numbers below are those of every little-endian 64-bit Linux. */
function libc(): Libc | null {
  if (loaded === undefined) {
    try {
      loaded = Deno.build.os === "linux" ? Deno.dlopen("libc.so.6", functions).symbols : null;
    } catch {
      // Another libc, or no permission to load it: everybody has another way.
      loaded = null;
    }
  }
  return loaded;
}

// ── sockets ────────────────────────────────────────────────────────────────────────────────────

export interface SocketAddress {
  /** Dotted decimals, or eight groups of hexadecimal digits without leading zeros. */
  readonly hostname: string;
  readonly port: number;
}

/** Both ends of a connected TCP socket; `undefined` where the descriptor is none. */
export function connectionAddresses(
  descriptor: number,
): { local: SocketAddress; remote: SocketAddress } | undefined {
  const library = libc();
  const local = library &&
    addressFrom((into, length) => library.getsockname(descriptor, into, length));
  const remote = local &&
    addressFrom((into, length) => library.getpeername(descriptor, into, length));
  return local && remote ? { local, remote } : undefined;
}

// AF_INET, AF_INET6, and where struct sockaddr_in and sockaddr_in6 have the address.
const ipv4Family = 2;
const ipv6Family = 10;
const ipv4At = 4;
const ipv6At = 8;
const socketAddressBytes = 28;

function addressFrom(
  call: (into: Uint8Array<ArrayBuffer>, length: Uint8Array<ArrayBuffer>) => number,
): SocketAddress | undefined {
  const bytes = new Uint8Array(socketAddressBytes);
  const length = new Uint8Array(new Uint32Array([socketAddressBytes]).buffer);
  if (call(bytes, length) !== 0) return undefined;
  const view = new DataView(bytes.buffer);
  const family = view.getUint16(0, true);
  const port = view.getUint16(2);
  if (family === ipv4Family) {
    return { hostname: bytes.subarray(ipv4At, ipv4At + 4).join("."), port };
  }
  if (family !== ipv6Family) return undefined;
  const groups = Array.from({ length: 8 }, (_, group) => view.getUint16(ipv6At + 2 * group));
  return { hostname: groups.map((group) => group.toString(16)).join(":"), port };
}

// SOL_SOCKET, SO_RCVLOWAT.
const socketLevel = 1;
const receiveLowWater = 18;

/** The socket counts as readable when so many bytes are there, or its stream ends. */
export function setReceiveLowWater(socket: number, bytes: number): void {
  const value = new Uint8Array(new Int32Array([bytes]).buffer);
  // Where it fails the socket is readable sooner, which is no harm.
  libc()?.setsockopt(socket, socketLevel, receiveLowWater, value, value.length);
}

/**
 * Sends bytes of a file to a non-blocking socket, as many as that takes now; 0 at the end of the
 * file. `undefined` where it takes none, or they cannot be sent in this way.
 */
export function sendFile(
  socket: number,
  file: number,
  offsetBytes: number,
  lengthBytes: number,
): number | undefined {
  const library = libc();
  if (!library) return undefined;
  const offset = new BigInt64Array([BigInt(offsetBytes)]);
  const sent = Number(library.sendfile(socket, file, offset, BigInt(lengthBytes)));
  return sent < 0 ? undefined : sent;
}

// AF_UNIX, SOCK_DGRAM with SOCK_CLOEXEC, MSG_NOSIGNAL, and the longest path of struct sockaddr_un.
const localFamily = 1;
const datagramSocket = 2 | 0o2000000;
const withoutSignal = 0x4000;
const localPathBytesMax = 107;

/**
 * Sends one datagram to a socket of this host; tells whether it did. A path that begins with "@" is
 * an abstract name, as systemd has it.
 */
export async function sendDatagram(path: string, text: string): Promise<boolean> {
  const library = libc();
  const name = new TextEncoder().encode(path);
  if (!library || name.length > localPathBytesMax) return false;
  const isAbstract = path.startsWith("@");
  if (isAbstract) name[0] = 0;
  const address = new Uint8Array(2 + name.length + (isAbstract ? 0 : 1));
  new DataView(address.buffer).setUint16(0, localFamily, true);
  address.set(name, 2);
  const bytes = new TextEncoder().encode(text);
  const socket = library.socket(localFamily, datagramSocket, 0);
  if (socket < 0) return false;
  const [length, addressLength] = [BigInt(bytes.length), address.length];
  const sent = await library.sendto(socket, bytes, length, withoutSignal, address, addressLength);
  library.close(socket);
  return Number(sent) === bytes.length;
}

// ── files and disks ────────────────────────────────────────────────────────────────────────────

/**
 * Everything that was written to the file system of an open file is on its disk. `false` where the
 * platform has no such call. Rejects with EIO where the disk failed, which kernels before 5.8 do not
 * notice here. The descriptor must stay open meanwhile.
 */
export async function syncFileSystem(descriptor: number): Promise<boolean> {
  const library = libc();
  if (!library) return false;
  if (await library.syncfs(descriptor) === 0) return true;
  throw new RustreError("EIO", `Cannot sync a file system: ${meaningOf("EIO")}`);
}

/** What disks and their file systems ask of a write past the cache, or a multiple of it. */
export const pageBytes = 4096;

/** What a processor's large pages have, on most machines. */
export const largePageBytes = 2 * 1024 * 1024;

/**
 * How many bytes there are from the first of these to the next page, or the next boundary that is a
 * power of two; 0 where nobody can say.
 */
export function bytesToPage(bytes: Uint8Array, boundaryBytes: number = pageBytes): number {
  if (!libc() || bytes.length === 0) return 0;
  const { buffer, byteOffset } = unshared(bytes);
  return (boundaryBytes - (addressOf(buffer) + byteOffset) % boundaryBytes) % boundaryBytes;
}

/** It stays where it is, and to ask costs more than a small write. */
const addresses = new WeakMap<ArrayBuffer, number>();

function addressOf(buffer: ArrayBuffer): number {
  let address = addresses.get(buffer);
  if (address === undefined) {
    address = Number(Deno.UnsafePointer.value(Deno.UnsafePointer.of(buffer)));
    addresses.set(buffer, address);
  }
  return address;
}

/** MADV_HUGEPAGE of Linux. */
const useLargePages = 14;

/**
 * Asks for large pages for memory that nobody has touched yet, which begins and ends with them: to
 * find one page in place of 512 halves what a disk's write of it costs, and copies cost less, too.
 */
export function preferLargePages(bytes: Uint8Array): void {
  // Where it fails the memory has small pages, which are as good.
  libc()?.madvise(unshared(bytes), BigInt(bytes.length), useLargePages);
}

/** O_DIRECT of Linux. */
const uncached = Deno.build.arch === "aarch64" ? 0o200000 : 0o40000;

/**
 * Opens a file for writes past the system's cache, whose position, length and memory are multiples
 * of {@link pageBytes}. `undefined` where it cannot be opened so.
 */
export function openUncached(path: string): number | undefined {
  if (!libc()) return undefined;
  try {
    return openSync(path, constants.O_RDWR | uncached);
  } catch {
    // Not every file system can, and whatever else is wrong shows in any other way of writing.
    return undefined;
  }
}

/**
 * Writes at a position of a file, on another thread; says how many bytes, which may be fewer.
 * `undefined` where that failed. The descriptor must stay open meanwhile, and the bytes unchanged.
 */
export async function writeAt(
  descriptor: number,
  bytes: Uint8Array,
  offsetBytes: number,
): Promise<number | undefined> {
  const library = libc();
  if (!library) return undefined;
  const [length, offset] = [BigInt(bytes.length), BigInt(offsetBytes)];
  const written = await library.pwrite(descriptor, unshared(bytes), length, offset);
  return written < 0n ? undefined : Number(written);
}

/** Of memory that no other thread has, which FFI asks for. */
function unshared(bytes: Uint8Array): Uint8Array<ArrayBuffer> {
  const { buffer, byteOffset, length } = bytes;
  assert(buffer instanceof ArrayBuffer, "shared memory");
  return new Uint8Array(buffer, byteOffset, length);
}

/** SEEK_END. */
const fromEnd = 2;

/** Bytes of an open file, for much less than fstat(2) costs here; `undefined` where that failed. */
export function fileLength(descriptor: number): number | undefined {
  const length = libc()?.lseek(descriptor, 0n, fromEnd);
  return length === undefined || length < 0n ? undefined : Number(length);
}

/** EINTR of Linux. */
const interrupted = 4;
/** EIO, EFBIG, ENOSPC and EDQUOT of Linux: to try in another way would help nobody. */
const allocationErrors = new Map<number, ErrorCode>([
  [5, "EIO"],
  [27, "EFBIG"],
  [28, "ENOSPC"],
  [122, "ENOSPC"],
]);

/**
 * The file has at least `lengthBytes`, and writing to them does not run out of space. `false` where
 * the platform or the file system cannot. Rejects with ENOSPC, EFBIG or EIO. The descriptor must
 * stay open meanwhile.
 */
export async function preallocate(descriptor: number, lengthBytes: number): Promise<boolean> {
  const library = libc();
  if (!library) return false;
  let errno = interrupted;
  while (errno === interrupted) {
    errno = await library.posix_fallocate(descriptor, 0n, BigInt(lengthBytes));
  }
  const code = allocationErrors.get(errno);
  if (code === undefined) return errno === 0;
  throw new RustreError(code, `Cannot allocate ${lengthBytes} bytes: ${meaningOf(code)}`);
}

/** O_TMPFILE of Linux without the O_DIRECTORY that it includes, and AT_SYMLINK_FOLLOW. */
const unnamed = 0o20000000;
const followLinks = 0x400;

/**
 * Makes a file without a name in a directory, open for its owner alone to read and write; gone when
 * it is closed, unless {@link linkOpenFile} gave it a name. `undefined` where it cannot be made.
 */
export function openUnnamed(directory: string): number | undefined {
  if (!libc() || !canNameDescriptors()) return undefined;
  try {
    return openSync(directory, unnamed | constants.O_DIRECTORY | constants.O_RDWR, 0o600);
  } catch {
    // Not every file system can, and whatever else is wrong shows in any other way of making one.
    return undefined;
  }
}

/** Whether there is the directory that {@link linkOpenFile} goes through. */
let hasDescriptorNames: boolean | undefined;

function canNameDescriptors(): boolean {
  return hasDescriptorNames ??= existsSync("/proc/self/fd");
}

/** Gives an open file a name that nothing has; tells whether it did. */
export function linkOpenFile(descriptor: number, path: string): boolean {
  const open = cString(`/proc/self/fd/${descriptor}`);
  const library = libc();
  return library?.linkat(currentDirectory, open, currentDirectory, cString(path), followLinks) ===
    0;
}

// ── the attribute of a file ────────────────────────────────────────────────────────────────────

/** The one extended attribute that rustre gives files. */
const attributeName = "user.rustre";
const attributeNameBytes = new TextEncoder().encode(`${attributeName}\0`);
/** Of all names that a file may have attributes of, and of their one value: more than any has. */
const attributeNames = new Uint8Array(65_536);
const attributeValue = new Uint8Array(4096);

/**
 * The bytes of an open file's attribute; `undefined` where it has none, or the platform has no
 * attributes. Throws EIO where nobody can say, so that what cannot be read is not taken for missing.
 */
export function readAttribute(descriptor: number): Uint8Array<ArrayBuffer> | undefined {
  const library = libc();
  if (!library) return undefined;
  const size = BigInt(attributeValue.length);
  const length = library.fgetxattr(descriptor, attributeNameBytes, attributeValue, size);
  if (length >= 0n) return attributeValue.slice(0, Number(length));
  const listed = library.flistxattr(descriptor, attributeNames, BigInt(attributeNames.length));
  const names = new TextDecoder().decode(attributeNames.subarray(0, Math.max(0, Number(listed))));
  if (listed >= 0n && !names.split("\0").includes(attributeName)) return undefined;
  throw new RustreError("EIO", `Cannot read an attribute of a file: ${meaningOf("EIO")}`);
}

/** Gives an open file its attribute, or other bytes for it, in one step; tells whether it did. */
export function writeAttribute(descriptor: number, bytes: Uint8Array): boolean {
  const size = BigInt(bytes.length);
  return libc()?.fsetxattr(descriptor, attributeNameBytes, unshared(bytes), size, 0) === 0;
}

/** Takes the attribute of an open file away; tells whether it did. */
export function removeAttribute(descriptor: number): boolean {
  return libc()?.fremovexattr(descriptor, attributeNameBytes) === 0;
}

// ── times ──────────────────────────────────────────────────────────────────────────────────────

export interface Times {
  readonly atimeNs: bigint;
  readonly mtimeNs: bigint;
}

/** What a file is, as struct stat has it. */
export interface FileStatus extends Times {
  /** Type and permissions. */
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  readonly sizeBytes: number;
}

// AT_FDCWD, AT_SYMLINK_NOFOLLOW, STATX_BASIC_STATS, and where struct statx has what is wanted.
const currentDirectory = -100;
const noFollow = 0x100;
const wantBasic = 0x7ff;
const statxBytes = 256;
const uidAt = 0x14;
const gidAt = 0x18;
const modeAt = 0x1c;
const sizeAt = 0x28;
const atimeAt = 0x40;
const mtimeAt = 0x70;

const nsPerSecond = 1_000_000_000n;

/** With times to the nanosecond; `undefined` where that failed or cannot be had. */
export function readStatus(path: string, { follow }: { follow: boolean }): FileStatus | undefined {
  const buffer = new Uint8Array(statxBytes);
  const flags = follow ? 0 : noFollow;
  const result = libc()?.statx(currentDirectory, cString(path), flags, wantBasic, buffer);
  if (result !== 0) return undefined;
  const view = new DataView(buffer.buffer);
  const timeAt = (offset: number) =>
    view.getBigInt64(offset, true) * nsPerSecond + BigInt(view.getUint32(offset + 8, true));
  return {
    mode: view.getUint16(modeAt, true),
    uid: view.getUint32(uidAt, true),
    gid: view.getUint32(gidAt, true),
    sizeBytes: Number(view.getBigUint64(sizeAt, true)),
    atimeNs: timeAt(atimeAt),
    mtimeNs: timeAt(mtimeAt),
  };
}

/** Sets the times of a file, or of the link itself if it is one; tells whether it did. */
export function writeTimes(path: string, times: Times): boolean {
  const pair = timespecs(times);
  return libc()?.utimensat(currentDirectory, cString(path), pair, noFollow) === 0;
}

/** {@link writeTimes} of an open file. */
export function writeTimesOf(descriptor: number, times: Times): boolean {
  return libc()?.futimens(descriptor, timespecs(times)) === 0;
}

/** Two struct timespec, of the times that are just being set. */
const timePair = new BigInt64Array(4);
const timePairBytes = new Uint8Array(timePair.buffer);

/** Valid until the next call. */
function timespecs({ atimeNs, mtimeNs }: Times): Uint8Array<ArrayBuffer> {
  putTimespec(0, atimeNs);
  putTimespec(2, mtimeNs);
  return timePairBytes;
}

/** Seconds, rounded down, and the nanoseconds from there. */
function putTimespec(index: number, timeNs: bigint): void {
  let nanoseconds = timeNs % nsPerSecond;
  if (nanoseconds < 0n) nanoseconds += nsPerSecond;
  timePair[index] = (timeNs - nanoseconds) / nsPerSecond;
  timePair[index + 1] = nanoseconds;
}

const encoder = new TextEncoder();

function cString(text: string): Uint8Array<ArrayBuffer> {
  return encoder.encode(text + "\0");
}
