// One file of a disk that can lose power: what the system's cache has of it, what the platters have,
// and which changes are between the two.

import type { SeededRandom } from "./seeded_random.ts";

/** What survives a crash of power as a whole: a sector. */
const sectorBytes = 512;

export type FileChange =
  | { kind: "write"; offsetBytes: number; bytes: Uint8Array<ArrayBuffer> }
  | { kind: "truncate"; lengthBytes: number }
  | { kind: "attribute"; bytes: Uint8Array | undefined };

/** What a sync brings to disk, in their order: an attribute stays behind one of the data alone. */
export type SyncScope = "data" | "all";

class Content {
  attribute: Uint8Array | undefined;
  #buffer: Uint8Array<ArrayBuffer>;
  #lengthBytes: number;

  constructor(bytes: Uint8Array<ArrayBuffer> = new Uint8Array(0), attribute?: Uint8Array) {
    this.#buffer = bytes;
    this.#lengthBytes = bytes.length;
    this.attribute = attribute;
  }

  copy(): Content {
    return new Content(this.bytes.slice(), this.attribute);
  }

  get bytes(): Uint8Array<ArrayBuffer> {
    return this.#buffer.subarray(0, this.#lengthBytes);
  }

  apply(change: FileChange): void {
    if (change.kind === "truncate") return this.#resize(change.lengthBytes);
    if (change.kind === "attribute") return void (this.attribute = change.bytes);
    const { offsetBytes, bytes } = change;
    if (bytes.length === 0) return;
    this.#resize(Math.max(this.#lengthBytes, offsetBytes + bytes.length));
    this.#buffer.set(bytes, offsetBytes);
  }

  #resize(lengthBytes: number): void {
    if (lengthBytes > this.#buffer.length) {
      const larger = new Uint8Array(2 * lengthBytes);
      larger.set(this.bytes);
      this.#buffer = larger;
    }
    this.#buffer.fill(0, lengthBytes, this.#lengthBytes);
    this.#lengthBytes = lengthBytes;
  }
}

export class Inode {
  now = new Content();
  /** What the platters have. */
  synced = new Content();
  #unsynced: FileChange[] = [];

  get bytes(): Uint8Array<ArrayBuffer> {
    return this.now.bytes;
  }

  change(change: FileChange): void {
    this.now.apply(change);
    this.#unsynced.push(change);
  }

  sync(scope: SyncScope): void {
    const isLeft = (change: FileChange) => scope === "data" && change.kind === "attribute";
    for (const change of this.#unsynced) if (!isLeft(change)) this.synced.apply(change);
    this.#unsynced = this.#unsynced.filter(isLeft);
  }

  /** What a sync could not write: it is only in the cache, where it counts as written. */
  dropWrites(): void {
    this.#unsynced = this.#unsynced.filter(({ kind }) => kind !== "write");
  }

  losePower(random: SeededRandom): void {
    const left = this.synced.copy();
    const survives = survival(random);
    for (const change of this.#unsynced) {
      for (const part of partsOf(change)) if (survives()) left.apply(part);
    }
    this.now = left;
    this.synced = left.copy();
    this.#unsynced = [];
  }
}

/** Which of some things that were not synced survive: all, none, the first ones, or any. */
export function survival(random: SeededRandom): () => boolean {
  switch (random.below(4)) {
    case 0:
      return () => true;
    case 1:
      return () => false;
    case 2: {
      let left = random.below(20);
      return () => left-- > 0;
    }
    default:
      return () => random.below(3) > 0;
  }
}

function* partsOf(change: FileChange): Generator<FileChange> {
  if (change.kind !== "write") return yield change;
  const { offsetBytes, bytes } = change;
  let start = 0;
  while (start < bytes.length) {
    const end = Math.min(bytes.length, start + sectorBytes - (offsetBytes + start) % sectorBytes);
    yield { kind: "write", offsetBytes: offsetBytes + start, bytes: bytes.slice(start, end) };
    start = end;
  }
}
