// The file system as a library: operations on the tree by path, and files to open. All semantics of
// the client are here and in open_file.ts; the command line and the mount only translate.

import type { Clock } from "../shared/environment.ts";
import { isRustreError, RustreError } from "../shared/errors.ts";
import { limits } from "../shared/limits.ts";
import type { Attributes, Caller, Layout, LayoutWish, Usage } from "../shared/model.ts";
import { access, mayAccess } from "../shared/permissions.ts";
import type { DirectoryEntry } from "../shared/protocol/mds.ts";
import type { NewFile } from "./file_batches.ts";
import type { MetadataClient } from "./metadata_client.ts";
import { named } from "./named_errors.ts";
import type { ObjectClient } from "./object_client.ts";
import { OpenFile } from "./open_file.ts";
import { entryOf, fileEntryOf, isRootPath, placeOf } from "./paths.ts";

export interface CallOptions {
  readonly signal?: AbortSignal | undefined;
}

/** What setAttributes changes; what is absent stays. */
export interface AttributeChanges {
  readonly mode?: number | undefined;
  readonly uid?: number | undefined;
  readonly gid?: number | undefined;
  readonly atimeNs?: bigint | "now" | undefined;
  readonly mtimeNs?: bigint | "now" | undefined;
  readonly sizeBytes?: number | undefined;
}

export interface NewFileOptions extends CallOptions {
  /** Permission bits, as they are to be: the caller has applied its umask. */
  readonly mode?: number | undefined;
  readonly layout?: LayoutWish | undefined;
}

export interface WriteFileOptions extends NewFileOptions {
  /** Take the place of an existing file, atomically, when the new one is closed. */
  readonly replace?: boolean | undefined;
  /** The times that the file gets at the close, which are else those of the close. */
  readonly atimeNs?: bigint | undefined;
  readonly mtimeNs?: bigint | undefined;
}

/** What a listing has said of an entry, and when: an inode may have been changed since. */
export interface ListedAttributes {
  readonly attributes: Attributes;
  /** On the monotonic clock, at the begin of the listing's request. */
  readonly listedAtMs: number;
}

export type EntryWithAttributes = DirectoryEntry & { readonly attributes: Attributes };

export interface FileSystemOptions {
  readonly metadata: MetadataClient;
  readonly objects: ObjectClient;
  /** As whom everything is done. */
  readonly caller: Caller;
  readonly clock: Clock;
}

export class FileSystem {
  readonly #metadata: MetadataClient;
  readonly #objects: ObjectClient;
  readonly #caller: Caller;
  readonly #clock: Clock;

  constructor({ metadata, objects, caller, clock }: FileSystemOptions) {
    this.#clock = clock;
    this.#metadata = metadata;
    this.#objects = objects;
    this.#caller = caller;
  }

  /** As whom everything is done. */
  get caller(): Caller {
    return this.#caller;
  }

  // ── reading the tree ─────────────────────────────────────────────────────────────────────────

  /**
   * `access`: what the caller must be allowed to do, an or of read 4, write 2, execute 1. Rejects
   * with ENOENT, ENOTDIR, EACCES, ELOOP, as all operations by path.
   */
  async stat(
    path: string,
    options: CallOptions & { follow?: boolean; access?: number } = {},
  ): Promise<Attributes> {
    const { follow = true, access = 0, signal } = options;
    const { attributes } = await named(`stat "${path}"`, () => {
      const place = placeOf(path);
      return this.#metadata.call("stat", { caller: this.#caller, place, follow, access }, signal);
    });
    return attributes;
  }

  /** {@link stat}, or `undefined` where there is nothing of that name. */
  async find(
    path: string,
    options: CallOptions & { follow?: boolean } = {},
  ): Promise<Attributes | undefined> {
    try {
      return await this.stat(path, options);
    } catch (error) {
      if (isRustreError(error, "ENOENT")) return undefined;
      throw error;
    }
  }

  async readlink(path: string, { signal }: CallOptions = {}): Promise<string> {
    const { target } = await named(`read the link "${path}"`, () => {
      const request = { caller: this.#caller, place: placeOf(path) };
      return this.#metadata.call("readlink", request, signal);
    });
    return target;
  }

  /**
   * The entries of a directory in byte order, page by page: entries that stay are given once, those
   * that come or go meanwhile may or may not be.
   */
  async *readdir(path: string, { signal }: CallOptions = {}): AsyncGenerator<DirectoryEntry> {
    const options = { withAttributes: false, limit: limits.readdirPageMax, signal };
    for await (const { entries } of this.#pages(path, options)) yield* entries;
  }

  /** {@link readdir} with the attributes of each entry; needs search permission as well. */
  async *readdirPlus(
    path: string,
    { signal }: CallOptions = {},
  ): AsyncGenerator<EntryWithAttributes & ListedAttributes> {
    const options = { withAttributes: true, limit: limits.readdirPlusPageMax, signal };
    for await (const { entries, listedAtMs } of this.#pages(path, options)) {
      for (const entry of entries) {
        const { attributes } = entry;
        if (attributes) yield { ...entry, attributes, listedAtMs };
      }
    }
  }

  async *#pages(
    path: string,
    options: { withAttributes: boolean; limit: number; signal: AbortSignal | undefined },
  ): AsyncGenerator<{ entries: readonly DirectoryEntry[]; listedAtMs: number }> {
    const { withAttributes, limit, signal } = options;
    const directory = placeOf(path);
    for (let after = "";;) {
      const listedAtMs = this.#clock.monotonicMs();
      const request = { caller: this.#caller, directory, after, limit, withAttributes };
      const { entries, more } = await named(
        `list "${path}"`,
        () => this.#metadata.call("readdir", request, signal),
      );
      yield { entries, listedAtMs };
      const last = entries.at(-1);
      if (!more || !last) return;
      after = last.name;
    }
  }

  /** Space of all OSTs that are up, and the number of inodes. */
  async statfs(
    { signal }: CallOptions = {},
  ): Promise<{ inodes: number; usage: Usage; targetsUp: number }> {
    return await named(
      "stat the file system",
      () => this.#metadata.call("statfs", {}, signal),
    );
  }

  // ── changing the tree ────────────────────────────────────────────────────────────────────────

  async mkdir(
    path: string,
    { mode = 0o755, signal }: CallOptions & { mode?: number | undefined } = {},
  ): Promise<Attributes> {
    const { attributes } = await named(`make the directory "${path}"`, () => {
      if (isRootPath(path)) throw new RustreError("EEXIST", "already exists");
      const request = { caller: this.#caller, ...entryOf(path), mode };
      return this.#metadata.mutate("mkdir", request, signal);
    });
    return attributes;
  }

  async symlink(target: string, path: string, { signal }: CallOptions = {}): Promise<Attributes> {
    const { attributes } = await named(`make the symbolic link "${path}"`, () => {
      const request = { caller: this.#caller, ...fileEntryOf(path), target };
      return this.#metadata.mutate("symlink", request, signal);
    });
    return attributes;
  }

  /** `path` becomes another name of `source`, which is not followed. */
  async link(source: string, path: string, { signal }: CallOptions = {}): Promise<Attributes> {
    const { attributes } = await named(`link "${path}" to "${source}"`, () => {
      const request = { caller: this.#caller, source: placeOf(source), ...fileEntryOf(path) };
      return this.#metadata.mutate("link", request, signal);
    });
    return attributes;
  }

  async unlink(path: string, { signal }: CallOptions = {}): Promise<void> {
    await named(`remove "${path}"`, () => {
      if (isRootPath(path)) throw new RustreError("EISDIR", "is a directory");
      const request = { caller: this.#caller, ...fileEntryOf(path) };
      return this.#metadata.mutate("unlink", request, signal);
    });
  }

  async rmdir(path: string, { signal }: CallOptions = {}): Promise<void> {
    await named(`remove the directory "${path}"`, () => {
      if (isRootPath(path)) throw new RustreError("EBUSY", "it is the root");
      return this.#metadata.mutate("rmdir", { caller: this.#caller, ...entryOf(path) }, signal);
    });
  }

  async rename(
    path: string,
    newPath: string,
    { noReplace = false, signal }: CallOptions & { noReplace?: boolean } = {},
  ): Promise<void> {
    await named(`rename "${path}" to "${newPath}"`, () => {
      if (isRootPath(path) || isRootPath(newPath)) {
        throw new RustreError("EBUSY", "the root stays where it is");
      }
      const { directory: newDirectory, name: newName } = entryOf(newPath);
      const to = { newDirectory, newName, noReplace };
      const request = { caller: this.#caller, ...entryOf(path), ...to };
      return this.#metadata.mutate("rename", request, signal);
    });
  }

  async setAttributes(
    path: string,
    changes: AttributeChanges,
    options: CallOptions & { follow?: boolean } = {},
  ): Promise<Attributes> {
    const { follow = true, signal } = options;
    const { attributes } = await named(`change "${path}"`, () => {
      const request = { caller: this.#caller, place: placeOf(path), follow, ...changes };
      return this.#metadata.mutate("setattr", request, signal);
    });
    return attributes;
  }

  /** Defaults for files that are made below a directory from now on. */
  async setLayoutDefaults(
    path: string,
    defaults: LayoutWish,
    { signal }: CallOptions = {},
  ): Promise<Attributes> {
    const { attributes } = await named(`set the striping of "${path}"`, () => {
      const request = { caller: this.#caller, directory: placeOf(path), defaults };
      return this.#metadata.mutate("setLayoutDefaults", request, signal);
    });
    return attributes;
  }

  // ── files ────────────────────────────────────────────────────────────────────────────────────

  /** Makes an empty file, visible at once. Rejects with EEXIST where the name is taken. */
  async createEmpty(path: string, options: NewFileOptions = {}): Promise<Attributes> {
    const { signal } = options;
    const { attributes } = await named(`create "${path}"`, () => {
      const request = { ...newFileOf(path, options, false), caller: this.#caller, pending: false };
      return this.#metadata.mutate("create", request, signal);
    });
    return attributes;
  }

  /** Opens a file to be written as a whole; it appears under its name when it is closed. */
  async create(path: string, options: WriteFileOptions = {}): Promise<OpenFile> {
    const { replace = false, atimeNs, mtimeNs, signal } = options;
    const attributes = await named(
      `create "${path}"`,
      () => this.#metadata.files.create(this.#caller, newFileOf(path, options, replace), signal),
    );
    const { ino } = attributes;
    return new OpenFile({
      objects: this.#objects,
      attributes: withLayout(attributes, path),
      path,
      mode: "new",
      requireLease: this.#metadata.lease(),
      ending: {
        commit: async (sizes, signal) => {
          const commit = { ino, atimeNs, mtimeNs, ...sizes };
          const whole = { commit, created: attributes };
          return await named(
            `create "${path}"`,
            () => this.#metadata.files.commit(this.#caller, whole, signal),
          );
        },
        abandon: () => this.#metadata.release("abort", { ino }),
        refresh: () => Promise.resolve(attributes),
      },
    });
  }

  /**
   * Opens an existing file for reading. `listed`: what readdirPlus has just said of it; that saves
   * asking again where it is recent and the caller may read the file.
   */
  async open(
    path: string,
    { listed, signal }: CallOptions & { listed?: ListedAttributes | undefined } = {},
  ): Promise<OpenFile> {
    const attributes = this.#recent(listed) ?? await this.#statToRead(path, signal);
    return new OpenFile({
      objects: this.#objects,
      attributes: withLayout(attributes, path),
      path,
      mode: "read",
      ending: {
        commit: () => Promise.resolve(attributes),
        abandon: () => Promise.resolve(),
        refresh: (signal) => this.#statOpen(attributes.ino, path, signal),
      },
    });
  }

  /** Opens an existing file for reading and writing in place. */
  async openForWriting(path: string, { signal }: CallOptions = {}): Promise<OpenFile> {
    const handle = this.#metadata.newHandle();
    const { attributes } = await named(`open "${path}" for writing`, () => {
      const request = { caller: this.#caller, place: placeOf(path), handle };
      return this.#metadata.mutate("openWrite", request, signal);
    });
    const { ino } = attributes;
    return new OpenFile({
      objects: this.#objects,
      attributes: withLayout(attributes, path),
      path,
      mode: "existing",
      requireLease: this.#metadata.lease(),
      ending: {
        commit: async ({ dataEndBytes }, signal) => {
          const request = { ino, handle, dataEndBytes };
          const reply = await named(
            `sync "${path}"`,
            () => this.#metadata.mutate("commitWrite", request, signal),
          );
          return reply.attributes;
        },
        abandon: ({ clean }) => this.#metadata.release("closeWrite", { ino, handle, clean }),
        refresh: (signal) => this.#statOpen(ino, path, signal),
      },
    });
  }

  async #statToRead(path: string, signal: AbortSignal | undefined): Promise<Attributes> {
    const { attributes } = await named(`open "${path}"`, () => {
      const [place, caller] = [placeOf(path), this.#caller];
      const request = { caller, place, follow: true, access: access.read };
      return this.#metadata.call("stat", request, signal);
    });
    return attributes;
  }

  /** Attributes that are as good as those that the mds would give. */
  #recent(listed: ListedAttributes | undefined): Attributes | undefined {
    if (listed?.attributes.type !== "file") return undefined;
    const ageMs = this.#clock.monotonicMs() - listed.listedAtMs;
    if (ageMs > limits.listedAttributesMs) return undefined;
    // No OST asks who may read a file.
    const { attributes } = listed;
    return mayAccess(attributes, this.#caller, access.read) ? attributes : undefined;
  }

  /** Of an open file, whatever its name is by now. */
  async #statOpen(ino: number, path: string, signal?: AbortSignal): Promise<Attributes> {
    const { attributes } = await named(`read "${path}"`, () => {
      const request = { caller: this.#caller, place: { ino, path: "" }, follow: false, access: 0 };
      return this.#metadata.call("stat", request, signal);
    });
    return attributes;
  }
}

function newFileOf(
  path: string,
  { mode = 0o644, layout = {} }: NewFileOptions,
  replace: boolean,
): NewFile {
  if (isRootPath(path)) throw new RustreError("EISDIR", "is a directory");
  return { ...fileEntryOf(path), mode, layout, replace };
}

function withLayout(attributes: Attributes, path: string): Attributes & { layout: Layout } {
  const { layout } = attributes;
  if (attributes.type === "directory") {
    throw new RustreError("EISDIR", `Cannot open "${path}": is a directory`);
  }
  if (!layout) throw new RustreError("EINVAL", `Cannot open "${path}": not a regular file`);
  return { ...attributes, layout };
}
