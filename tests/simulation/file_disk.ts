// An OST's disk with the product's own file store on it: journal, checkpoints and files over a disk
// that tears and loses what was not synced.

import { FileObjectStore } from "../../oss/file_store.ts";
import type { Files, OpenFile } from "../../oss/files.ts";
import { MemoryDisk } from "../../oss/memory_disk.ts";
import { MemoryObjectStore } from "../../oss/memory_store.ts";
import type { ObjectStore, TargetStorage } from "../../oss/object_store.ts";
import { checksumsOf } from "../../shared/checksums.ts";
import type { Environment } from "../../shared/environment.ts";
import { CrashDisk } from "../support/crash_disk.ts";
import type { SeededRandom } from "../support/seeded_random.ts";
import type { HostProcess } from "./process.ts";
import type { SimulatedTarget } from "./disk.ts";

const directory = "/ost";
/** So small that checkpoints happen all the time. */
const checkpointSizes = {
  segmentBytes: 150_000,
  journalBytes: 600_000,
  changedObjects: 4,
  batch: 2,
  filledBytes: 500_000,
};

export class FileDisk implements SimulatedTarget {
  readonly #index: number;
  readonly #random: SeededRandom;
  readonly #disk: CrashDisk;
  /** The power went, and what was under way then has ended only by the next start. */
  #lostPower = false;

  constructor(index: number, random: SeededRandom) {
    this.#index = index;
    this.#random = random;
    this.#disk = new CrashDisk(random, directory);
  }

  set isFull(isFull: boolean) {
    this.#disk.isFull = isFull;
  }

  losePower(): void {
    this.#lostPower = true;
  }

  storage(process: HostProcess, wrap: (objects: ObjectStore) => ObjectStore): TargetStorage {
    const nodeId = (0xf0 + this.#index).toString(16).padStart(32, "0");
    return {
      lock: () => Promise.resolve(),
      unlock: () => {},
      open: async () => {
        await process.after(0, "disk", "open");
        const files = new ProcessFiles(this.#disk, process, this.#random);
        const objects = await this.#open(files, process.environment);
        return { nodeId, objects: wrap(objects) };
      },
    };
  }

  #open(files: Files, { clock, random }: Pick<Environment, "clock" | "random">) {
    if (this.#lostPower) this.#disk.losePower();
    this.#lostPower = false;
    const targetIndex = this.#index;
    return FileObjectStore.open({ directory, targetIndex, random, clock, files, checkpointSizes });
  }

  /** While no process uses it. */
  async contents(environment: Pick<Environment, "clock" | "random">): Promise<MemoryDisk> {
    await using store = await this.#open(this.#disk, environment);
    const disk = new MemoryDisk();
    await using copy = new MemoryObjectStore({ targetIndex: this.#index, disk });
    for (const { object, lengthBytes } of await store.list(undefined, 100_000)) {
      const data = await store.read(object, 0, lengthBytes, { verified: true });
      const bytes = bytesOf(data.payload);
      data.release();
      await copy.write(object, 0, bytes, checksumsOf(0, bytes));
    }
    return disk;
  }
}

function bytesOf(payload: Awaited<ReturnType<ObjectStore["read"]>>["payload"]): Uint8Array {
  if (payload instanceof Uint8Array) return payload;
  const bytes = new Uint8Array(payload.lengthBytes);
  let count = 0;
  while (count < bytes.length) {
    const read = payload.file.readSync(bytes.subarray(count), payload.offsetBytes + count);
    if (read === 0) throw new Error("A file ends before its object does");
    count += read;
  }
  return bytes;
}

/** The disk as one process sees it; what that does after its end has no effect. */
class ProcessFiles implements Files {
  readonly #disk: CrashDisk;
  readonly #process: HostProcess;
  readonly #random: SeededRandom;

  constructor(disk: CrashDisk, process: HostProcess, random: SeededRandom) {
    this.#disk = disk;
    this.#process = process;
    this.#random = random;
  }

  get isOver(): boolean {
    return this.#process.isDead;
  }

  open(path: string): OpenFile | undefined {
    const file = this.#disk.open(path);
    return file && new ProcessFile(file, this);
  }

  seems(path: string): boolean {
    return this.#disk.seems(path);
  }

  create(path: string): OpenFile | undefined {
    const file = this.isOver ? this.#disk.open(path) : this.#disk.create(path);
    return file && new ProcessFile(file, this);
  }

  makeDirectory(path: string): boolean {
    return !this.isOver && this.#disk.makeDirectory(path);
  }

  list(path: string): Promise<string[]> {
    return this.slowly(`list ${path}`, () => this.#disk.list(path));
  }

  lengthOf(path: string): number | undefined {
    return this.#disk.lengthOf(path);
  }

  remove(path: string): Promise<boolean> {
    return this.slowly(`remove ${path}`, () => Promise.resolve(this.#disk.removeSync(path)));
  }

  removeSync(path: string): boolean {
    return !this.isOver && this.#disk.removeSync(path);
  }

  rename(from: string, to: string): void {
    if (!this.isOver) this.#disk.rename(from, to);
  }

  syncDirectory(path: string): Promise<void> {
    return this.slowly(`sync ${path}`, () => this.#disk.syncDirectory(path));
  }

  async syncTogether(files: readonly OpenFile[]): Promise<void> {
    for (const file of files) await file.syncAll();
  }

  space(): { capacityBytes: number; freeBytes: number } {
    return this.#disk.space();
  }

  bootId(): string {
    return this.#disk.bootId();
  }

  /** Another thread does it: that takes a while, and the process may end before and after. */
  async slowly<Result>(what: string, run: () => Promise<Result>): Promise<Result> {
    await this.#process.after(this.#delayMs(), "disk", what);
    const result = await run();
    await this.#process.after(0, "disk", `${what}: done`);
    return result;
  }

  #delayMs(): number {
    return this.#random.below(4) > 0 ? 0 : 0.1 + this.#random.below(40) / 10;
  }
}

class ProcessFile implements OpenFile {
  readonly lengthBytes: number;
  readonly descriptor = undefined;
  readonly #file: OpenFile;
  readonly #files: ProcessFiles;

  constructor(file: OpenFile, files: ProcessFiles) {
    this.#file = file;
    this.#files = files;
    this.lengthBytes = file.lengthBytes;
  }

  readSync(into: Uint8Array, offsetBytes: number): number {
    return this.#file.readSync(into, offsetBytes);
  }

  read(into: Uint8Array, offsetBytes: number): Promise<number> {
    return this.#files.slowly("read", () => this.#file.read(into, offsetBytes));
  }

  writeSync(bytes: Uint8Array, offsetBytes: number): number {
    return this.#files.isOver ? bytes.length : this.#file.writeSync(bytes, offsetBytes);
  }

  write(bytes: Uint8Array, offsetBytes: number): Promise<number> {
    return this.#files.slowly("write", () => this.#file.write(bytes, offsetBytes));
  }

  truncate(lengthBytes: number): Promise<void> {
    return this.#files.slowly("truncate", () => this.#file.truncate(lengthBytes));
  }

  sync(): Promise<void> {
    return this.#files.slowly("sync", () => this.#file.sync());
  }

  syncAll(): Promise<void> {
    return this.#files.slowly("sync", () => this.#file.syncAll());
  }

  attribute(): Uint8Array | undefined {
    return this.#file.attribute();
  }

  setAttribute(bytes: Uint8Array | undefined): void {
    if (!this.#files.isOver) this.#file.setAttribute(bytes);
  }

  close(): void {
    this.#file.close();
  }
}
