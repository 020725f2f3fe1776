// The ObjectStore on a local file system: one plain file for each object,
//
//   {directory}/objects/{prefix}/{ino:016x}_{seq:08x}      prefix = 3 hex digits of (ino >> 8) & 0xfff
//
// so that all objects of an inode are in one directory, and consecutive inodes share it: a destroy
// reads one directory, a sync of many new small files syncs few. file_names.ts has the arithmetic.

import { AssertionError } from "../shared/assert.ts";
import { type Random, randomHex } from "../shared/environment.ts";
import { RustreError } from "../shared/errors.ts";
import { parseObjectId } from "../shared/layout.ts";
import { limits } from "../shared/limits.ts";
import type { ObjectId, Usage } from "../shared/model.ts";
import { Semaphore } from "../shared/semaphore.ts";
import { forEachConcurrently } from "./concurrently.ts";
import { FailedObjects } from "./failed_objects.ts";
import { prefixOf } from "./file_names.ts";
import { type Files, localFiles, reasonOf } from "./files.ts";
import { ObjectDirectories } from "./object_directories.ts";
import { missingBytes, missingObject, type ObjectStore } from "./object_store.ts";
import { OpenObject, OpenObjects } from "./open_objects.ts";

export interface FileObjectStoreOptions {
  /** Exists, and belongs to this process alone. */
  readonly directory: string;
  /** For messages. */
  readonly targetIndex: number;
  readonly random: Random;
  readonly files?: Files;
  readonly openObjectsMax?: number;
}

export class FileObjectStore implements ObjectStore {
  readonly writeVerifier: string;
  readonly #files: Files;
  readonly #targetIndex: number;
  readonly #root: string;
  readonly #directories: ObjectDirectories;
  readonly #open: OpenObjects;
  readonly #failed = new FailedObjects();
  /** For steps on other threads. */
  readonly #room = new Semaphore(limits.fileOperationsMax);
  #usedBytes = 0;
  #objects = 0;
  #underWay = 0;
  readonly #idle = Promise.withResolvers<void>();
  #closing: Promise<void> | undefined;

  /** Opens the store of a directory and adds up what is in it. */
  static async open(options: FileObjectStoreOptions): Promise<FileObjectStore> {
    const store = new FileObjectStore(options);
    await store.#scan(options.directory);
    return store;
  }

  private constructor(options: FileObjectStoreOptions) {
    this.#files = options.files ?? localFiles;
    // What was written is in the system's cache, which outlives this process and not the system.
    // Where the system cannot be told from the one before, every opening might be after a loss.
    this.writeVerifier = this.#files.bootId() ?? randomHex(options.random, 16);
    this.#targetIndex = options.targetIndex;
    this.#root = `${options.directory}/objects`;
    this.#directories = new ObjectDirectories(this.#files, this.#root);
    this.#open = new OpenObjects(options.openObjectsMax);
  }

  async #scan(directory: string): Promise<void> {
    try {
      this.#files.makeDirectory(this.#root);
      await this.#files.syncDirectory(directory);
      for (const prefix of await this.#directories.prefixes()) {
        for (const { object } of await this.#directories.list(prefix)) {
          this.#usedBytes += this.#directories.lengthOf(object) ?? 0;
          this.#objects++;
        }
      }
    } catch (error) {
      throw this.#errorOf(`open the objects in "${this.#root}"`, error);
    }
  }

  write(object: ObjectId, offsetBytes: number, bytes: Uint8Array): Promise<void> {
    return this.#mutate("write", object, "make", async (open) => {
      for (let done = 0; done < bytes.length;) {
        const rest = done === 0 ? bytes : bytes.subarray(done);
        done += await this.#writeSome(open, offsetBytes + done, rest);
        this.#setLength(open, Math.max(open.lengthBytes, offsetBytes + done));
      }
    });
  }

  async #writeSome(open: OpenObject, offsetBytes: number, bytes: Uint8Array): Promise<number> {
    const count = bytes.length <= limits.syncIoBytesMax
      ? open.file.writeSync(bytes, offsetBytes)
      : await this.#inRoom(() => open.file.write(bytes, offsetBytes));
    if (count === 0) throw new Error("the disk takes no bytes");
    return count;
  }

  read(object: ObjectId, offsetBytes: number, lengthBytes: number): Promise<Uint8Array> {
    return this.#operation(() => this.#read(object, offsetBytes, lengthBytes));
  }

  async #read(object: ObjectId, offsetBytes: number, lengthBytes: number): Promise<Uint8Array> {
    const wanted = { offsetBytes, lengthBytes };
    const open = await this.#use("read", object, "find");
    if (!open) throw missingBytes(this.#where(object), wanted, undefined);
    try {
      if (offsetBytes + lengthBytes > open.lengthBytes) {
        throw missingBytes(this.#where(object), wanted, open.lengthBytes);
      }
      const bytes = new Uint8Array(lengthBytes);
      for (let done = 0; done < lengthBytes;) {
        const count = await this.#readSome(open, offsetBytes + done, bytes.subarray(done));
        // The file is shorter than it was: it is being cut, or somebody else did it.
        if (count === 0) throw missingBytes(this.#where(object), wanted, offsetBytes + done);
        done += count;
      }
      return bytes;
    } catch (error) {
      throw this.#errorOf(`read ${this.#nameOf(object)}`, error);
    } finally {
      this.#open.release(open);
    }
  }

  #readSome(open: OpenObject, offsetBytes: number, into: Uint8Array): number | Promise<number> {
    if (into.length <= limits.syncIoBytesMax) return open.file.readSync(into, offsetBytes);
    return this.#inRoom(() => open.file.read(into, offsetBytes));
  }

  resize(object: ObjectId, lengthBytes: number, how: "extend" | "cut"): Promise<void> {
    return this.#mutate("resize", object, how === "extend" ? "make" : "find", async (open) => {
      const asAsked = how === "extend"
        ? open.lengthBytes >= lengthBytes
        : open.lengthBytes <= lengthBytes;
      if (asAsked) return;
      await this.#inRoom(() => open.file.truncate(lengthBytes));
      this.#setLength(open, lengthBytes);
    });
  }

  sync(objects: readonly ObjectId[]): Promise<void> {
    return this.#operation(() => this.#sync(objects));
  }

  /** Data first: its sync often takes the directory's entry along, and the second is then quick. */
  async #sync(objects: readonly ObjectId[]): Promise<void> {
    await forEachConcurrently([...new Set(objects)], limits.fileOperationsMax, (object) => {
      return this.#inRoom(() => this.#syncObject(object));
    });
    const prefixes = new Set(objects.map((object) => prefixOf(parseObjectId(object).ino)));
    await forEachConcurrently([...prefixes], limits.fileOperationsMax, (prefix) => {
      return this.#makeDurable(prefix);
    });
  }

  async #syncObject(object: ObjectId): Promise<void> {
    const open = await this.#use("sync", object, "find");
    if (!open) throw missingObject("sync", this.#where(object));
    try {
      await this.#syncData(open);
    } finally {
      this.#open.release(open);
    }
  }

  async #syncData(open: OpenObject): Promise<void> {
    try {
      await open.sync();
    } catch (error) {
      this.#failed.add(open.object, reasonOf(error).reason);
      this.#open.forget(open.object);
      throw this.#errorOf(`sync ${this.#nameOf(open.object)}`, error);
    }
  }

  async #makeDurable(prefix: string): Promise<void> {
    try {
      await this.#inRoom(() => this.#directories.makeDurable(prefix));
    } catch (error) {
      const what = `directory "${this.#root}/${prefix}" of OST ${this.#targetIndex}`;
      throw this.#errorOf(`sync ${what}`, error);
    }
  }

  stat(object: ObjectId): Promise<number | undefined> {
    return this.#operation(async () => {
      const open = await this.#use("stat", object, "find");
      if (!open) return undefined;
      this.#open.release(open);
      return open.lengthBytes;
    });
  }

  destroy(inodes: readonly number[]): Promise<number> {
    return this.#operation(() => this.#destroy(inodes));
  }

  async #destroy(inodes: readonly number[]): Promise<number> {
    const groups = [...Map.groupBy(inodes, prefixOf)];
    let count = 0;
    await forEachConcurrently(groups, limits.fileOperationsMax, async ([prefix, group]) => {
      const destroyed = await this.#destroyIn(prefix, new Set(group));
      count += destroyed;
    });
    return count;
  }

  async #destroyIn(prefix: string, inodes: ReadonlySet<number>): Promise<number> {
    let count = 0;
    try {
      const found = await this.#inRoom(() => this.#directories.list(prefix));
      const doomed = found.filter(({ ino }) => inodes.has(ino));
      await forEachConcurrently(doomed, limits.fileOperationsMax, async ({ object }) => {
        if (await this.#inRoom(() => this.#remove(object))) count++;
      });
    } catch (error) {
      const what = `objects in "${this.#root}/${prefix}" of OST ${this.#targetIndex}`;
      throw this.#errorOf(`destroy ${what}`, error);
    }
    // Also where nothing was left: an earlier destroy may have deleted it and failed to sync.
    await this.#makeDurable(prefix);
    return count;
  }

  async #remove(object: ObjectId): Promise<boolean> {
    const lengthBytes = this.#open.lengthOf(object) ?? this.#directories.lengthOf(object) ?? 0;
    const removed = await this.#directories.remove(object);
    // Only now: before, a reader could have opened it again.
    this.#open.forget(object);
    this.#failed.forget(object);
    if (removed) {
      this.#usedBytes -= lengthBytes;
      this.#objects--;
    }
    return removed;
  }

  usage(): Usage {
    try {
      const space = this.#files.space(this.#root);
      return { ...space, usedBytes: this.#usedBytes, objects: this.#objects };
    } catch (error) {
      throw this.#errorOf(`tell the space of OST ${this.#targetIndex}`, error);
    }
  }

  close(): Promise<void> {
    return this.#closing ??= this.#close();
  }

  async #close(): Promise<void> {
    if (this.#underWay > 0) await this.#idle.promise;
    this.#open.forgetAll();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  /** Runs what a caller asked for, unless the store is closed; close() waits for it. */
  async #operation<T>(run: () => Promise<T>): Promise<T> {
    if (this.#closing) {
      throw new RustreError("SHUTTING_DOWN", `OST ${this.#targetIndex} is stopping`);
    }
    this.#underWay++;
    try {
      return await run();
    } finally {
      this.#underWay--;
      if (this.#underWay === 0 && this.#closing) this.#idle.resolve();
    }
  }

  /** Runs `change` on an open object; does nothing where it is to be found and is not there. */
  #mutate(
    action: string,
    object: ObjectId,
    how: "find" | "make",
    change: (open: OpenObject) => Promise<void>,
  ): Promise<void> {
    return this.#operation(async () => {
      const open = await this.#use(action, object, how);
      if (!open) return;
      try {
        await change(open);
      } catch (error) {
        throw this.#errorOf(`${action} ${this.#nameOf(object)}`, error);
      } finally {
        open.changed();
        this.#open.release(open);
      }
    });
  }

  /** The open object, to be released; `undefined` where it is to be found and is not there. */
  async #use(
    action: string,
    object: ObjectId,
    how: "find" | "make",
  ): Promise<OpenObject | undefined> {
    this.#failed.check(action, this.#where(object));
    const open = this.#open.use(object);
    if (open) return open;
    if (this.#open.full) {
      // A failure is kept for the users of the other object.
      await this.#open.makeRoom((other) => this.#syncData(other).catch(() => {}));
      this.#failed.check(action, this.#where(object));
    }
    try {
      return this.#open.use(object) ?? this.#openFile(object, how);
    } catch (error) {
      throw this.#errorOf(`${action} ${this.#nameOf(object)}`, error);
    }
  }

  /** Writes to objects that are not open are mostly their first ones: "make" tries that first. */
  #openFile(object: ObjectId, how: "find" | "make"): OpenObject | undefined {
    const created = how === "make" ? this.#directories.create(object) : undefined;
    const file = created ?? this.#directories.open(object);
    if (!file && how === "make") throw new Error("its file came and went");
    if (!file) return undefined;
    if (created) this.#objects++;
    const open = new OpenObject(object, file, file.lengthBytes);
    this.#open.add(open);
    return open;
  }

  #setLength(open: OpenObject, lengthBytes: number): void {
    this.#usedBytes += lengthBytes - open.lengthBytes;
    open.lengthBytes = lengthBytes;
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
    return { object, targetIndex: this.#targetIndex };
  }

  #nameOf(object: ObjectId): string {
    return `object "${object}" on OST ${this.#targetIndex}`;
  }

  #errorOf(what: string, error: unknown): Error {
    if (error instanceof RustreError || error instanceof AssertionError) return error;
    const { code, reason } = reasonOf(error);
    return new RustreError(code, `Cannot ${what}: ${reason}`, { cause: error });
  }
}
