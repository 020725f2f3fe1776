// What a store may have of its objects after a crash: a model of each object's bytes, and of which
// changes since the last sync a crash may take back.

import { blockBytes } from "../../shared/checksums.ts";
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
  /** Those that found the object as long as they were to make it, and left no trace. */
  readonly #idle = new Set<ObjectChange>();
  /** Of all changes, also those before the last sync. */
  changeCount = 0;
  content: Content;

  constructor(content: Content) {
    this.#synced = this.content = content;
  }

  apply(change: ObjectChange): void {
    const isIdle = change.kind === "extend" && change.lengthBytes <= (this.content?.length ?? -1);
    if (isIdle) this.#idle.add(change);
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
   * while later changes stay; and with it goes what an object that it had made longer did not need.
   */
  couldBe(found: Content, underWay: ObjectChange | undefined): boolean {
    const changes = underWay ? [...this.#changes, underWay] : this.#changes;
    const search = (content: Content, next: number): boolean => {
      if (isSame(found, content)) return true;
      const change = changes[next];
      if (!change) return false;
      if (search(after(content, change), next + 1)) return true;
      const isLarge = change.kind === "write" && change.bytes.length >= limits.directWriteBytesMin;
      return (isLarge || this.#idle.has(change)) && search(content, next + 1);
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

  /** Others come into use, as many as possible: they may lie in a new directory. */
  renew(): void {
    this.#nextInode += 100;
    for (const ino of new Set(this.#inodes)) this.destroyed(ino);
  }
}

/** Small files, whole blocks, and pieces of a large file. */
const lengths = [40, 3_000, 4 * KiB, 9_000, 64 * KiB, 70_001];

/** Changes that are of one kind for a while, and meet: of few objects, near what was changed last. */
export class SomeChanges {
  readonly #random: SeededRandom;
  readonly #objects: number;
  readonly #blocks: number;
  readonly #lengths: readonly number[];
  /** Of 20 changes, about. */
  readonly #syncs: number;
  readonly #cuts: number;
  readonly #destroys: number;
  #last: { object: string; offsetBytes: number; lengthBytes: number } | undefined;

  constructor(random: SeededRandom) {
    this.#random = random;
    this.#objects = 1 + random.below(4);
    this.#blocks = [3, 20, 100][random.below(3)]!;
    this.#lengths = Array.from({ length: 3 }, () => lengths[random.below(lengths.length)]!);
    this.#syncs = random.below(4);
    this.#cuts = random.below(6);
    this.#destroys = random.below(3);
  }

  next(inUse: readonly string[], histories: ObjectHistories): Change {
    const random = this.#random;
    const objects = inUse.slice(0, this.#objects);
    const last = this.#last && objects.includes(this.#last.object) && random.below(2) > 0
      ? this.#last
      : undefined;
    const object = last?.object ?? objects[random.below(objects.length)]!;
    const place = last
      ? last.offsetBytes + random.below(last.lengthBytes + 100)
      : random.below(this.#blocks) * blockBytes + random.below(blockBytes);
    let kind = random.below(20);
    if ((kind -= this.#syncs) < 0) return { kind: "sync", objects };
    if ((kind -= this.#cuts) < 0) return { kind: "cut", object, lengthBytes: place };
    if ((kind -= this.#destroys) < 0) return { kind: "destroy", ino: inodeOf(object) };
    if (kind < 2) return { kind: "extend", object, lengthBytes: 2 * place };
    return this.#write(object, place, histories.contentOf(object)?.length ?? 0);
  }

  /** At the place, at the beginning of its block, or behind the object. There are no zeros in it. */
  #write(object: string, place: number, lengthBytes: number): Change {
    const random = this.#random;
    const length = this.#lengths[random.below(this.#lengths.length)]!;
    const isAppended = random.below(3) === 0 && lengthBytes < appendedBytesMax;
    const from = isAppended ? lengthBytes + blockBytes - 1 : place;
    const isAligned = random.below(3) > 0;
    const offsetBytes = isAligned ? from - from % blockBytes : from;
    const bytes = new Uint8Array(length).fill(1 + random.below(255));
    this.#last = { object, offsetBytes, lengthBytes: length };
    return { kind: "write", object, offsetBytes, bytes };
  }
}

const appendedBytesMax = 400_000;

/** Those that may run at once: not two changes of one object, nor a sync of what is being destroyed. */
export function oneOfEach(changes: readonly Change[]): Change[] {
  const destroyed = changes.flatMap((change) => change.kind === "destroy" ? [change.ino] : []);
  const chosen: Change[] = [];
  const used = new Set<number>();
  for (const change of changes) {
    const inodes = inodesOf(change);
    if (change.kind === "sync") {
      if (inodes.some((ino) => destroyed.includes(ino))) continue;
    } else if (inodes.some((ino) => used.has(ino))) continue;
    else for (const ino of inodes) used.add(ino);
    chosen.push(change);
  }
  return chosen;
}

export function inodesOf(change: Change): number[] {
  if (change.kind === "sync") return change.objects.map(inodeOf);
  return [change.kind === "destroy" ? change.ino : inodeOf(change.object)];
}
