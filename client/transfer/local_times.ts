// Times of local files to the nanosecond. The platform's own functions know milliseconds, so libc is
// asked where there is one; elsewhere the milliseconds have to do.

export interface Times {
  readonly atimeNs: bigint;
  readonly mtimeNs: bigint;
}

const functions = {
  statx: { parameters: ["i32", "buffer", "i32", "u32", "buffer"], result: "i32" },
  utimensat: { parameters: ["i32", "buffer", "buffer", "i32"], result: "i32" },
} as const;

// Linux's numbers, the same on every little-endian 64-bit machine: AT_FDCWD, AT_SYMLINK_NOFOLLOW,
// STATX_ATIME | STATX_MTIME, and where the two times are in struct statx.
const currentDirectory = -100;
const noFollow = 0x100;
const wantTimes = 0x60;
const statxBytes = 256;
const atimeAt = 0x40;
const mtimeAt = 0x70;

const nsPerSecond = 1_000_000_000n;
const nsPerMs = 1_000_000n;

/** `undefined` until it is looked for, `null` where there is none. */
let loaded: Deno.DynamicLibrary<typeof functions> | null | undefined;

function libc(): Deno.DynamicLibrary<typeof functions> | null {
  if (loaded === undefined) {
    try {
      loaded = Deno.build.os === "linux" ? Deno.dlopen("libc.so.6", functions) : null;
    } catch {
      // Another libc, or no permission: the milliseconds it is.
      loaded = null;
    }
  }
  return loaded;
}

/** `known` is what the platform says of the file. */
export function timesOf(
  path: string,
  known: Deno.FileInfo,
  { follow }: { follow: boolean },
): Times {
  const library = libc();
  const buffer = new Uint8Array(statxBytes);
  const flags = follow ? 0 : noFollow;
  const failed = !library ||
    library.symbols.statx(currentDirectory, cString(path), flags, wantTimes, buffer) !== 0;
  if (failed) return { atimeNs: dateNs(known.atime), mtimeNs: dateNs(known.mtime) };
  const view = new DataView(buffer.buffer);
  const timeAt = (offset: number) =>
    view.getBigInt64(offset, true) * nsPerSecond + BigInt(view.getUint32(offset + 8, true));
  return { atimeNs: timeAt(atimeAt), mtimeNs: timeAt(mtimeAt) };
}

/** Sets the times of the file itself, if it is a symbolic link. Rejects with the platform's error. */
export async function setTimes(path: string, times: Times): Promise<void> {
  const library = libc();
  if (library) {
    const pair = new Uint8Array(
      new BigInt64Array([times.atimeNs, times.mtimeNs].flatMap(timespec))
        .buffer,
    );
    if (library.symbols.utimensat(currentDirectory, cString(path), pair, noFollow) === 0) return;
  }
  // It also says why it cannot be done. A link's own times cannot be set this way.
  if ((await Deno.lstat(path)).isSymlink) return;
  await Deno.utime(path, seconds(times.atimeNs), seconds(times.mtimeNs));
}

/** Seconds, rounded down, and the nanoseconds from there. */
function timespec(timeNs: bigint): [bigint, bigint] {
  const nanoseconds = ((timeNs % nsPerSecond) + nsPerSecond) % nsPerSecond;
  return [(timeNs - nanoseconds) / nsPerSecond, nanoseconds];
}

function seconds(timeNs: bigint): number {
  return Number(timeNs) / 1e9;
}

function dateNs(date: Date | null): bigint {
  return BigInt(date?.getTime() ?? 0) * nsPerMs;
}

function cString(text: string): Uint8Array<ArrayBuffer> {
  return new TextEncoder().encode(text + "\0");
}
