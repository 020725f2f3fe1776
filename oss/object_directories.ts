// The directories of a file store: opens, makes, lists and removes the files of objects, and knows
// whether what was made and removed in each directory is on disk.

import type { ObjectId } from "../shared/model.ts";
import { parseObjectId } from "../shared/layout.ts";
import { fileNameOf, isPrefix, objectOfFile, prefixOf } from "./file_names.ts";
import { codeOf, type Files, type OpenFile } from "./files.ts";
import { DurableDirectory } from "./shared_sync.ts";

export class ObjectDirectories {
  readonly #files: Files;
  /** The directory of all prefixes. */
  readonly #root: string;
  readonly #rootEntries: DurableDirectory;
  /** By prefix; there are at most 4,096. */
  readonly #entries = new Map<string, DurableDirectory>();

  constructor(files: Files, root: string) {
    this.#files = files;
    this.#root = root;
    this.#rootEntries = new DurableDirectory(() => files.syncDirectory(root));
  }

  /** The file of an object; `undefined` where there is none. */
  open(object: ObjectId): OpenFile | undefined {
    return this.#files.open(this.#pathOf(object));
  }

  /** Makes the file of an object; `undefined` where there is one. */
  create(object: ObjectId): OpenFile | undefined {
    const prefix = prefixOf(parseObjectId(object).ino);
    const file = this.#createIn(prefix, this.#pathOf(object));
    if (file) this.#entriesOf(prefix).changed();
    return file;
  }

  #createIn(prefix: string, path: string): OpenFile | undefined {
    try {
      return this.#files.create(path);
    } catch (error) {
      if (codeOf(error) !== "ENOENT") throw error;
    }
    if (this.#files.makeDirectory(`${this.#root}/${prefix}`)) this.#rootEntries.changed();
    return this.#files.create(path);
  }

  lengthOf(object: ObjectId): number | undefined {
    return this.#files.lengthOf(this.#pathOf(object));
  }

  /** Deletes the file of an object; tells whether there was one. */
  async remove(object: ObjectId): Promise<boolean> {
    const removed = await this.#files.remove(this.#pathOf(object));
    if (removed) this.#entriesOf(prefixOf(parseObjectId(object).ino)).changed();
    return removed;
  }

  /** Every prefix that has a directory. */
  async prefixes(): Promise<string[]> {
    return (await this.#files.list(this.#root)).filter(isPrefix);
  }

  /** The objects that have a file in a prefix's directory. Other files there are none of ours. */
  async list(prefix: string): Promise<{ object: ObjectId; ino: number }[]> {
    const names = await this.#files.list(`${this.#root}/${prefix}`);
    return names.flatMap((name) => objectOfFile(name) ?? []);
  }

  /** What was made and removed in a prefix's directory so far is on disk when this resolves. */
  async makeDurable(prefix: string): Promise<void> {
    const missing = this.#files.lengthOf(`${this.#root}/${prefix}`) === undefined;
    if (!missing) await this.#entriesOf(prefix).makeDurable();
    await this.#rootEntries.makeDurable();
  }

  #entriesOf(prefix: string): DurableDirectory {
    let entries = this.#entries.get(prefix);
    if (!entries) {
      const path = `${this.#root}/${prefix}`;
      entries = new DurableDirectory(() => this.#files.syncDirectory(path));
      this.#entries.set(prefix, entries);
    }
    return entries;
  }

  #pathOf(object: ObjectId): string {
    return `${this.#root}/${prefixOf(parseObjectId(object).ino)}/${fileNameOf(object)}`;
  }
}
