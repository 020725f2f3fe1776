// When checkpoints happen: soon after changes, earlier where many have gathered, one at a time.
// checkpoint.ts says what one does to a batch of objects.

import { type Clock } from "../shared/environment.ts";
import { messageOf } from "../shared/errors.ts";
import { limits } from "../shared/limits.ts";
import type { Logger } from "../shared/logging.ts";
import { Semaphore } from "../shared/semaphore.ts";
import { checkpointObjects, type CheckpointParts } from "./checkpoint.ts";
import type { Segment } from "./journal.ts";
import type { ObjectTable } from "./object_table.ts";

export interface CheckpointerOptions {
  readonly parts: CheckpointParts;
  readonly table: ObjectTable;
  readonly clock: Clock;
  readonly log: Logger;
  readonly targetIndex: number;
  /** Throws where the journal can not be trusted any more. */
  readonly requireWritable: () => void;
  /**
   * For tests: bytes in the journal, objects, and bytes of fills at which one begins, bytes in the
   * journal at which changes wait for it, and how many objects it takes at a time.
   */
  readonly sizes?: CheckpointSizes | undefined;
}

export interface CheckpointSizes {
  readonly segmentBytes: number;
  readonly journalBytes: number;
  readonly changedObjects: number;
  readonly filledBytes: number;
  readonly batch: number;
}

const usualSizes: CheckpointSizes = {
  segmentBytes: limits.journalSegmentBytes,
  journalBytes: limits.journalBytesMax,
  changedObjects: limits.journaledObjectsMax,
  filledBytes: limits.filledBytesMax,
  batch: limits.checkpointBatch,
};

export class Checkpointer {
  readonly #options: CheckpointerOptions;
  readonly #sizes: CheckpointSizes;
  /** Held by a batch, and by a destroy: neither sees the other half-way. */
  readonly #turn = new Semaphore(1);
  /** Objects that began to need the journal since the last checkpoint began. */
  #changedObjects = 0;
  /** What fills have brought into files since then. */
  #filledBytes = 0;
  /** Whether the journal has something that no open object tells of. */
  #hasOther = false;
  /** Segments that a checkpoint which failed was to make superfluous: the next one goes on there. */
  #unfinished: readonly Segment[] | undefined;
  /** Whether the last one failed: then the next one waits for its timer. */
  #hasFailed = false;
  #running: Promise<void> | undefined;
  #cancelTimer: (() => void) | undefined;
  #closed = false;

  constructor(options: CheckpointerOptions) {
    this.#options = options;
    this.#sizes = options.sizes ?? usualSizes;
  }

  /** Changes wait when so much is in the journal that a start would take long. */
  async room(): Promise<void> {
    this.#options.requireWritable();
    const { journal } = this.#options.parts;
    while (journal.bytes >= this.#sizes.journalBytes) await this.run();
  }

  /** To be called after changes, with how many objects have begun to need the journal by them. */
  noteChanges(objects: number): void {
    this.#changedObjects += objects;
    const { segmentBytes, changedObjects, filledBytes } = this.#sizes;
    const { journal } = this.#options.parts;
    const isDue = journal.segmentBytes >= segmentBytes || this.#changedObjects >= changedObjects ||
      this.#filledBytes >= filledBytes;
    if (isDue && !this.#hasFailed) this.#runInBackground();
    else this.#runLater();
  }

  #runLater(): void {
    if (this.#closed) return;
    this.#cancelTimer ??= this.#options.clock.setTimer(() => {
      this.#cancelTimer = undefined;
      this.#runInBackground();
    }, limits.checkpointIntervalMs);
  }

  /** To be called with the bytes of a fill, before {@link noteChanges}. */
  noteFill(bytes: number): void {
    this.#filledBytes += bytes;
  }

  /** To be called when inodes were removed. */
  noteRemoval(): void {
    this.#hasOther = true;
    this.noteChanges(0);
  }

  /** Brings what is in the journal into the objects' files; the one under way, if there is one. */
  run(): Promise<void> {
    return this.#running ??= this.#runNow().finally(() => this.#running = undefined);
  }

  #runInBackground(): void {
    if (this.#running) return this.#runLater();
    this.run().catch((error) => {
      // The journal has it all, and the next one tries again.
      const { log, targetIndex } = this.#options;
      const fields = { targetIndex, reason: messageOf(error) };
      log.error("A checkpoint failed and will be tried again", fields);
      this.#runLater();
    });
  }

  async #runNow(): Promise<void> {
    const { parts: { journal, directories }, requireWritable } = this.#options;
    requireWritable();
    try {
      this.#changedObjects = 0;
      this.#filledBytes = 0;
      this.#hasOther = false;
      await journal.sync();
      const before = this.#unfinished ??= journal.beginSegment();
      await this.runBatches();
      await this.inTurn(() => directories.makeAllDurable());
      await journal.retire(before);
      this.#unfinished = undefined;
      await journal.removeRetired();
      this.#hasFailed = false;
    } catch (error) {
      this.#hasOther = this.#hasFailed = true;
      throw error;
    }
  }

  /** Every object that needs the journal now, as it is when its turn comes. */
  async runBatches(): Promise<void> {
    const { parts, table } = this.#options;
    const dirty = table.dirty();
    for (let first = 0; first < dirty.length; first += this.#sizes.batch) {
      const batch = dirty.slice(first, first + this.#sizes.batch);
      await this.inTurn(async () => {
        // Others may have been destroyed meanwhile.
        const objects = batch.filter((open) => !open.forgotten);
        for (const open of objects) open.users++;
        try {
          await checkpointObjects(parts, objects);
        } finally {
          for (const open of objects) table.release(open);
        }
      });
    }
  }

  /** Runs what must not meet a batch of a checkpoint. */
  async inTurn<T>(action: () => Promise<T>): Promise<T> {
    await this.#turn.acquire();
    try {
      return await action();
    } finally {
      this.#turn.release();
    }
  }

  /** One last checkpoint, so that the next start has less to do; it may fail. */
  async close(): Promise<void> {
    const { log, table, targetIndex } = this.#options;
    this.#closed = true;
    this.#cancelTimer?.();
    try {
      await this.#running;
      if (this.#hasOther || table.dirty().length > 0) await this.run();
    } catch (error) {
      log.warn("The last checkpoint failed", { targetIndex, reason: messageOf(error) });
    }
  }
}
