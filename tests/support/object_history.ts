// What a store may have of its objects after a crash: a model of each object's bytes, and of which
// changes since the last sync a crash may take back.

import { objectId, parseObjectId } from "../../shared/layout.ts";
import { limits } from "../../shared/limits.ts";
import type { SeededRandom } from "./seeded_random.ts";

const KiB = 1024;

export type ObjectChange =
  | { kind: "write"; object: string; offsetBytes: number; bytes: Uint8Array<ArrayBuffer> }
  | { kind: "extend"; object: string; lengthBytes: number }
  | { kind: "cut"; object: string; lengthBytes: number };
export type Change =
  | ObjectChange
  | { kind: "destroy"; ino: number }
  | { kind: "sync"; objects: readonly string[] };

/** An object's bytes; one that does not exist has none. */
export type Content = Uint8Array<ArrayBuffer> | undefined;

export function after(before: Content, change: ObjectChange): Content {
  const old = before ?? new Uint8Array(0);
  if (change.kind === "cut") return before?.slice(0, change.lengthBytes);
  if (change.kind === "extend") return resized(old, Math.max(old.length, change.lengthBytes));
  const bytes = resized(old, Math.max(old.length, change.offsetBytes + change.bytes.length));
  bytes.set(change.bytes, change.offsetBytes);
  return bytes;
}

function resized(bytes: Uint8Array, lengthBytes: number): Uint8Array<ArrayBuffer> {
  const other = new Uint8Array(lengthBytes);
  other.set(bytes.subarray(0, lengthBytes));
  return other;
}

export function isSame(a: Content, b: Content): boolean {
  if (a === undefined || b === undefined) return a === b;
  return Buffer.compare(a, b) === 0;
}

/** One object: its bytes at the last sync, and its changes since then that were acknowledged. */
class ObjectHistory {
  #synced: Content;
  #changes: ObjectChange[] = [];
  /** Of all changes, also those before the last sync. */
  changeCount = 0;
  content: Content;

  constructor(content: Content) {
    this.#synced = this.content = content;
  }

  apply(change: ObjectChange): void {
    this.#changes.push(change);
    this.changeCount++;
    this.content = after(this.content, change);
  }

  /** The first `count` changes of all last. */
  sync(count: number): void {
    const syncedCount = this.changeCount - this.#changes.length;
    for (const change of this.#changes.splice(0, Math.max(0, count - syncedCount))) {
      this.#synced = after(this.#synced, change);
    }
  }

  /**
   * A crash of power may take back changes from the end. A large write alone may also be taken back
   * while later changes stay.
   */
  couldBe(found: Content, underWay: ObjectChange | undefined): boolean {
    const changes = underWay ? [...this.#changes, underWay] : this.#changes;
    const search = (content: Content, next: number): boolean => {
      if (isSame(found, content)) return true;
      const change = changes[next];
      if (!change) return false;
      if (search(after(content, change), next + 1)) return true;
      const isLarge = change.kind === "write" && change.bytes.length >= limits.directWriteBytesMin;
      return isLarge && search(content, next + 1);
    };
    return search(this.#synced, 0);
  }
}

/** All objects of a store. */
export class ObjectHistories {
  #histories = new Map<string, ObjectHistory>();

  /** Every object that was ever changed. */
  get objects(): string[] {
    return [...this.#histories.keys()];
  }

  contentOf(object: string): Content {
    return this.#histories.get(object)?.content;
  }

  #of(object: string): ObjectHistory {
    let history = this.#histories.get(object);
    if (!history) this.#histories.set(object, history = new ObjectHistory(undefined));
    return history;
  }

  /** To be called when a change begins; what it gives is to be called when it was acknowledged. */
  begin(change: Change): () => void {
    switch (change.kind) {
      case "sync": {
        // Changes that come while it is under way may be in it or not.
        const counts = change.objects.map((object) => this.#of(object).changeCount);
        return () =>
          change.objects.forEach((object, index) => this.#of(object).sync(counts[index]!));
      }
      case "destroy":
        this.#of(objectId(change.ino, 0));
        return () => {
          for (const object of this.objects) {
            if (inodeOf(object) === change.ino) this.hasFound(object, undefined);
          }
        };
      default: {
        const history = this.#of(change.object);
        return () => history.apply(change);
      }
    }
  }

  /** After a crash this is what the object is, for good. */
  hasFound(object: string, content: Content): void {
    this.#histories.set(object, new ObjectHistory(content));
  }

  /** The process died: what was acknowledged is there, what was under way wholly or not at all. */
  isAfterKill(object: string, found: Content, underWay: readonly Change[]): boolean {
    const content = this.contentOf(object);
    if (isSame(found, content)) return true;
    const change = changeOf(object, underWay);
    if (change === "destroy") return found === undefined;
    return change !== undefined && isSame(found, after(content, change));
  }

  /** The power went: of what was not synced, any changes from the end may be gone. */
  isAfterPowerLoss(object: string, found: Content, underWay: readonly Change[]): boolean {
    const change = changeOf(object, underWay);
    if (change === "destroy") {
      return found === undefined || this.#of(object).couldBe(found, undefined);
    }
    return this.#of(object).couldBe(found, change);
  }
}

/** What is under way for an object, of which there is one change at a time. */
function changeOf(
  object: string,
  changes: readonly Change[],
): ObjectChange | "destroy" | undefined {
  for (const change of changes) {
    if (change.kind === "sync") continue;
    if (change.kind === "destroy") {
      if (change.ino === inodeOf(object)) return "destroy";
    } else if (change.object === object) return change;
  }
  return undefined;
}

export function inodeOf(object: string): number {
  return parseObjectId(object).ino;
}

/** The inodes of a few objects in use; a number that was destroyed is never used again. */
export class InodesInUse {
  readonly #inodes: number[];
  #nextInode = 1000;

  constructor(inodes: readonly number[] = [7, 7, 8, 300]) {
    this.#inodes = [...inodes];
  }

  get objects(): string[] {
    return this.#inodes.map((ino, index) => objectId(ino, index % 2));
  }

  destroyed(ino: number): void {
    const next = this.#nextInode++;
    this.#inodes.forEach((each, index) => each === ino && (this.#inodes[index] = next));
  }
}

/** Small files, whole blocks, and pieces of a large file; beginnings with and without a block. */
export function someChange(random: SeededRandom, objects: readonly string[]): Change {
  const object = objects[random.below(objects.length)]!;
  const kind = random.below(20);
  if (kind < 11) {
    const lengths = [1 + random.below(200), 4 * KiB, 1 + random.below(9_000), 64 * KiB, 70_001];
    const lengthBytes = lengths[random.below(lengths.length)]!;
    // Few places, so that changes meet.
    const blocks = random.below(2) === 0 ? 4 : 40;
    const aligned = random.below(blocks) * 4 * KiB;
    const offsetBytes = random.below(3) === 0 ? aligned + random.below(4 * KiB) : aligned;
    const bytes = new Uint8Array(lengthBytes).fill(1 + random.below(255));
    return { kind: "write", object, offsetBytes, bytes };
  }
  if (kind < 13) return { kind: "extend", object, lengthBytes: random.below(200_000) };
  if (kind < 15) {
    return { kind: "cut", object, lengthBytes: random.below(random.below(2) ? 20_000 : 100_000) };
  }
  if (kind < 16) return { kind: "destroy", ino: inodeOf(object) };
  return { kind: "sync", objects: objects.slice(0, 1 + random.below(4)) };
}
