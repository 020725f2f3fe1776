// The open files of a store's objects: at most so many, those used last. With each goes what is
// known of the object while it is open: its length, and whether the disk has all of it.

import { limits } from "../shared/limits.ts";
import type { ObjectId } from "../shared/model.ts";
import type { OpenFile } from "./files.ts";
import { SharedSync } from "./shared_sync.ts";

export class OpenObject {
  readonly object: ObjectId;
  readonly file: OpenFile;
  lengthBytes: number;
  /** Operations under way, which need the descriptor. */
  users = 0;
  /** Closed by the last user, because it is out of the cache. */
  forgotten = false;
  /** What an earlier process left is not known to be on disk, so an old object starts unsynced. */
  #changes = 1;
  #syncedChanges = 0;
  readonly #sync: SharedSync;

  constructor(object: ObjectId, file: OpenFile, lengthBytes: number) {
    this.object = object;
    this.file = file;
    this.lengthBytes = lengthBytes;
    this.#sync = new SharedSync(async () => {
      const changes = this.#changes;
      await file.sync();
      this.#syncedChanges = changes;
    });
  }

  get synced(): boolean {
    return this.#changes === this.#syncedChanges;
  }

  /** To be called after each write and resize, failed ones included. */
  changed(): void {
    this.#changes++;
  }

  /** Every change so far is on disk when this resolves. */
  async sync(): Promise<void> {
    if (!this.synced) await this.#sync.request();
  }
}

export class OpenObjects {
  /** In the order of their last use. */
  readonly #objects = new Map<ObjectId, OpenObject>();
  readonly #countMax: number;

  constructor(countMax: number = limits.openObjectsMax) {
    this.#countMax = countMax;
  }

  get count(): number {
    return this.#objects.size;
  }

  /** Whether {@link makeRoom} must come before {@link add}. */
  get full(): boolean {
    return this.#objects.size >= this.#countMax;
  }

  /** The object for one more user, who releases it. */
  use(object: ObjectId): OpenObject | undefined {
    const open = this.#objects.get(object);
    if (!open) return undefined;
    this.#objects.delete(object);
    this.#objects.set(object, open);
    open.users++;
    return open;
  }

  /** Adds an object with its first user. */
  add(open: OpenObject): void {
    this.#objects.set(open.object, open);
    open.users++;
  }

  release(open: OpenObject): void {
    open.users--;
    if (open.forgotten && open.users === 0) open.file.close();
  }

  /** The object's length where it is open. */
  lengthOf(object: ObjectId): number | undefined {
    return this.#objects.get(object)?.lengthBytes;
  }

  /**
   * Closes objects that nobody uses, the one not used for longest first, until there is room; ends
   * without where all are in use. An error of the system's delayed writing may show only on a
   * descriptor that is open when it happens, so an unsynced object is synced before it is closed.
   * `sync` does that; where it fails it keeps the error and forgets the object.
   */
  async makeRoom(sync: (open: OpenObject) => Promise<void>): Promise<void> {
    while (this.full) {
      const oldest = this.#oldestIdle();
      if (!oldest) return;
      if (oldest.synced) {
        this.forget(oldest.object);
        continue;
      }
      oldest.users++;
      try {
        await sync(oldest);
      } finally {
        this.release(oldest);
      }
    }
  }

  #oldestIdle(): OpenObject | undefined {
    for (const open of this.#objects.values()) if (open.users === 0) return open;
    return undefined;
  }

  /** Takes an object out; its file is closed once nobody uses it. */
  forget(object: ObjectId): void {
    const open = this.#objects.get(object);
    if (!open) return;
    this.#objects.delete(object);
    open.forgotten = true;
    if (open.users === 0) open.file.close();
  }

  forgetAll(): void {
    for (const object of [...this.#objects.keys()]) this.forget(object);
  }
}
