// The disk below MemoryObjectStore: it outlives the stores that are opened on it, one after the other,
// as a directory outlives its daemons; it can crash, and it can go bad.

import { blockBytes, checksumOf } from "../shared/checksums.ts";
import type { ObjectId } from "../shared/model.ts";

/** Never changes: a write puts another one in its place. */
export interface Block {
  /** All of it; zeros behind the end of the object. */
  readonly bytes: Uint8Array;
  /** Of all of it. */
  readonly checksum: number;
}

/** Blocks by number; those that are not there are zeros. */
export interface Content {
  lengthBytes: number;
  readonly blocks: Map<number, Block>;
}

/** What is visible, and what is left of it after a crash. Content of the latter never changes. */
export class MemoryDisk {
  readonly capacityBytes: number;
  objects = new Map<ObjectId, Content>();
  readonly synced = new Map<ObjectId, Content>();
  /** Of `objects`. */
  blockCount = 0;
  /** Whether reads give ranges of files, as a disk's do, and how many are not released. */
  readsFromFile = false;
  openFiles = 0;
  #crashes = 0;

  constructor(capacityBytes: number = 2 ** 40) {
    this.capacityBytes = capacityBytes;
  }

  /** The power goes: nothing is left but what was synced. To be called while no store is open. */
  crash(): void {
    this.objects = new Map([...this.synced].map(([object, content]) => [object, copyOf(content)]));
    this.blockCount = 0;
    for (const content of this.objects.values()) this.blockCount += content.blocks.size;
    this.#crashes++;
  }

  get writeVerifier(): string {
    return this.#crashes.toString(16).padStart(32, "0");
  }

  get freeBytes(): number {
    return Math.max(0, this.capacityBytes - this.blockCount * blockBytes);
  }

  // ── what goes wrong on a real disk ───────────────────────────────────────────────────────────

  /** Flips a bit of a byte. */
  corruptByte(object: ObjectId, offsetBytes: number): void {
    this.#damage(object, Math.floor(offsetBytes / blockBytes), ({ bytes, checksum }) => {
      const corrupt = bytes.slice();
      corrupt[offsetBytes % blockBytes]! ^= 1;
      return { bytes: corrupt, checksum };
    });
  }

  /** Makes the checksum of a block one of other bytes. */
  corruptChecksum(object: ObjectId, block: number): void {
    this.#damage(object, block, ({ bytes }) => ({ bytes, checksum: otherThan(checksumOf(bytes)) }));
  }

  /** Loses all checksums of an object. */
  corruptChecksums(object: ObjectId): void {
    const blocks = Math.ceil(this.objects.get(object)!.lengthBytes / blockBytes);
    for (let block = 0; block < blocks; block++) this.corruptChecksum(object, block);
  }

  /** Loses an object, without anybody having destroyed it. */
  drop(object: ObjectId): void {
    this.blockCount -= this.objects.get(object)!.blocks.size;
    this.objects.delete(object);
    this.synced.delete(object);
  }

  #damage(object: ObjectId, block: number, damage: (block: Block) => Block): void {
    const { blocks } = this.objects.get(object)!;
    if (!blocks.has(block)) this.blockCount++;
    blocks.set(block, damage(blocks.get(block) ?? zeroBlock));
  }
}

const zeroBytes = new Uint8Array(blockBytes);
export const zeroBlock: Block = { bytes: zeroBytes, checksum: checksumOf(zeroBytes) };

export function copyOf(content: Content): Content {
  return { lengthBytes: content.lengthBytes, blocks: new Map(content.blocks) };
}

export function otherThan(checksum: number): number {
  return checksum === 1 ? 2 : 1;
}

export function isDamaged({ bytes, checksum }: Block): boolean {
  return checksumOf(bytes) !== checksum;
}
