// Brings onto the disk what a store was given: first what fills have put into objects' files, each
// with a record that says so, then the journal. Remembers what could not be brought there.

import { RustreError } from "../shared/errors.ts";
import { limits } from "../shared/limits.ts";
import type { Logger } from "../shared/logging.ts";
import type { ObjectId } from "../shared/model.ts";
import { forEachConcurrently } from "./concurrently.ts";
import { FailedObjects } from "./failed_objects.ts";
import { reasonOf } from "./files.ts";
import type { Journal } from "./journal.ts";
import type { Lsn } from "./journal_record.ts";
import type { ObjectDirectories } from "./object_directories.ts";
import { prefixOfObject } from "./object_table.ts";
import { nameOf, storeError } from "./store_errors.ts";
import type { StoredObject } from "./stored_object.ts";

export interface ObjectSyncsOptions {
  readonly journal: () => Journal;
  readonly directories: ObjectDirectories;
  readonly targetIndex: number;
  readonly log: Logger;
  /** Runs a step on another thread when there is room. */
  readonly inRoom: (step: () => Promise<void>) => Promise<void>;
  /** Is told when a sync has failed, and remembers it for later processes. */
  readonly noteFailure: () => Promise<void>;
}

export class ObjectSyncs {
  readonly #options: ObjectSyncsOptions;
  readonly #failed = new FailedObjects();

  constructor(options: ObjectSyncsOptions) {
    this.#options = options;
  }

  /** Throws EIO where a sync of the object failed. */
  check(action: string, object: ObjectId): void {
    this.#failed.check(action, { object, targetIndex: this.#options.targetIndex });
  }

  /** Objects that are destroyed are nobody's concern. */
  forget(objects: Iterable<ObjectId>): void {
    for (const object of objects) this.#failed.forget(object);
  }

  /** What these objects have in the journal needs no more than its sync, however many they are. */
  async sync(
    objects: readonly ObjectId[],
    withObject: (object: ObjectId, task: (open: StoredObject) => Promise<void>) => Promise<void>,
  ): Promise<void> {
    await forEachConcurrently([...new Set(objects)], limits.fileOperationsMax, (object) => {
      return withObject(object, (open) => this.confirm(open, open.filledLsn));
    });
    this.requireWritable();
    await this.syncJournal();
  }

  /** The bytes that fills have put into the object's file are on disk, and a record says so. */
  async confirm(open: StoredObject, filledLsn: Lsn): Promise<void> {
    const { directories, targetIndex, inRoom } = this.#options;
    const { object } = open;
    if (open.confirmedLsn >= filledLsn) return;
    try {
      await inRoom(() => open.syncFile());
      await inRoom(() => directories.makeDurable(prefixOfObject(object)));
    } catch (error) {
      this.#fail(object, reasonOf(error).reason);
      await this.#options.noteFailure();
      throw storeError(`sync ${nameOf(object, targetIndex)}`, error);
    }
    this.#noteConfirmed(open, filledLsn);
  }

  /** Perhaps nobody has asked for the sync that failed. */
  #fail(object: ObjectId, reason: string): void {
    const { log, targetIndex } = this.#options;
    if (!this.#failed.has(object)) {
      log.error("A sync of an object failed: operations on it fail until the oss is restarted", {
        ...{ object, targetIndex, reason },
      });
    }
    this.#failed.add(object, reason);
  }

  /**
   * {@link confirm} for a checkpoint, which the object must not hold up for ever if its sync fails:
   * then its file is written again. It stays failed: what was read from the file for that may be
   * wrong, which only its checksums tell.
   */
  async confirmOrRewrite(open: StoredObject, filledLsn: Lsn): Promise<void> {
    const { directories, targetIndex, inRoom } = this.#options;
    const { object } = open;
    if (!this.#failed.has(object)) {
      try {
        return await this.confirm(open, filledLsn);
      } catch (error) {
        if (!this.#failed.has(object)) throw error;
      }
    }
    try {
      await inRoom(() => directories.makeDurable(prefixOfObject(object)));
      await inRoom(() => open.rewriteFile());
    } catch (error) {
      throw storeError(`sync ${nameOf(object, targetIndex)}`, error);
    }
    this.#noteConfirmed(open, filledLsn);
  }

  #noteConfirmed(open: StoredObject, filledLsn: Lsn): void {
    const { journal, targetIndex } = this.#options;
    const { object } = open;
    if (open.confirmedLsn >= filledLsn) return;
    try {
      journal().append({ kind: "confirm", object, position: filledLsn });
    } catch (error) {
      throw storeError(`sync ${nameOf(object, targetIndex)}`, error);
    }
    open.confirmedLsn = filledLsn;
  }

  async syncJournal(): Promise<void> {
    const { journal, targetIndex } = this.#options;
    try {
      await journal().sync();
    } catch (error) {
      throw storeError(`sync the journal of OST ${targetIndex}`, error);
    }
  }

  /** Throws where the journal cannot be trusted any more. */
  requireWritable(): void {
    const { journal, targetIndex } = this.#options;
    const { syncFailure } = journal();
    if (syncFailure === undefined) return;
    throw new RustreError(
      "EIO",
      `Cannot change objects on OST ${targetIndex}: a sync of its journal failed ` +
        `(${reasonOf(syncFailure).reason}); restart its oss once the disk works`,
    );
  }
}
