// The operations of the local file system that file_store.ts is made of: the thinnest layer over
// the platform, and the seam at which tests put a disk that fails. Errors are the platform's, with
// their `code`; what is expected to be missing is a value.

import fs from "node:fs";
import { type ErrorCode, messageOf } from "../shared/errors.ts";
import {
  bytesToPage,
  fileLength,
  openUncached,
  pageBytes,
  readAttribute,
  removeAttribute,
  syncFileSystem,
  writeAt,
  writeAttribute,
} from "../shared/libc.ts";
import { limits } from "../shared/limits.ts";
import { forEachConcurrently } from "./concurrently.ts";

export interface Files {
  /** `undefined` where there is no such file. */
  open(path: string): OpenFile | undefined;
  /**
   * Whether a file seems to be there. An open that finds none costs twenty times as much; but on a
   * disk that fails this may be wrong, so it tells only what to try first.
   */
  seems(path: string): boolean;
  /** Makes a file that did not exist; `undefined` where it does. */
  create(path: string): OpenFile | undefined;
  /** Tells whether the directory is new. */
  makeDirectory(path: string): boolean;
  /** Names in a directory, in no order; none where the directory does not exist. */
  list(path: string): Promise<string[]>;
  /** `undefined` where there is no such file. */
  lengthOf(path: string): number | undefined;
  /** Tells whether there was such a file. */
  remove(path: string): Promise<boolean>;
  /** {@link remove} on this thread. */
  removeSync(path: string): boolean;
  /** Gives a file another name, in one step; what had that name is gone. */
  rename(from: string, to: string): void;
  /** What was made, renamed and removed in the directory is on disk. */
  syncDirectory(path: string): Promise<void>;
  /**
   * The files are on disk, with their attributes. For many of them cheaper than one by one, where
   * the system has a way to sync them all.
   */
  syncTogether(files: readonly OpenFile[]): Promise<void>;
  space(path: string): { capacityBytes: number; freeBytes: number };
  /** 32 hexadecimal digits, others after each start of the system; `undefined` where it has none. */
  bootId(): string | undefined;
}

/**
 * A file open for reading and writing. Reads and writes say how many bytes they moved, which may be
 * fewer than asked; a read of none is the end of the file. The variants with `Sync` run on the
 * caller's thread: cheap for what is small, while the others let a slow disk be slow elsewhere.
 */
export interface OpenFile {
  /** When it was opened. */
  readonly lengthBytes: number;
  /** Of the system; `undefined` where it has none, as in a test. */
  readonly descriptor: number | undefined;
  readSync(into: Uint8Array, offsetBytes: number): number;
  read(into: Uint8Array, offsetBytes: number): Promise<number>;
  writeSync(bytes: Uint8Array, offsetBytes: number): number;
  /** Past the system's cache where it can, for bytes that begin and end with pages. */
  write(bytes: Uint8Array, offsetBytes: number): Promise<number>;
  truncate(lengthBytes: number): Promise<void>;
  /** Data and length are on disk. */
  sync(): Promise<void>;
  /** And the attribute, too. */
  syncAll(): Promise<void>;
  /** A few bytes that the file system keeps with the file; `undefined` where it has none. */
  attribute(): Uint8Array | undefined;
  /** Changes them in one step, whatever crashes; `undefined` takes them away. */
  setAttribute(bytes: Uint8Array | undefined): void;
  /** Not while an operation is under way. */
  close(): void;
}

/** The `code` of a platform's error, such as "ENOENT"; empty where it has none. */
export function codeOf(error: unknown): string {
  const code = error instanceof Error && "code" in error ? error.code : undefined;
  return typeof code === "string" ? code : "";
}

/** What an error of the platform is to a client. */
export function reasonOf(error: unknown): { code: ErrorCode; reason: string } {
  switch (codeOf(error)) {
    case "ENOSPC":
      return { code: "ENOSPC", reason: "no space left on its disk" };
    case "EDQUOT":
      return { code: "ENOSPC", reason: "the quota of its disk is used up" };
    case "EFBIG":
      return { code: "EFBIG", reason: "the file would be larger than its disk allows" };
    case "EROFS":
      return { code: "EROFS", reason: "its disk is read-only" };
    case "EMFILE":
    case "ENFILE":
      return { code: "OVERLOADED", reason: "too many files are open" };
    default:
      return { code: "EIO", reason: messageOf(error) };
  }
}

const { O_CREAT, O_EXCL, O_RDWR } = fs.constants;
const bootIdPath = "/proc/sys/kernel/random/boot_id";

export const localFiles: Files = {
  open: (path) => unlessCode("ENOENT", () => openFile(path, O_RDWR)),
  seems: (path) => fs.existsSync(path),
  create: (path) => unlessCode("EEXIST", () => openFile(path, O_RDWR | O_CREAT | O_EXCL)),
  makeDirectory: (path) =>
    unlessCode("EEXIST", () => {
      fs.mkdirSync(path, { mode: 0o700 });
      return true;
    }) ?? false,
  list: async (path) => {
    try {
      return await fs.promises.readdir(path);
    } catch (error) {
      if (codeOf(error) === "ENOENT") return [];
      throw error;
    }
  },
  lengthOf: (path) => unlessCode("ENOENT", () => Deno.lstatSync(path).size),
  remove: async (path) => {
    try {
      await fs.promises.unlink(path);
      return true;
    } catch (error) {
      if (codeOf(error) === "ENOENT") return false;
      throw error;
    }
  },
  removeSync: (path) =>
    unlessCode("ENOENT", () => {
      fs.unlinkSync(path);
      return true;
    }) ?? false,
  rename: (from, to) => fs.renameSync(from, to),
  async syncDirectory(path) {
    const directory = await fs.promises.open(path, "r");
    try {
      await directory.sync();
    } finally {
      await directory.close();
    }
  },
  async syncTogether(files) {
    const descriptor = files[0]?.descriptor;
    const areMany = files.length >= limits.syncTogetherMin && descriptor !== undefined;
    if (areMany && await syncFileSystem(descriptor)) return;
    await forEachConcurrently(files, limits.fileOperationsMax, (file) => file.syncAll());
  },
  space(path) {
    const { blocks, bavail, bsize } = fs.statfsSync(path);
    return { capacityBytes: blocks * bsize, freeBytes: bavail * bsize };
  },
  bootId() {
    try {
      const digits = fs.readFileSync(bootIdPath, "utf8").trim().replaceAll("-", "");
      return /^[0-9a-f]{32}$/.test(digits) ? digits : undefined;
    } catch {
      // Linux alone has it, and a sandbox may hide it: both are as if there were none.
      return undefined;
    }
  },
};

function openFile(path: string, flags: number): LocalFile {
  const descriptor = fs.openSync(path, flags, 0o600);
  try {
    const isNew = (flags & O_EXCL) !== 0;
    return new LocalFile(path, descriptor, isNew ? 0 : lengthOf(descriptor));
  } catch (error) {
    fs.closeSync(descriptor);
    throw error;
  }
}

function lengthOf(descriptor: number): number {
  return fileLength(descriptor) ?? fs.fstatSync(descriptor).size;
}

function unlessCode<T>(code: string, action: () => T): T | undefined {
  try {
    return action();
  } catch (error) {
    if (codeOf(error) === code) return undefined;
    throw error;
  }
}

/** Runs a callback function of node:fs as a promise. */
function promised<T>(
  start: (done: (error: Error | null, result: T) => void) => void,
): Promise<T> {
  return new Promise((resolve, reject) => {
    start((error, result) => error ? reject(error) : resolve(result));
  });
}

class LocalFile implements OpenFile {
  readonly lengthBytes: number;
  readonly #path: string;
  readonly #descriptor: number;
  /** The same file past the system's cache, when it was needed; open as long as this one. */
  #uncached: number | undefined;
  #takesUncached = true;

  constructor(path: string, descriptor: number, lengthBytes: number) {
    this.#path = path;
    this.#descriptor = descriptor;
    this.lengthBytes = lengthBytes;
  }

  get descriptor(): number {
    return this.#descriptor;
  }

  readSync(into: Uint8Array, offsetBytes: number): number {
    return fs.readSync(this.#descriptor, into, 0, into.length, offsetBytes);
  }

  read(into: Uint8Array, offsetBytes: number): Promise<number> {
    return promised((done) =>
      fs.read(this.#descriptor, into, 0, into.length, offsetBytes, (error, count) => {
        done(error, count ?? 0);
      })
    );
  }

  writeSync(bytes: Uint8Array, offsetBytes: number): number {
    return fs.writeSync(this.#descriptor, bytes, 0, bytes.length, offsetBytes);
  }

  async write(bytes: Uint8Array, offsetBytes: number): Promise<number> {
    const uncached = this.#uncachedFor(bytes, offsetBytes);
    if (uncached !== undefined) {
      const written = await writeAt(uncached, bytes, offsetBytes);
      if (written !== undefined) return written;
      // Some file systems open what they cannot write to so.
      this.#takesUncached = false;
    }
    // The last one does it, or says why not.
    return await writeAt(this.#descriptor, bytes, offsetBytes) ??
      this.writeSync(bytes, offsetBytes);
  }

  #uncachedFor(bytes: Uint8Array, offsetBytes: number): number | undefined {
    const isOfPages = bytes.length % pageBytes === 0 && offsetBytes % pageBytes === 0;
    if (!this.#takesUncached || !isOfPages || bytesToPage(bytes) > 0) return undefined;
    this.#uncached ??= openUncached(this.#path);
    this.#takesUncached = this.#uncached !== undefined;
    return this.#uncached;
  }

  truncate(lengthBytes: number): Promise<void> {
    return promised((done) =>
      fs.ftruncate(this.#descriptor, lengthBytes, (error) => done(error, undefined))
    );
  }

  sync(): Promise<void> {
    return promised((done) => fs.fdatasync(this.#descriptor, (error) => done(error, undefined)));
  }

  syncAll(): Promise<void> {
    return promised((done) => fs.fsync(this.#descriptor, (error) => done(error, undefined)));
  }

  attribute(): Uint8Array | undefined {
    return readAttribute(this.#descriptor);
  }

  setAttribute(bytes: Uint8Array | undefined): void {
    const isDone = bytes
      ? writeAttribute(this.#descriptor, bytes)
      : removeAttribute(this.#descriptor);
    if (!isDone) throw new Error(`the attribute of "${this.#path}" cannot be changed`);
  }

  close(): void {
    if (this.#uncached !== undefined) fs.closeSync(this.#uncached);
    fs.closeSync(this.#descriptor);
  }
}
