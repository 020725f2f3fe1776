// Destroys all objects of inodes. The journal has it first: what else is in there must not make the
// objects again.

import { RustreError } from "../shared/errors.ts";
import { objectId } from "../shared/layout.ts";
import { limits } from "../shared/limits.ts";
import { forEachConcurrently } from "./concurrently.ts";
import { prefixOf } from "./file_names.ts";
import { reasonOf } from "./files.ts";
import type { Journal } from "./journal.ts";
import type { ObjectDirectories } from "./object_directories.ts";
import type { ObjectSyncs } from "./object_syncs.ts";
import type { ObjectTable } from "./object_table.ts";
import { storeError } from "./store_errors.ts";

export interface ObjectRemovalOptions {
  readonly journal: () => Journal;
  readonly directories: ObjectDirectories;
  readonly table: ObjectTable;
  readonly syncs: ObjectSyncs;
  readonly targetIndex: number;
  /** Is told that the journal has removals. */
  readonly noteRemoval: () => void;
  /** Runs a step on another thread when there is room. */
  readonly inRoom: (step: () => Promise<void>) => Promise<void>;
}

export class ObjectRemoval {
  readonly #options: ObjectRemovalOptions;

  constructor(options: ObjectRemovalOptions) {
    this.#options = options;
  }

  /** For good, also if the machine crashes; says how many objects there were. */
  async destroy(inodes: ReadonlySet<number>): Promise<number> {
    const { syncs, targetIndex } = this.#options;
    syncs.requireWritable();
    try {
      if (this.#record(inodes)) {
        await syncs.syncJournal();
        return await this.removeFiles(inodes);
      }
      // A full disk has room for the record when the objects are gone.
      const count = await this.removeFiles(inodes);
      if (!this.#record(inodes)) throw this.#noSpace();
      await syncs.syncJournal();
      return count;
    } catch (error) {
      throw storeError(`destroy objects of OST ${targetIndex}`, error);
    }
  }

  #noSpace(): RustreError {
    const what = `destroy objects of OST ${this.#options.targetIndex}`;
    return new RustreError("ENOSPC", `Cannot ${what}: no space left on its disk for the record`);
  }

  /** Tells whether the disk had room for it. */
  #record(inodes: ReadonlySet<number>): boolean {
    const { journal, noteRemoval } = this.#options;
    try {
      for (const ino of inodes) journal().append({ kind: "remove", object: objectId(ino, 0) });
    } catch (error) {
      if (reasonOf(error).code === "ENOSPC") return false;
      throw error;
    }
    noteRemoval();
    return true;
  }

  /** Without a record: for what the journal has already. */
  async removeFiles(inodes: ReadonlySet<number>): Promise<number> {
    const { table, directories, syncs, inRoom } = this.#options;
    const removed = table.forget(inodes);
    const groups = [...Map.groupBy(inodes, prefixOf)];
    await forEachConcurrently(groups, limits.fileOperationsMax, async ([prefix, group]) => {
      const all = await directories.list(prefix);
      const doomed = all.filter(({ ino }) => group.includes(ino));
      await forEachConcurrently(doomed, limits.fileOperationsMax, (files) => {
        return inRoom(() => table.removeFiles(files, removed));
      });
      syncs.forget(doomed.map(({ object }) => object));
    });
    syncs.forget(removed);
    return removed.size;
  }
}
