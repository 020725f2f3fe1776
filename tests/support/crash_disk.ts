// A disk in memory that can lose power: the Files of an OST's file store, with what of it is on the
// platters and what is only in the system's cache. Stricter than real file systems: a file's entry is
// on disk only when its directory was synced, and of what was not synced any part may survive.

import type { Files, OpenFile } from "../../oss/files.ts";
import type { SeededRandom } from "./seeded_random.ts";

/** What survives a crash of power as a whole: a sector. */
const sectorBytes = 512;

/** The process or the machine ends here; nothing after it is carried out. */
export class Crash extends Error {}

type FileChange =
  | { kind: "write"; offsetBytes: number; bytes: Uint8Array<ArrayBuffer> }
  | { kind: "truncate"; lengthBytes: number };

class Inode {
  bytes = new Uint8Array(0);
  synced = new Uint8Array(0);
  unsynced: FileChange[] = [];

  change(change: FileChange): void {
    this.bytes = changed(this.bytes, change);
    this.unsynced.push(change);
  }

  sync(): void {
    this.synced = this.bytes;
    this.unsynced = [];
  }

  losePower(random: SeededRandom): void {
    let bytes = this.synced;
    for (const change of this.unsynced) {
      for (const part of partsOf(change)) {
        if (random.below(3) > 0) bytes = changed(bytes, part);
      }
    }
    this.bytes = this.synced = bytes;
    this.unsynced = [];
  }
}

function changed(
  before: Uint8Array<ArrayBuffer>,
  change: FileChange,
): Uint8Array<ArrayBuffer> {
  if (change.kind === "truncate") {
    const bytes = new Uint8Array(change.lengthBytes);
    bytes.set(before.subarray(0, change.lengthBytes));
    return bytes;
  }
  const { offsetBytes, bytes: written } = change;
  const bytes = new Uint8Array(Math.max(before.length, offsetBytes + written.length));
  bytes.set(before);
  bytes.set(written, offsetBytes);
  return bytes;
}

function* partsOf(change: FileChange): Generator<FileChange> {
  if (change.kind === "truncate") return yield change;
  const { offsetBytes, bytes } = change;
  let start = 0;
  while (start < bytes.length) {
    const end = Math.min(bytes.length, start + sectorBytes - (offsetBytes + start) % sectorBytes);
    yield { kind: "write", offsetBytes: offsetBytes + start, bytes: bytes.slice(start, end) };
    start = end;
  }
}

/** A change of names: each takes effect as a whole. */
type NameChange = { directory: string; from?: string; to?: string; inode?: Inode };

export class CrashDisk implements Files {
  /** Operations so far that change something or bring it to disk. */
  operations = 0;
  /** The operation that does not happen, nor any after it. */
  crashAt = Infinity;
  bootId = (): string => this.#boots.toString(16).padStart(32, "0");
  readonly #random: SeededRandom;
  #boots = 0;
  #names = new Map<string, Inode>();
  #syncedNames = new Map<string, Inode>();
  #unsyncedNames: NameChange[] = [];
  #directories = new Set<string>();

  constructor(random: SeededRandom) {
    this.#random = random;
  }

  /** The process has ended; the system goes on. */
  endProcess(): void {
    this.crashAt = Infinity;
  }

  /** The machine has lost power and starts again. */
  losePower(): void {
    const names = new Map(this.#syncedNames);
    for (const { from, to, inode } of this.#unsyncedNames) {
      if (this.#random.below(2) === 0) continue;
      if (from !== undefined) names.delete(from);
      if (to !== undefined) names.set(to, inode!);
    }
    for (const inode of new Set(names.values())) inode.losePower(this.#random);
    this.#names = names;
    this.#syncedNames = new Map(names);
    this.#unsyncedNames = [];
    this.#boots++;
    this.endProcess();
  }

  /** Flips a bit of what is stored, as a disk that decays. */
  corrupt(path: string, offsetBytes: number): void {
    const inode = this.#names.get(path);
    if (!inode || inode.bytes.length <= offsetBytes) throw new Error(`"${path}" has no such byte`);
    const bytes = inode.bytes.slice();
    bytes[offsetBytes]! ^= 1;
    inode.bytes = inode.synced = bytes;
  }

  paths(): string[] {
    return [...this.#names.keys()].sort();
  }

  // ── Files ────────────────────────────────────────────────────────────────────────────────────

  open(path: string): OpenFile | undefined {
    const inode = this.#names.get(path);
    return inode && new CrashFile(this, inode);
  }

  create(path: string): OpenFile | undefined {
    if (this.#names.has(path)) return undefined;
    if (!this.#directories.has(directoryOf(path))) {
      throw Object.assign(new Error(`ENOENT: ${path}`), { code: "ENOENT" });
    }
    this.step();
    const inode = new Inode();
    this.#changeNames({ directory: directoryOf(path), to: path, inode });
    return new CrashFile(this, inode);
  }

  /** Directories are on disk at once: there are few, made once. */
  makeDirectory(path: string): boolean {
    const isNew = !this.#directories.has(path);
    this.#directories.add(path);
    return isNew;
  }

  list(path: string): Promise<string[]> {
    const below = [...this.#names.keys(), ...this.#directories]
      .filter((each) => directoryOf(each) === path);
    return Promise.resolve(below.map((each) => each.slice(path.length + 1)));
  }

  lengthOf(path: string): number | undefined {
    return this.#names.get(path)?.bytes.length ?? (this.#directories.has(path) ? 0 : undefined);
  }

  // deno-lint-ignore require-await -- a crash must be a rejection
  async remove(path: string): Promise<boolean> {
    return this.removeSync(path);
  }

  removeSync(path: string): boolean {
    if (!this.#names.has(path)) return false;
    this.step();
    this.#changeNames({ directory: directoryOf(path), from: path });
    return true;
  }

  rename(from: string, to: string): void {
    this.step();
    const inode = this.#names.get(from);
    if (!inode) throw Object.assign(new Error(`ENOENT: ${from}`), { code: "ENOENT" });
    this.#changeNames({ directory: directoryOf(to), from, to, inode });
  }

  // deno-lint-ignore require-await -- a crash must be a rejection
  async syncDirectory(path: string): Promise<void> {
    this.step();
    const [synced, rest] = [[] as NameChange[], [] as NameChange[]];
    for (const change of this.#unsyncedNames) {
      (change.directory === path ? synced : rest).push(change);
    }
    for (const { from, to, inode } of synced) {
      if (from !== undefined) this.#syncedNames.delete(from);
      if (to !== undefined) this.#syncedNames.set(to, inode!);
    }
    this.#unsyncedNames = rest;
  }

  async syncTogether(files: readonly OpenFile[]): Promise<void> {
    for (const file of files) await file.sync();
  }

  space(): { capacityBytes: number; freeBytes: number } {
    return { capacityBytes: 2 ** 40, freeBytes: 2 ** 40 };
  }

  step(): void {
    this.operations++;
    if (this.operations >= this.crashAt) throw new Crash(`crash at operation ${this.operations}`);
  }

  #changeNames(change: NameChange): void {
    const { from, to, inode } = change;
    if (from !== undefined) this.#names.delete(from);
    if (to !== undefined) this.#names.set(to, inode!);
    this.#unsyncedNames.push(change);
  }

  /** A write that the crash cuts short has put a part of its bytes into the cache. */
  partOf(bytes: Uint8Array): Uint8Array<ArrayBuffer> {
    return bytes.slice(0, this.#random.below(bytes.length + 1));
  }
}

function directoryOf(path: string): string {
  return path.slice(0, path.lastIndexOf("/"));
}

class CrashFile implements OpenFile {
  readonly lengthBytes: number;
  readonly descriptor = undefined;
  readonly #disk: CrashDisk;
  readonly #inode: Inode;

  constructor(disk: CrashDisk, inode: Inode) {
    this.#disk = disk;
    this.#inode = inode;
    this.lengthBytes = inode.bytes.length;
  }

  readSync(into: Uint8Array, offsetBytes: number): number {
    const part = this.#inode.bytes.subarray(offsetBytes, offsetBytes + into.length);
    into.set(part);
    return part.length;
  }

  async read(into: Uint8Array, offsetBytes: number): Promise<number> {
    await Promise.resolve();
    return this.readSync(into, offsetBytes);
  }

  writeSync(bytes: Uint8Array, offsetBytes: number): number {
    try {
      this.#disk.step();
    } catch (error) {
      if (this.#disk.operations === this.#disk.crashAt) {
        this.#inode.change({ kind: "write", offsetBytes, bytes: this.#disk.partOf(bytes) });
      }
      throw error;
    }
    this.#inode.change({ kind: "write", offsetBytes, bytes: bytes.slice() });
    return bytes.length;
  }

  async write(bytes: Uint8Array, offsetBytes: number): Promise<number> {
    await Promise.resolve();
    return this.writeSync(bytes, offsetBytes);
  }

  // deno-lint-ignore require-await -- a crash must be a rejection
  async truncate(lengthBytes: number): Promise<void> {
    this.#disk.step();
    this.#inode.change({ kind: "truncate", lengthBytes });
  }

  // deno-lint-ignore require-await -- a crash must be a rejection
  async sync(): Promise<void> {
    this.#disk.step();
    this.#inode.sync();
  }

  close(): void {}
}
