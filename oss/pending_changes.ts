// The changes of one object that are in the journal and not yet in its file: in order, as checkpoints
// carry them out, and by block, so that what they make of a block is told without looking at others.

import { blockBytes } from "../shared/checksums.ts";
import type { JournalBytes } from "./journal.ts";
import type { Lsn } from "./journal_record.ts";

export interface PendingWrite {
  readonly kind: "write";
  readonly lsn: Lsn;
  readonly offsetBytes: number;
  readonly bytes: JournalBytes;
}

export interface PendingCut {
  readonly kind: "cut";
  readonly lsn: Lsn;
  readonly lengthBytes: number;
}

export type PendingChange = PendingWrite | PendingCut;

export class PendingChanges {
  #all: PendingChange[] = [];
  /**
   * What is to be laid over the file's bytes of a block, in order: nothing that was before a write
   * of the whole block, and nothing of a block that was cut off.
   */
  readonly #byBlock = new Map<number, PendingChange[]>();
  #cuts = 0;

  /** How many there are, also of those that later ones have made superfluous. */
  get count(): number {
    return this.#all.length;
  }

  get hasCut(): boolean {
    return this.#cuts > 0;
  }

  /** How many are laid over a block. */
  countAt(block: number): number {
    return this.#byBlock.get(block)?.length ?? 0;
  }

  addWrite(change: PendingWrite): void {
    this.#all.push(change);
    const { offsetBytes, bytes: { lengthBytes } } = change;
    const endBytes = offsetBytes + lengthBytes;
    for (let block = Math.floor(offsetBytes / blockBytes); block * blockBytes < endBytes; block++) {
      const start = block * blockBytes;
      const isWhole = offsetBytes <= start && endBytes >= start + blockBytes;
      const before = isWhole ? undefined : this.#byBlock.get(block);
      if (before) before.push(change);
      else this.#byBlock.set(block, [change]);
    }
  }

  addCut(change: PendingCut): void {
    this.#all.push(change);
    this.#cuts++;
    const { lengthBytes } = change;
    for (const block of this.#byBlock.keys()) {
      if (block * blockBytes >= lengthBytes) this.#byBlock.delete(block);
    }
    if (lengthBytes % blockBytes === 0) return;
    const block = Math.floor(lengthBytes / blockBytes);
    const before = this.#byBlock.get(block);
    if (before) before.push(change);
    else this.#byBlock.set(block, [change]);
  }

  /** In order, all that the file needs: whatever later ones have overwritten as a whole is left out. */
  needed(): PendingChange[] {
    const needed = new Set<PendingChange>();
    for (const changes of this.#byBlock.values()) for (const each of changes) needed.add(each);
    return this.#all.filter((change) => change.kind === "cut" || needed.has(change));
  }

  /** The file has the first `count` of them. */
  dropFirst(count: number): void {
    const rest = this.#all.slice(count);
    this.#all = [];
    this.#byBlock.clear();
    this.#cuts = 0;
    for (const change of rest) {
      if (change.kind === "write") this.addWrite(change);
      else this.addCut(change);
    }
  }

  /** Puts them over bytes of the file, whose first is at `offsetBytes` of the object. */
  layOver(into: Uint8Array, offsetBytes: number): void {
    if (this.#byBlock.size === 0) return;
    const endBlock = Math.ceil((offsetBytes + into.length) / blockBytes);
    for (let block = Math.floor(offsetBytes / blockBytes); block < endBlock;) {
      const changes = this.#byBlock.get(block);
      const first = block++;
      if (!changes) continue;
      // One write of many blocks is read at once.
      const [only] = changes;
      while (changes.length === 1 && block < endBlock && this.#isOnly(block, only)) block++;
      const start = Math.max(0, first * blockBytes - offsetBytes);
      const part = into.subarray(start, block * blockBytes - offsetBytes);
      for (const change of changes) layOver(change, part, offsetBytes + start);
    }
  }

  #isOnly(block: number, change: PendingChange | undefined): boolean {
    const changes = this.#byBlock.get(block);
    return changes?.length === 1 && changes[0] === change;
  }
}

function layOver(change: PendingChange, into: Uint8Array, offsetBytes: number): void {
  if (change.kind === "cut") into.fill(0, Math.max(0, change.lengthBytes - offsetBytes));
  else copyPart(change, into, offsetBytes);
}

/** Copies what a write has of `into`, whose first byte is at `offsetBytes`. */
function copyPart(write: PendingWrite, into: Uint8Array, offsetBytes: number): void {
  const { segment, positionBytes, lengthBytes } = write.bytes;
  const end = Math.min(offsetBytes + into.length, write.offsetBytes + lengthBytes);
  let done = Math.max(offsetBytes, write.offsetBytes);
  while (done < end) {
    const part = into.subarray(done - offsetBytes, end - offsetBytes);
    const count = segment.file.readSync(part, positionBytes + done - write.offsetBytes);
    if (count === 0) throw new Error("the journal has lost bytes");
    done += count;
  }
}
