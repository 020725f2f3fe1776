// The ObjectStore on a local file system: for each object one plain file with its bytes where they
// are in the object, so that they can be sent from it. Its length and checksums are in an attribute
// of that file (checksum_attribute.ts) if they are few, else in a file beside:
//
//   {directory}/objects/{prefix}/{ino:016x}_{seq:08x}        bytes
//   {directory}/objects/{prefix}/{ino:016x}_{seq:08x}.sum    checksum_file.ts
//   {directory}/attributes                                   attribute_support.ts
//   {directory}/journal/{shards}-{shard}/                    journal.ts
//
// Every change is a record of the journal; checkpoints bring them into the files. This file opens
// objects and orders what happens to the whole store.

import { assert } from "../shared/assert.ts";
import { firstMismatch } from "../shared/checksums.ts";
import type { Clock, Random } from "../shared/environment.ts";
import { RustreError } from "../shared/errors.ts";
import { limits } from "../shared/limits.ts";
import { type Logger, loggerOf } from "../shared/logging.ts";
import type { ObjectId } from "../shared/model.ts";
import { Semaphore } from "../shared/semaphore.ts";
import type { CheckpointParts } from "./checkpoint.ts";
import { Checkpointer, type CheckpointSizes } from "./checkpointer.ts";
import { FileWrites } from "./file_writes.ts";
import { type Files, localFiles } from "./files.ts";
import { Journal } from "./journal.ts";
import {
  type ChangeParts,
  cutObject,
  extendObject,
  makeObject,
  writeObject,
} from "./object_changes.ts";
import { ObjectDirectories } from "./object_directories.ts";
import { damagedBlocks, readObject } from "./object_reads.ts";
import { ObjectRemoval } from "./object_removal.ts";
import {
  changedOnTheWay,
  type DamagedRange,
  missingBytes,
  missingObject,
  type ObjectData,
  type ObjectStore,
  type StoreUsage,
} from "./object_store.ts";
import { OpenOperations } from "./open_operations.ts";
import { ObjectSyncs } from "./object_syncs.ts";
import { ObjectTable } from "./object_table.ts";
import { recoverJournals } from "./recovery.ts";
import { prepareDirectories } from "./store_directories.ts";
import { nameOf, storeError } from "./store_errors.ts";
import type { StoredObject } from "./stored_object.ts";
import { WriteVerifier } from "./write_verifier.ts";

/** Which of an OST's objects a store has: those with `ino % count === index`. */
export interface Shard {
  readonly index: number;
  readonly count: number;
}

export interface FileObjectStoreOptions {
  /** Exists, and belongs to this process alone. */
  readonly directory: string;
  /** For messages. */
  readonly targetIndex: number;
  readonly random: Random;
  readonly clock: Clock;
  readonly files?: Files;
  readonly log?: Logger;
  /**
   * All objects by default. The shards of one directory may be open at the same time; when their
   * number changes, a store of all objects must have been opened and closed in between.
   */
  readonly shard?: Shard;
  readonly openObjectsMax?: number;
  /** For tests. */
  readonly checkpointSizes?: CheckpointSizes;
}

export class FileObjectStore implements ObjectStore {
  readonly writeVerifier: string;
  readonly #options: FileObjectStoreOptions;
  readonly #shard: Shard;
  readonly #files: Files;
  readonly #verifier: WriteVerifier;
  readonly #root: string;
  readonly #directories: ObjectDirectories;
  readonly #table: ObjectTable;
  readonly #syncs: ObjectSyncs;
  readonly #removal: ObjectRemoval;
  readonly #parts: ChangeParts & CheckpointParts;
  readonly #checkpointer: Checkpointer;
  /** For steps on other threads. */
  readonly #room = new Semaphore(limits.fileOperationsMax);
  /** From the start on. */
  #journal: Journal | undefined;
  readonly #operations = new OpenOperations(() => {
    return new RustreError("SHUTTING_DOWN", `OST ${this.#options.targetIndex} is stopping`);
  });
  #closing: Promise<void> | undefined;

  /** Opens the store of a directory, repeats what its journal has, and adds up what is in it. */
  static async open(options: FileObjectStoreOptions): Promise<FileObjectStore> {
    try {
      const store = new FileObjectStore(options);
      await store.#startOrClose();
      return store;
    } catch (error) {
      throw storeError(`open the objects in "${options.directory}/objects"`, error);
    }
  }

  private constructor(options: FileObjectStoreOptions) {
    const { targetIndex, clock, log = loggerOf("oss"), openObjectsMax } = options;
    this.#options = options;
    const shard = this.#shard = options.shard ?? { index: 0, count: 1 };
    this.#files = options.files ?? localFiles;
    const { directory, random } = options;
    this.#verifier = new WriteVerifier({ files: this.#files, directory, random, log });
    this.writeVerifier = this.#verifier.value;
    this.#root = `${options.directory}/objects`;
    this.#directories = new ObjectDirectories(this.#files, this.#root);
    const directories = this.#directories;
    const owns = (ino: number) => ino % shard.count === shard.index;
    this.#table = new ObjectTable({ directories, owns, targetIndex, log, openObjectsMax });
    const journal = () => this.#requireJournal();
    const inRoom = (step: () => Promise<void>) => this.#inRoom(step);
    const syncs = this.#syncs = new ObjectSyncs({
      ...{ journal, directories, targetIndex, log, inRoom },
      noteFailure: () => this.#verifier.noteFailure(),
    });
    this.#parts = this.#makeParts();
    this.#checkpointer = new Checkpointer({
      ...{ parts: this.#parts, table: this.#table, clock, log, targetIndex },
      requireWritable: () => syncs.requireWritable(),
      sizes: options.checkpointSizes,
    });
    this.#removal = new ObjectRemoval({
      ...{ journal, directories, table: this.#table, syncs, targetIndex, inRoom },
      noteRemoval: () => this.#checkpointer.noteRemoval(),
    });
  }

  #makeParts(): ChangeParts & CheckpointParts {
    const journal = () => this.#requireJournal();
    return {
      get journal() {
        return journal();
      },
      targetIndex: this.#options.targetIndex,
      files: this.#files,
      directories: this.#directories,
      openFile: (open) => this.#table.openFile(open),
      fileWrites: new FileWrites({
        clock: this.#options.clock,
        inRoom: (step) => this.#inRoom(step),
      }),
      noteFill: (bytes) => this.#checkpointer.noteFill(bytes),
      confirm: (object, filledLsn) => this.#syncs.confirmOrRewrite(object, filledLsn),
      noteFailure: () => this.#verifier.noteFailure(),
    };
  }

  #requireJournal(): Journal {
    assert(this.#journal, "a store that is not open has no journal");
    return this.#journal;
  }

  // ── start ────────────────────────────────────────────────────────────────────────────────────

  async #startOrClose(): Promise<void> {
    try {
      await this.#start();
    } catch (error) {
      this.#table.endRecovery();
      this.#journal?.close();
      throw error;
    }
  }

  async #start(): Promise<void> {
    const { directory, random } = this.#options;
    const files = this.#files;
    const found = await prepareDirectories(files, {
      ...{ directory, objects: this.#root, shard: this.#shard },
    });
    this.#directories.usesAttributes = found.usesAttributes;
    await recoverJournals({
      ...{ files, random, directory: found.journal, others: found.otherJournals },
      appliedLsn: await this.#table.addUp(),
      load: (object) => this.#table.useForRecovery(object),
      suspect: (ino) => this.#directories.suspect(ino),
      remove: async (inodes) => void await this.#removal.removeFiles(inodes),
      noteFailure: () => this.#verifier.noteFailure(),
      use: (journal) => this.#journal = journal,
      checkpoint: async () => {
        await this.#syncFound();
        await this.#checkpointer.runBatches();
        await this.#directories.makeAllDurable();
      },
    });
    this.#table.endRecovery();
  }

  /**
   * A process that was killed may have set or removed attributes and not synced that. What they have
   * is not repeated, so it has to be on disk before the journal goes.
   */
  async #syncFound(): Promise<void> {
    try {
      await this.#files.syncTogether(this.#table.openFiles());
    } catch (error) {
      await this.#verifier.noteFailure();
      throw error;
    }
  }

  // ── changes ──────────────────────────────────────────────────────────────────────────────────

  write(
    object: ObjectId,
    offsetBytes: number,
    bytes: Uint8Array,
    checksums: Uint32Array,
  ): Promise<void> {
    return this.#operations.run(async () => {
      if (firstMismatch(offsetBytes, bytes, checksums) !== undefined) {
        throw changedOnTheWay(object, offsetBytes);
      }
      await this.#change("write", object, "make", (open) => {
        if (bytes.length === 0) return makeObject(this.#parts, open);
        return writeObject(this.#parts, open, offsetBytes, bytes, checksums);
      });
    });
  }

  resize(object: ObjectId, lengthBytes: number, how: "extend" | "cut"): Promise<void> {
    const resizeObject = how === "extend" ? extendObject : cutObject;
    return this.#operations.run(() =>
      this.#change("resize", object, how === "extend" ? "make" : "find", (open) => {
        resizeObject(this.#parts, open, lengthBytes);
      })
    );
  }

  /** Runs `change` on an open object; does nothing where it is to be found and is not there. */
  async #change(
    action: string,
    object: ObjectId,
    how: "find" | "make",
    change: (open: StoredObject) => void | Promise<void>,
  ): Promise<void> {
    const what = `${action} ${this.#nameOf(object)}`;
    try {
      await this.#checkpointer.room();
      // All that are not in use wait for a checkpoint.
      if (!this.#table.makeRoomFor(object)) await this.#checkpointer.run();
    } catch (error) {
      throw storeError(what, error);
    }
    const open = this.#use(action, object, how);
    if (!open) return;
    const { isDirty: wasDirty, lastLsn } = open;
    try {
      await change(open);
    } catch (error) {
      throw storeError(what, error);
    } finally {
      // Without a change it counts as its files have it, which may be damaged.
      if (open.lastLsn !== lastLsn) this.#table.recount(open);
      this.#table.release(open);
      this.#checkpointer.noteChanges(open.isDirty && !wasDirty ? 1 : 0);
    }
  }

  sync(objects: readonly ObjectId[]): Promise<void> {
    return this.#operations.run(() =>
      this.#syncs.sync(objects, async (object, task) => {
        const open = this.#use("sync", object, "find");
        if (!open) throw missingObject("sync", this.#where(object));
        try {
          await task(open);
        } finally {
          this.#table.release(open);
        }
      })
    );
  }

  // ── reads ────────────────────────────────────────────────────────────────────────────────────

  read(
    object: ObjectId,
    offsetBytes: number,
    lengthBytes: number,
    { verified }: { verified: boolean },
  ): Promise<ObjectData> {
    return this.#operations.run(async () => {
      const range = { offsetBytes, lengthBytes };
      const open = this.#use("read", object, "find");
      if (!open) throw missingBytes(this.#where(object), range, undefined);
      const release = () => this.#table.release(open);
      try {
        if (offsetBytes + lengthBytes > open.lengthBytes) {
          throw missingBytes(this.#where(object), range, open.lengthBytes);
        }
        const { targetIndex } = this.#options;
        return { ...await readObject(open, range, { verified, targetIndex }), release };
      } catch (error) {
        release();
        throw storeError(`read ${this.#nameOf(object)}`, error);
      }
    });
  }

  verify(object: ObjectId, offsetBytes: number, lengthBytes: number): Promise<DamagedRange[]> {
    return this.#operations.run(async () => {
      const open = this.#use("verify", object, "find");
      if (!open) throw missingObject("verify", this.#where(object));
      try {
        return await damagedBlocks(open, { offsetBytes, lengthBytes });
      } catch (error) {
        throw storeError(`verify ${this.#nameOf(object)}`, error);
      } finally {
        this.#table.release(open);
      }
    });
  }

  stat(object: ObjectId): Promise<number | undefined> {
    return this.#operations.run(() => {
      const open = this.#use("stat", object, "find");
      if (!open) return undefined;
      this.#table.release(open);
      return open.lengthBytes;
    });
  }

  list(
    after: ObjectId | undefined,
    limit: number,
    ino?: number,
  ): Promise<{ object: ObjectId; lengthBytes: number }[]> {
    return this.#operations.run(() => this.#table.list(after, limit, ino));
  }

  usage(): StoreUsage {
    try {
      const space = this.#files.space(this.#root);
      return { ...space, ...this.#table.totals };
    } catch (error) {
      throw storeError(`tell the space of OST ${this.#options.targetIndex}`, error);
    }
  }

  destroy(inodes: readonly number[]): Promise<number> {
    return this.#operations.run(() =>
      this.#checkpointer.inTurn(() => this.#removal.destroy(new Set(inodes)))
    );
  }

  // ── close ────────────────────────────────────────────────────────────────────────────────────

  close(): Promise<void> {
    return this.#closing ??= this.#close();
  }

  async #close(): Promise<void> {
    await this.#operations.close();
    await this.#checkpointer.close();
    this.#table.closeAll();
    this.#journal?.close();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  // ── shared steps ─────────────────────────────────────────────────────────────────────────────

  /** The open object, to be released; `undefined` where it is to be found and is not there. */
  #use(action: string, object: ObjectId, how: "find" | "make"): StoredObject | undefined {
    this.#syncs.check(action, object);
    try {
      this.#table.makeRoomFor(object);
      const open = this.#table.use(object, how);
      if (open.exists || how === "make") return open;
      this.#table.release(open);
      return undefined;
    } catch (error) {
      throw storeError(`${action} ${this.#nameOf(object)}`, error);
    }
  }

  async #inRoom<T>(action: () => Promise<T>): Promise<T> {
    await this.#room.acquire();
    try {
      return await action();
    } finally {
      this.#room.release();
    }
  }

  #where(object: ObjectId): { object: ObjectId; targetIndex: number } {
    return { object, targetIndex: this.#options.targetIndex };
  }

  #nameOf(object: ObjectId): string {
    return nameOf(object, this.#options.targetIndex);
  }
}
