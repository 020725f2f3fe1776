// The ObjectStore in memory, deterministic, for tests and simulations.

import { blockBytes, checksumOf, firstMismatch, partCount } from "../shared/checksums.ts";
import { type FileRange, type Random, randomHex } from "../shared/environment.ts";
import { RustreError } from "../shared/errors.ts";
import { parseObjectId } from "../shared/layout.ts";
import type { ObjectId } from "../shared/model.ts";
import { rangesOfBlocks, wholeBlocks } from "./block_ranges.ts";
import { prefixOf } from "./file_names.ts";
import {
  type Block,
  type Content,
  copyOf,
  isDamaged,
  MemoryDisk,
  otherThan,
  zeroBlock,
} from "./memory_disk.ts";
import {
  changedOnTheWay,
  corruptBytes,
  type DamagedRange,
  missingBytes,
  missingObject,
  type ObjectData,
  type ObjectStore,
  type OpenTarget,
  type StoreUsage,
  type TargetOwner,
  type TargetStorage,
} from "./object_store.ts";

/** What list() sorts by. */
function listKey(object: ObjectId): string {
  return `${prefixOf(parseObjectId(object).ino)}/${object}`;
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

  async write(
    object: ObjectId,
    offsetBytes: number,
    bytes: Uint8Array,
    checksums: Uint32Array,
  ): Promise<void> {
    await this.#begin();
    if (firstMismatch(offsetBytes, bytes, checksums) !== undefined) {
      throw changedOnTheWay(object, offsetBytes);
    }
    const blocks = this.#blocksWith(object, offsetBytes, bytes, checksums);
    const before = this.#disk.objects.get(object);
    const added = [...blocks.keys()].filter((number) => !before?.blocks.has(number)).length;
    if (added * blockBytes > this.#disk.freeBytes) throw this.#noSpace(object);
    // From here on nothing fails: it is written as a whole.
    const content = this.#make(object);
    this.#disk.blockCount += added;
    for (const [number, block] of blocks) content.blocks.set(number, block);
    const endBytes = bytes.length === 0 ? 0 : offsetBytes + bytes.length;
    content.lengthBytes = Math.max(content.lengthBytes, endBytes);
  }

  /** The blocks that a write touches, as they are after it. */
  #blocksWith(
    object: ObjectId,
    offsetBytes: number,
    bytes: Uint8Array,
    checksums: Uint32Array,
  ): Map<number, Block> {
    const blocks = new Map<number, Block>();
    const first = Math.floor(offsetBytes / blockBytes);
    for (const [part, checksum] of checksums.entries()) {
      const number = first + part;
      const start = Math.max(offsetBytes, number * blockBytes);
      const end = Math.min(offsetBytes + bytes.length, (number + 1) * blockBytes);
      const piece = bytes.subarray(start - offsetBytes, end - offsetBytes);
      const block = piece.length === blockBytes
        ? { bytes: piece.slice(), checksum }
        : this.#blockWith(object, number, { start, piece });
      blocks.set(number, block);
    }
    return blocks;
  }

  /** A block with other bytes in one part. What it keeps besides has to be right. */
  #blockWith(
    object: ObjectId,
    number: number,
    { start, piece }: { start: number; piece: Uint8Array },
  ): Block {
    const content = this.#disk.objects.get(object);
    const blockStart = number * blockBytes;
    const oldEnd = Math.min(blockStart + blockBytes, content?.lengthBytes ?? 0);
    const keepsNothing = start === blockStart && start + piece.length >= oldEnd;
    const old = keepsNothing ? zeroBlock : content?.blocks.get(number) ?? zeroBlock;
    if (isDamaged(old)) {
      const reason = "a part of the block cannot be written while its rest is damaged";
      throw corruptBytes(this.#where(object), blockStart, reason);
    }
    const bytes = old.bytes.slice();
    bytes.set(piece, start - blockStart);
    return { bytes, checksum: checksumOf(bytes) };
  }

  async read(
    object: ObjectId,
    offsetBytes: number,
    lengthBytes: number,
    { verified }: { verified: boolean },
  ): Promise<ObjectData> {
    await this.#begin();
    const content = this.#disk.objects.get(object);
    if (!content || offsetBytes + lengthBytes > content.lengthBytes) {
      const wanted = { offsetBytes, lengthBytes };
      throw missingBytes(this.#where(object), wanted, content?.lengthBytes);
    }
    const payload = new Uint8Array(lengthBytes);
    const checksums = new Uint32Array(partCount(offsetBytes, lengthBytes));
    const first = Math.floor(offsetBytes / blockBytes);
    for (let part = 0; part < checksums.length; part++) {
      const block = content.blocks.get(first + part) ?? zeroBlock;
      const blockStart = (first + part) * blockBytes;
      const start = Math.max(offsetBytes, blockStart);
      const end = Math.min(offsetBytes + lengthBytes, blockStart + blockBytes);
      const isWhole = end - start === blockBytes;
      if ((verified || !isWhole) && isDamaged(block)) {
        throw corruptBytes(this.#where(object), blockStart, "they do not match their checksum");
      }
      const piece = block.bytes.subarray(start - blockStart, end - blockStart);
      payload.set(piece, start - offsetBytes);
      checksums[part] = isWhole ? block.checksum : checksumOf(piece);
    }
    return this.#disk.readsFromFile
      ? {
        payload: this.#openFile(payload, offsetBytes),
        checksums,
        release: () => this.#closeFile(),
      }
      : { payload, checksums, release: () => {} };
  }

  /** A file in memory, that has nothing but these bytes. */
  #openFile(bytes: Uint8Array, startBytes: number): FileRange {
    this.#disk.openFiles++;
    const readSync = (into: Uint8Array, offsetBytes: number): number => {
      const found = bytes.subarray(offsetBytes - startBytes).subarray(0, into.length);
      into.set(found);
      return found.length;
    };
    const file = { descriptor: undefined, readSync };
    return { file, offsetBytes: startBytes, lengthBytes: bytes.length };
  }

  #closeFile(): void {
    this.#disk.openFiles--;
  }

  async verify(
    object: ObjectId,
    offsetBytes: number,
    lengthBytes: number,
  ): Promise<DamagedRange[]> {
    await this.#begin();
    const content = this.#disk.objects.get(object);
    if (!content) throw missingObject("verify", this.#where(object));
    const { startBytes, endBytes } = wholeBlocks(offsetBytes, lengthBytes);
    const damaged = [...content.blocks]
      .filter(([number]) => number * blockBytes >= startBytes && number * blockBytes < endBytes)
      .filter(([, block]) => isDamaged(block))
      .map(([number]) => number)
      .sort((a, b) => a - b);
    return rangesOfBlocks(object, damaged, content.lengthBytes);
  }

  async list(
    after: ObjectId | undefined,
    limit: number,
    ino?: number,
  ): Promise<{ object: ObjectId; lengthBytes: number }[]> {
    await this.#begin();
    const afterKey = after === undefined ? "" : listKey(after);
    return [...this.#disk.objects]
      .map(([object, { lengthBytes }]) => ({ object, lengthBytes }))
      .filter(({ object }) => listKey(object) > afterKey)
      .filter(({ object }) => ino === undefined || parseObjectId(object).ino === ino)
      .sort((a, b) => listKey(a.object) < listKey(b.object) ? -1 : 1)
      .slice(0, limit);
  }

  async resize(object: ObjectId, lengthBytes: number, how: "extend" | "cut"): Promise<void> {
    await this.#begin();
    const content = how === "extend" ? this.#make(object) : this.#disk.objects.get(object);
    if (!content) return;
    if (how === "extend") content.lengthBytes = Math.max(content.lengthBytes, lengthBytes);
    else if (lengthBytes < content.lengthBytes) this.#cut(content, lengthBytes);
  }

  /** A damaged block that the cut goes through stays damaged. */
  #cut(content: Content, lengthBytes: number): void {
    const blockCount = Math.ceil(lengthBytes / blockBytes);
    for (const number of [...content.blocks.keys()]) {
      if (number < blockCount) continue;
      content.blocks.delete(number);
      this.#disk.blockCount--;
    }
    content.lengthBytes = lengthBytes;
    const last = content.blocks.get(blockCount - 1);
    if (!last) return;
    const bytes = last.bytes.slice();
    bytes.fill(0, lengthBytes - (blockCount - 1) * blockBytes);
    const checksum = isDamaged(last) ? otherThan(checksumOf(bytes)) : checksumOf(bytes);
    content.blocks.set(blockCount - 1, { bytes, checksum });
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
      this.#disk.blockCount -= content.blocks.size;
      count++;
    }
    return count;
  }

  usage(): StoreUsage {
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
      content = { lengthBytes: 0, blocks: new Map() };
      this.#disk.objects.set(object, content);
    }
    return content;
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
