// The disks of the OSTs: what a process does there is a step in which it may end; what was not synced
// is lost with the power, from the end and as far as chance has it; a disk can be full.

import { type Content, copyOf, MemoryDisk } from "../../oss/memory_disk.ts";
import { MemoryTarget } from "../../oss/memory_store.ts";
import type {
  DamagedRange,
  ObjectData,
  ObjectStore,
  OpenTarget,
  StoreUsage,
  TargetOwner,
  TargetStorage,
} from "../../oss/object_store.ts";
import type { Environment } from "../../shared/environment.ts";
import { RustreError } from "../../shared/errors.ts";
import type { ObjectId } from "../../shared/model.ts";
import { SeededRandom } from "../support/seeded_random.ts";
import type { HostProcess } from "./process.ts";

/** The storage of one OST, over all processes that serve it. */
export interface SimulatedTarget {
  /** Whether writes fail. */
  set isFull(isFull: boolean);
  /** To be called while no process uses it. */
  losePower(): void;
  /** The OST's storage for one process, which alone uses it. */
  storage(process: HostProcess, wrap: (objects: ObjectStore) => ObjectStore): TargetStorage;
  /** What is on it, while no process uses it. */
  contents(environment: Pick<Environment, "clock" | "random">): Promise<MemoryDisk>;
}

/** Of an object that was changed since its last sync: what it was after each change. */
type History = (Content | undefined)[];

/** An OST's disk in memory, as fast as it gets. */
export class SimulatedDisk implements SimulatedTarget {
  readonly disk: MemoryDisk = new MemoryDisk();
  isFull = false;
  readonly #index: number;
  readonly #random: SeededRandom;
  readonly #histories = new Map<ObjectId, History>();

  constructor(index: number, random: SeededRandom) {
    this.#index = index;
    this.#random = random;
  }

  storage(process: HostProcess, wrap: (objects: ObjectStore) => ObjectStore): TargetStorage {
    // The node id comes from chance when the storage is made: always the same.
    const target = new MemoryTarget(new SeededRandom(this.#index), this.disk);
    return {
      lock: () => target.lock(),
      open: async (owner: TargetOwner): Promise<OpenTarget> => {
        await process.after(0, "disk", "open");
        const { nodeId, objects } = await target.open(owner);
        const gated = new GatedObjects(wrap(objects), this, process, this.#random);
        return { nodeId, objects: gated };
      },
      unlock: () => target.unlock(),
    };
  }

  contents(): Promise<MemoryDisk> {
    return Promise.resolve(this.disk);
  }

  losePower(): void {
    this.disk.crash();
    for (const [object, history] of this.#histories) {
      const kept = this.#random.below(history.length + 1);
      if (kept > 0) this.#leave(object, history[kept - 1]);
    }
    this.#histories.clear();
    this.disk.blockCount = 0;
    for (const { blocks } of this.disk.objects.values()) this.disk.blockCount += blocks.size;
  }

  #leave(object: ObjectId, content: Content | undefined): void {
    if (!content) return;
    this.disk.objects.set(object, copyOf(content));
    this.disk.synced.set(object, copyOf(content));
  }

  /** Changes a bit of the first object, behind the back of its checksum. */
  rot(): void {
    for (const [object, { blocks }] of this.disk.objects) {
      if (blocks.has(0)) return this.disk.corruptByte(object, 0);
    }
  }

  noteChange(object: ObjectId): void {
    const content = this.disk.objects.get(object);
    const history = this.#histories.get(object) ?? [];
    history.push(content && copyOf(content));
    this.#histories.set(object, history);
  }

  noteSync(objects: readonly ObjectId[]): void {
    for (const object of objects) this.#histories.delete(object);
  }

  noteDestroyed(): void {
    for (const object of this.#histories.keys()) {
      if (!this.disk.objects.has(object)) this.#histories.delete(object);
    }
  }
}

class GatedObjects implements ObjectStore {
  readonly #inner: ObjectStore;
  readonly #disk: SimulatedDisk;
  readonly #process: HostProcess;
  readonly #random: SeededRandom;

  constructor(
    inner: ObjectStore,
    disk: SimulatedDisk,
    process: HostProcess,
    random: SeededRandom,
  ) {
    this.#inner = inner;
    this.#disk = disk;
    this.#process = process;
    this.#random = random;
  }

  get writeVerifier(): string {
    return this.#inner.writeVerifier;
  }

  async write(
    object: ObjectId,
    offsetBytes: number,
    bytes: Uint8Array,
    checksums: Uint32Array,
  ): Promise<void> {
    await this.#pause("write", object);
    if (this.#disk.isFull) throw new RustreError("ENOSPC", `Cannot write "${object}": disk full`);
    await this.#inner.write(object, offsetBytes, bytes, checksums);
    this.#disk.noteChange(object);
    await this.#pause("written", object);
  }

  async read(
    object: ObjectId,
    offsetBytes: number,
    lengthBytes: number,
    options: { verified: boolean },
  ): Promise<ObjectData> {
    await this.#pause("read", object);
    return await this.#inner.read(object, offsetBytes, lengthBytes, options);
  }

  async verify(
    object: ObjectId,
    offsetBytes: number,
    lengthBytes: number,
  ): Promise<DamagedRange[]> {
    await this.#pause("verify", object);
    return await this.#inner.verify(object, offsetBytes, lengthBytes);
  }

  async list(
    after: ObjectId | undefined,
    limit: number,
    ino?: number,
  ): Promise<{ object: ObjectId; lengthBytes: number }[]> {
    await this.#pause("list", "");
    return await this.#inner.list(after, limit, ino);
  }

  async resize(object: ObjectId, lengthBytes: number, how: "extend" | "cut"): Promise<void> {
    await this.#pause(how, object);
    await this.#inner.resize(object, lengthBytes, how);
    this.#disk.noteChange(object);
    await this.#pause("resized", object);
  }

  async sync(objects: readonly ObjectId[]): Promise<void> {
    await this.#pause("sync", objects.join());
    await this.#inner.sync(objects);
    this.#disk.noteSync(objects);
    await this.#pause("synced", objects.join());
  }

  async stat(object: ObjectId): Promise<number | undefined> {
    await this.#pause("stat", object);
    return await this.#inner.stat(object);
  }

  async destroy(inodes: readonly number[]): Promise<number> {
    await this.#pause("destroy", inodes.join());
    const count = await this.#inner.destroy(inodes);
    this.#disk.noteDestroyed();
    await this.#pause("destroyed", inodes.join());
    return count;
  }

  usage(): StoreUsage {
    return this.#inner.usage();
  }

  close(): Promise<void> {
    return this.#inner.close();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  #pause(what: string, objects: string): Promise<void> {
    const delayMs = this.#random.below(4) > 0 ? 0 : 0.1 + this.#random.below(60) / 10;
    return this.#process.after(delayMs, "disk", `${what} ${objects}`);
  }
}
