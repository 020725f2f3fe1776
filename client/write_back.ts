// Brings what was written to one file onto the disks of its OSTs: all of it when it is asked to, and
// a long run of one object already while others are still written, so that disks and network work at
// the same time.

import type { Piece } from "../shared/layout.ts";
import { limits } from "../shared/limits.ts";
import { RustreError } from "../shared/errors.ts";
import type { ObjectClient } from "./object_client.ts";
import type { FileObjects } from "./object_parts.ts";
import { UnsyncedObjects, type WriteAnswer } from "./unsynced_objects.ts";

export class WriteBack {
  readonly #objects: Pick<ObjectClient, "sync">;
  readonly #file: FileObjects;
  readonly #unsynced = new UnsyncedObjects();
  /** Written to an object since its last early sync began, by the object's number in the file. */
  readonly #writtenBytes = new Map<number, number>();
  readonly #earlySyncs = new Map<number, Promise<void>>();
  #isSyncing = false;
  #stop: AbortController | undefined;

  constructor(objects: Pick<ObjectClient, "sync">, file: FileObjects) {
    this.#objects = objects;
    this.#file = file;
  }

  /** To be called when a write without a sync of its own was answered. */
  wrote(piece: Pick<Piece, "seq" | "lengthBytes">, answers: readonly WriteAnswer[]): void {
    const { seq, lengthBytes } = piece;
    this.#unsynced.add(seq, answers);
    this.#writtenBytes.set(seq, (this.#writtenBytes.get(seq) ?? 0) + lengthBytes);
    this.#syncEarly(seq);
  }

  /** Not twice at a time. Every write that was answered, to an object below `endSeq`, is on the disks of all replicas. */
  async sync(endSeq: number, signal: AbortSignal | undefined): Promise<void> {
    // No early sync begins now: it would take what this one has to see through.
    this.#isSyncing = true;
    this.#writtenBytes.clear();
    try {
      // What they failed to sync counts as unsynced again only when they have ended.
      await Promise.all(this.#earlySyncs.values());
      await this.#unsynced.sync(
        endSeq,
        (group) => this.#objects.sync(this.#file, group, signal),
      );
    } finally {
      this.#isSyncing = false;
    }
  }

  /** Ends early syncs under way; the file is given up. */
  async stop(): Promise<void> {
    if (this.#earlySyncs.size === 0) return;
    this.#writtenBytes.clear();
    this.#stop?.abort(new RustreError("INTERRUPTED", "The file was abandoned"));
    await Promise.all(this.#earlySyncs.values());
  }

  /** Where so much was written to an object that it is worth it. One at a time for each. */
  #syncEarly(seq: number): void {
    const writtenBytes = this.#writtenBytes.get(seq) ?? 0;
    if (writtenBytes < limits.earlySyncBytes) return;
    if (this.#isSyncing || this.#earlySyncs.has(seq)) return;
    this.#writtenBytes.delete(seq);
    const { signal } = this.#stop ??= new AbortController();
    const syncing = this.#unsynced
      .syncOne(seq, (group) => this.#objects.sync(this.#file, group, signal))
      // What failed is tried again by the next sync, which says so where it fails for good.
      .catch(() => {})
      .finally(() => {
        this.#earlySyncs.delete(seq);
        this.#syncEarly(seq);
      });
    this.#earlySyncs.set(seq, syncing);
  }
}
