// The ObjectStore in memory, deterministic, for tests and simulations. The disk outlives the stores
// that are opened on it, one after the other, as a directory outlives its daemons, and can crash.

import { type Random, randomHex } from "../shared/environment.ts";
import { RustreError } from "../shared/errors.ts";
import { parseObjectId } from "../shared/layout.ts";
import type { ObjectId, Usage } from "../shared/model.ts";
import {
  missingBytes,
  missingObject,
  type ObjectStore,
  type OpenTarget,
  type TargetOwner,
  type TargetStorage,
} from "./object_store.ts";

const pageBytes = 4096;

/** Pages by number; those that are not there are zeros. Past the length a page holds only zeros. */
interface Content {
  lengthBytes: number;
  readonly pages: Map<number, Uint8Array>;
}

/** What is visible, and what is left of it after a crash. Content of the latter never changes. */
export class MemoryDisk {
  readonly capacityBytes: number;
  objects = new Map<ObjectId, Content>();
  readonly synced = new Map<ObjectId, Content>();
  /** Pages of `objects`. */
  pageCount = 0;
  #crashes = 0;

  constructor(capacityBytes: number = 2 ** 40) {
    this.capacityBytes = capacityBytes;
  }

  /** The power goes: nothing is left but what was synced. To be called while no store is open. */
  crash(): void {
    this.objects = new Map([...this.synced].map(([object, content]) => [object, copyOf(content)]));
    this.pageCount = 0;
    for (const content of this.objects.values()) this.pageCount += content.pages.size;
    this.#crashes++;
  }

  get writeVerifier(): string {
    return this.#crashes.toString(16).padStart(32, "0");
  }

  get freeBytes(): number {
    return Math.max(0, this.capacityBytes - this.pageCount * pageBytes);
  }
}

function copyOf(content: Content): Content {
  return { lengthBytes: content.lengthBytes, pages: new Map(content.pages) };
}

export class MemoryObjectStore implements ObjectStore {
  readonly writeVerifier: string;
  readonly #disk: MemoryDisk;
  readonly #targetIndex: number;
  #closed = false;

  constructor(options: { targetIndex: number; disk?: MemoryDisk }) {
    this.#disk = options.disk ?? new MemoryDisk();
    this.#targetIndex = options.targetIndex;
    this.writeVerifier = this.#disk.writeVerifier;
  }

  async write(object: ObjectId, offsetBytes: number, bytes: Uint8Array): Promise<void> {
    await this.#begin();
    const content = this.#make(object);
    for (let done = 0; done < bytes.length;) {
      const offset = offsetBytes + done;
      const inPage = offset % pageBytes;
      const length = Math.min(pageBytes - inPage, bytes.length - done);
      const page = this.#pageForWriting(object, content, Math.floor(offset / pageBytes));
      page.set(bytes.subarray(done, done + length), inPage);
      done += length;
      content.lengthBytes = Math.max(content.lengthBytes, offset + length);
    }
  }

  async read(object: ObjectId, offsetBytes: number, lengthBytes: number): Promise<Uint8Array> {
    await this.#begin();
    const content = this.#disk.objects.get(object);
    if (!content || offsetBytes + lengthBytes > content.lengthBytes) {
      const wanted = { offsetBytes, lengthBytes };
      throw missingBytes(this.#where(object), wanted, content?.lengthBytes);
    }
    const bytes = new Uint8Array(lengthBytes);
    for (let done = 0; done < lengthBytes;) {
      const offset = offsetBytes + done;
      const inPage = offset % pageBytes;
      const length = Math.min(pageBytes - inPage, lengthBytes - done);
      const page = content.pages.get(Math.floor(offset / pageBytes));
      if (page) bytes.set(page.subarray(inPage, inPage + length), done);
      done += length;
    }
    return bytes;
  }

  async resize(object: ObjectId, lengthBytes: number, how: "extend" | "cut"): Promise<void> {
    await this.#begin();
    const content = how === "extend" ? this.#make(object) : this.#disk.objects.get(object);
    if (!content) return;
    if (how === "extend") content.lengthBytes = Math.max(content.lengthBytes, lengthBytes);
    else if (lengthBytes < content.lengthBytes) this.#cut(object, content, lengthBytes);
  }

  #cut(object: ObjectId, content: Content, lengthBytes: number): void {
    const pageCount = Math.ceil(lengthBytes / pageBytes);
    for (const number of [...content.pages.keys()]) {
      if (number < pageCount) continue;
      content.pages.delete(number);
      this.#disk.pageCount--;
    }
    if (content.pages.has(pageCount - 1)) {
      const last = this.#pageForWriting(object, content, pageCount - 1);
      last.fill(0, lengthBytes - (pageCount - 1) * pageBytes);
    }
    content.lengthBytes = lengthBytes;
  }

  async sync(objects: readonly ObjectId[]): Promise<void> {
    await this.#begin();
    for (const object of objects) {
      const content = this.#disk.objects.get(object);
      if (!content) throw missingObject("sync", this.#where(object));
      this.#disk.synced.set(object, copyOf(content));
    }
  }

  async stat(object: ObjectId): Promise<number | undefined> {
    await this.#begin();
    return this.#disk.objects.get(object)?.lengthBytes;
  }

  async destroy(inodes: readonly number[]): Promise<number> {
    await this.#begin();
    const doomed = new Set(inodes);
    let count = 0;
    for (const [object, content] of [...this.#disk.objects]) {
      if (!doomed.has(parseObjectId(object).ino)) continue;
      this.#disk.objects.delete(object);
      this.#disk.synced.delete(object);
      this.#disk.pageCount -= content.pages.size;
      count++;
    }
    return count;
  }

  usage(): Usage {
    const { objects, capacityBytes, freeBytes } = this.#disk;
    let usedBytes = 0;
    for (const content of objects.values()) usedBytes += content.lengthBytes;
    return { capacityBytes, usedBytes, freeBytes, objects: objects.size };
  }

  close(): Promise<void> {
    this.#closed = true;
    return Promise.resolve();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  /** As with files, nothing happens within the caller's own step. */
  async #begin(): Promise<void> {
    await Promise.resolve();
    if (!this.#closed) return;
    throw new RustreError("SHUTTING_DOWN", `OST ${this.#targetIndex} is stopping`);
  }

  #make(object: ObjectId): Content {
    let content = this.#disk.objects.get(object);
    if (!content) {
      content = { lengthBytes: 0, pages: new Map() };
      this.#disk.objects.set(object, content);
    }
    return content;
  }

  /** A page that is not shared with what was synced. */
  #pageForWriting(object: ObjectId, content: Content, number: number): Uint8Array {
    const page = content.pages.get(number);
    if (page && this.#disk.synced.get(object)?.pages.get(number) !== page) return page;
    if (!page) {
      if (this.#disk.freeBytes < pageBytes) throw this.#noSpace(object);
      this.#disk.pageCount++;
    }
    const fresh = page ? page.slice() : new Uint8Array(pageBytes);
    content.pages.set(number, fresh);
    return fresh;
  }

  #noSpace(object: ObjectId): RustreError {
    const what = `object "${object}" on OST ${this.#targetIndex}`;
    return new RustreError("ENOSPC", `Cannot write ${what}: no space left on its disk`);
  }

  #where(object: ObjectId): { object: ObjectId; targetIndex: number } {
    return { object, targetIndex: this.#targetIndex };
  }
}

/** The storage of one OST in memory; kept by a test over restarts of the OST. */
export class MemoryTarget implements TargetStorage {
  readonly disk: MemoryDisk;
  readonly #nodeId: string;
  #owner: TargetOwner | undefined;
  #locked = false;

  constructor(random: Random, disk: MemoryDisk = new MemoryDisk()) {
    this.disk = disk;
    this.#nodeId = randomHex(random, 16);
  }

  lock(): Promise<void> {
    if (this.#locked) {
      const message = "Cannot use an OST's memory: another daemon uses it";
      return Promise.reject(new RustreError("EBUSY", message));
    }
    this.#locked = true;
    return Promise.resolve();
  }

  open(owner: TargetOwner): Promise<OpenTarget> {
    this.#owner ??= owner;
    const { clusterId, targetIndex } = this.#owner;
    if (owner.clusterId !== clusterId || owner.targetIndex !== targetIndex) {
      const message = `Cannot use an OST's memory: it is OST ${targetIndex} of ${clusterId}`;
      return Promise.reject(new RustreError("WRONG_CLUSTER", message));
    }
    const objects = new MemoryObjectStore({ targetIndex, disk: this.disk });
    return Promise.resolve({ nodeId: this.#nodeId, objects });
  }

  unlock(): void {
    this.#locked = false;
  }
}
