// A disk in memory that can lose power: the Files of an OST's file store, with what of it is on the
// platters and what is only in the system's cache. Stricter than real file systems: the entry of a
// file or directory is on disk only when the directory above was synced, and of what was not synced
// any part may survive.

import type { Files, OpenFile } from "../../oss/files.ts";
import { Inode, survival, type SyncScope } from "./crash_inode.ts";
import type { SeededRandom } from "./seeded_random.ts";

/** The process or the machine ends here; nothing after it is carried out. */
export class Crash extends Error {}

export type DiskOperation =
  | "read"
  | "list"
  | "write"
  | "truncate"
  | "attribute"
  | "sync"
  | "create"
  | "makeDirectory"
  | "rename"
  | "remove"
  | "syncDirectory";

/** What a name leads to. */
type Node = Inode | "directory";

/** A change of names: each takes effect as a whole. */
interface NameChange {
  readonly directory: string;
  readonly from?: string;
  readonly to?: string;
  readonly node?: Node;
}

export class CrashDisk implements Files {
  /** Operations so far. */
  operations = 0;
  /** The operation that does not happen, nor any after it. */
  crashAt = Infinity;
  /** Whether it takes no more bytes: what is written is cut short, and fails. */
  isFull = false;
  /** Whether some files take no attribute, though there is room for all else. */
  refusesAttributes = false;
  /** Whether files can have attributes. */
  hasAttributes = true;
  /** What takes longer than the rest. */
  slow: ReadonlySet<DiskOperation> = new Set();
  /** Called before each operation; may move {@link crashAt}. */
  onOperation: (operation: DiskOperation) => void = () => {};
  /** Whether a sync of a file or directory is a lie: it brings nothing to disk. */
  lies: (path: string) => boolean = () => false;
  bootId = (): string => this.#boots.toString(16).padStart(32, "0");
  /** How many syncs of objects' files are still to fail; each drops what it could not write. */
  failingSyncs = 0;
  readonly #random: SeededRandom;
  #boots = 0;
  #names: Map<string, Node>;
  #syncedNames: Map<string, Node>;
  #unsyncedNames: NameChange[] = [];

  /** `root` is a directory that is there. */
  constructor(random: SeededRandom, root: string) {
    this.#random = random;
    this.#names = new Map([[root, "directory"]]);
    this.#syncedNames = new Map(this.#names);
  }

  /** The process has ended; the system goes on. */
  endProcess(): void {
    this.failingSyncs = 0;
    this.refusesAttributes = false;
    this.crashAt = Infinity;
  }

  /** The machine has lost power and starts again. */
  losePower(): void {
    const names = new Map(this.#syncedNames);
    const survives = this.#random.below(2) === 0
      ? () => this.#random.below(2) > 0
      : survival(this.#random);
    for (const change of this.#unsyncedNames) if (survives()) changeNames(names, change);
    for (const name of [...names.keys()].sort()) {
      // What was in a directory that is lost is lost.
      const above = directoryOf(name);
      if (above !== "" && names.get(above) !== "directory") names.delete(name);
    }
    for (const node of new Set(names.values())) {
      if (node !== "directory") node.losePower(this.#random);
    }
    this.#names = names;
    this.#syncedNames = new Map(names);
    this.#unsyncedNames = [];
    this.#boots++;
    this.endProcess();
  }

  /** Changes a byte of what is stored, as a disk that decays. */
  corrupt(path: string, offsetBytes: number): void {
    const inode = this.#names.get(path);
    if (!(inode instanceof Inode) || inode.bytes.length <= offsetBytes) {
      throw new Error(`"${path}" has no such byte`);
    }
    inode.bytes[offsetBytes]! ^= 1;
    const { bytes } = inode.synced;
    if (offsetBytes < bytes.length) bytes[offsetBytes]! ^= 1;
  }

  /** Of files, in order. */
  paths(): string[] {
    return [...this.#names].filter(([, node]) => node !== "directory").map(([path]) => path).sort();
  }

  // ── Files ────────────────────────────────────────────────────────────────────────────────────

  open(path: string): OpenFile | undefined {
    const node = this.#names.get(path);
    return node instanceof Inode ? new CrashFile(this, path, node) : undefined;
  }

  seems(path: string): boolean {
    return this.#names.has(path);
  }

  create(path: string): OpenFile | undefined {
    if (this.#names.has(path)) return undefined;
    if (!this.#names.has(directoryOf(path))) {
      throw Object.assign(new Error(`ENOENT: ${path}`), { code: "ENOENT" });
    }
    this.step("create");
    const node = new Inode();
    this.#change({ directory: directoryOf(path), to: path, node });
    return new CrashFile(this, path, node);
  }

  makeDirectory(path: string): boolean {
    if (this.#names.has(path)) return false;
    this.step("makeDirectory");
    this.#change({ directory: directoryOf(path), to: path, node: "directory" });
    return true;
  }

  async list(path: string): Promise<string[]> {
    await this.moment("list");
    const below = [...this.#names.keys()].filter((each) => directoryOf(each) === path);
    return below.map((each) => each.slice(path.length + 1));
  }

  lengthOf(path: string): number | undefined {
    const node = this.#names.get(path);
    return node instanceof Inode ? node.bytes.length : node && 0;
  }

  async remove(path: string): Promise<boolean> {
    await this.moment("remove");
    return this.removeSync(path);
  }

  removeSync(path: string): boolean {
    if (!this.#names.has(path)) return false;
    this.step("remove");
    this.#change({ directory: directoryOf(path), from: path });
    return true;
  }

  rename(from: string, to: string): void {
    this.step("rename");
    const node = this.#names.get(from);
    if (!node) throw Object.assign(new Error(`ENOENT: ${from}`), { code: "ENOENT" });
    this.#change({ directory: directoryOf(to), from, to, node });
  }

  async syncDirectory(path: string): Promise<void> {
    await this.moment("syncDirectory");
    this.step("syncDirectory");
    if (this.lies(path)) return;
    const synced = this.#unsyncedNames.filter(({ directory }) => directory === path);
    for (const change of synced) changeNames(this.#syncedNames, change);
    this.#unsyncedNames = this.#unsyncedNames.filter(({ directory }) => directory !== path);
  }

  async syncTogether(files: readonly OpenFile[]): Promise<void> {
    for (const file of files) await file.syncAll();
  }

  space(): { capacityBytes: number; freeBytes: number } {
    return { capacityBytes: 2 ** 40, freeBytes: 2 ** 40 };
  }

  // ── for its files ────────────────────────────────────────────────────────────────────────────

  step(operation: DiskOperation): void {
    this.operations++;
    this.onOperation(operation);
    if (this.operations >= this.crashAt) throw new Crash(`crash at operation ${this.operations}`);
  }

  /** What runs on other threads takes some time, so that others come in between. */
  async moment(operation: DiskOperation): Promise<void> {
    const turnsMax = this.slow.has(operation) ? 200 : 6;
    for (let turns = 1 + this.#random.below(turnsMax); turns > 0; turns--) await undefined;
  }

  takesAttribute(): boolean {
    const mayRefuse = this.isFull || this.refusesAttributes;
    return this.hasAttributes && (!mayRefuse || this.#random.below(2) > 0);
  }

  /** What a write that is cut short has put into the cache. */
  partOf(bytes: Uint8Array): Uint8Array<ArrayBuffer> {
    if (this.#random.below(3) === 0) return new Uint8Array(0);
    return bytes.slice(0, this.#random.below(bytes.length));
  }

  #change(change: NameChange): void {
    changeNames(this.#names, change);
    this.#unsyncedNames.push(change);
  }
}

function changeNames(names: Map<string, Node>, { from, to, node }: NameChange): void {
  if (from !== undefined) names.delete(from);
  if (to !== undefined) names.set(to, node!);
}

function directoryOf(path: string): string {
  return path.slice(0, path.lastIndexOf("/"));
}

class CrashFile implements OpenFile {
  readonly lengthBytes: number;
  readonly descriptor = undefined;
  readonly #disk: CrashDisk;
  readonly #path: string;
  readonly #inode: Inode;

  constructor(disk: CrashDisk, path: string, inode: Inode) {
    this.#disk = disk;
    this.#path = path;
    this.#inode = inode;
    this.lengthBytes = inode.bytes.length;
  }

  readSync(into: Uint8Array, offsetBytes: number): number {
    const part = this.#inode.bytes.subarray(offsetBytes, offsetBytes + into.length);
    into.set(part);
    return part.length;
  }

  async read(into: Uint8Array, offsetBytes: number): Promise<number> {
    await this.#disk.moment("read");
    const count = this.readSync(into, offsetBytes);
    await this.#disk.moment("read");
    return count;
  }

  writeSync(bytes: Uint8Array, offsetBytes: number): number {
    try {
      this.#disk.step("write");
    } catch (error) {
      if (this.#disk.operations === this.#disk.crashAt) {
        this.#inode.change({ kind: "write", offsetBytes, bytes: this.#disk.partOf(bytes) });
      }
      throw error;
    }
    const written = this.#disk.isFull ? this.#fitting(bytes, offsetBytes) : bytes.slice();
    this.#inode.change({ kind: "write", offsetBytes, bytes: written });
    if (written.length === 0 && bytes.length > 0) {
      throw Object.assign(new Error("ENOSPC: no space"), { code: "ENOSPC" });
    }
    return written.length;
  }

  /** A full disk takes what is written over other bytes, and perhaps some more. */
  #fitting(bytes: Uint8Array, offsetBytes: number): Uint8Array<ArrayBuffer> {
    const over = Math.max(0, this.#inode.bytes.length - offsetBytes);
    if (over >= bytes.length) return bytes.slice();
    const more = this.#disk.partOf(bytes.subarray(over));
    return bytes.slice(0, over + more.length);
  }

  async write(bytes: Uint8Array, offsetBytes: number): Promise<number> {
    await this.#disk.moment("write");
    return this.writeSync(bytes, offsetBytes);
  }

  async truncate(lengthBytes: number): Promise<void> {
    await this.#disk.moment("truncate");
    this.#disk.step("truncate");
    this.#inode.change({ kind: "truncate", lengthBytes });
  }

  sync(): Promise<void> {
    return this.#sync("data");
  }

  syncAll(): Promise<void> {
    return this.#sync("all");
  }

  async #sync(scope: SyncScope): Promise<void> {
    await this.#disk.moment("sync");
    this.#disk.step("sync");
    if (this.#disk.failingSyncs > 0 && this.#path.includes("/objects/")) {
      this.#disk.failingSyncs--;
      this.#inode.dropWrites();
      throw Object.assign(new Error("EIO: dropped"), { code: "EIO" });
    }
    if (!this.#disk.lies(this.#path)) this.#inode.sync(scope);
  }

  attribute(): Uint8Array | undefined {
    return this.#inode.now.attribute;
  }

  /** A full disk may have no room for one. */
  setAttribute(bytes: Uint8Array | undefined): void {
    this.#disk.step("attribute");
    if (!this.#disk.takesAttribute()) throw new Error("the attribute cannot be changed");
    this.#inode.change({ kind: "attribute", bytes: bytes?.slice() });
  }

  close(): void {}
}
