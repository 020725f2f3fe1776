// What the clients of a simulation do: random operations on few names, so that they meet, and some
// bytes in the files. Everything is written into a history, to be judged later.

import type { Cluster, FileSystem, OpenFile } from "../../client/mod.ts";
import { isRustreError } from "../../shared/errors.ts";
import { limits } from "../../shared/limits.ts";
import type { Attributes } from "../../shared/model.ts";
import { newFileMode } from "../support/model_file_system.ts";
import type { Operation, Outcome } from "../support/operations.ts";
import type { SeededRandom } from "../support/seeded_random.ts";
import { withStatus } from "../support/subjects.ts";
import type { ByteWrite, Contents } from "./contents.ts";
import type { History } from "./linearizability.ts";
import type { HostProcess } from "./process.ts";

/** What the lanes of all clients share. */
export interface WorkloadContext {
  readonly random: SeededRandom;
  readonly history: History;
  readonly contents: Contents;
  /** Ids of operations. */
  readonly nextId: () => number;
  /** Few of them: then clients meet all the time. */
  readonly names: readonly string[];
  readonly directories: readonly string[];
  /** Where files came into being lately. */
  readonly recentFiles: string[];
  /** How much rather they write into files than change names; 1 for as often. */
  readonly dataWeight: number;
  /** How long a client thinks between two operations, at most. */
  readonly thinkMs: number;
  /** Operations that lanes may still begin. */
  readonly takeTurn: () => boolean;
  /** Whoever makes an inode was told its number. */
  readonly noteInode: (ino: number, operation: Operation) => void;
  readonly trace: (kind: "operation" | "result", host: string, what: string) => void;
  /** What no client may ever be told. */
  readonly fail: (reason: string) => void;
}

/** Names in every directory, and what are mostly directories. A run has the first ones of each. */
export const allNames: readonly string[] = ["a", "b", "c"];
export const allDirectories: readonly string[] = ["/", "/d/", "/e/", "/d/f/"];
const recentFilesMax = 3;
const stripeBytes = limits.stripeBytesMin;

/** What a client is told for good: the operation had no effect. */
const refusals: readonly string[] = [
  ...["ENOENT", "EEXIST", "ENOTDIR", "EISDIR", "ENOTEMPTY", "EINVAL", "EPERM", "ELOOP"],
  ...["EBUSY", "EBADF"],
];

/** What means that the cluster broke a promise. */
const broken: readonly string[] = [
  ...["INTERNAL", "STORE_FORMAT", "DATA_MISSING", "DATA_CORRUPT", "BAD_REQUEST", "WRONG_CLUSTER"],
  ...["UNKNOWN_OPERATION", "WRONG_ROLE", "TRANSACTION_TOO_LARGE", "EIO", "EFBIG", "LATE_DUPLICATE"],
];

/** One thing after the other, in one client. */
export class Lane {
  readonly #context: WorkloadContext;
  readonly #process: HostProcess;
  readonly #fileSystem: FileSystem;
  readonly #name: string;

  constructor(context: WorkloadContext, process: HostProcess, cluster: Cluster, name: string) {
    this.#context = context;
    this.#process = process;
    this.#fileSystem = cluster.fileSystem({ uid: 0, gid: 0, groups: [] });
    this.#name = name;
  }

  /** Until all turns are taken. */
  async run(): Promise<void> {
    const { random, thinkMs, takeTurn } = this.#context;
    while (takeTurn()) {
      await this.#think(random.below(2) * random.below(thinkMs));
      await this.#takeTurn();
    }
  }

  /** Everything there is below the root, and the bytes of all files. */
  async readAll(path = ""): Promise<void> {
    const listing = await this.#readdir(path === "" ? "/" : path);
    for (const name of listing ?? []) {
      const child = `${path}/${name}`;
      const status = await this.#stat(child);
      if (status?.type === "directory") await this.readAll(child);
      else if (status?.type === "file") await this.#read(child);
      else if (status?.type === "symlink") await this.#readlink(child);
    }
  }

  async #think(durationMs: number): Promise<void> {
    if (durationMs > 0) await this.#process.after(durationMs, "timer", "think");
  }

  #takeTurn(): Promise<unknown> {
    const { random, dataWeight } = this.#context;
    const [path, file] = [this.#path(), this.#filePath()];
    const kinds: [number, () => Promise<unknown>][] = [
      [4, () => this.#mkdir()],
      [3, () => this.#create(path)],
      [1, () => this.#symlink(path)],
      [3, () => this.#link(file, path)],
      [6, () => this.#rename(random.below(2) === 0 ? file : this.#path(), path)],
      [3, () => this.#unlink(file)],
      [2, () => this.#rmdir()],
      [2, () => this.#chmod(file)],
      [3 * dataWeight, () => this.#truncate(file)],
      [4, () => this.#stat(random.below(2) === 0 ? file : path)],
      [2, () => this.#readdir(this.#directory())],
      [1, () => this.#readlink(path)],
      [6, () => this.#put(path)],
      [2, () => this.#putSeveral()],
      [6 * dataWeight, () => this.#writeInPlace(file)],
      [5 * dataWeight, () => this.#read(file)],
    ];
    let left = random.below(kinds.reduce((sum, [weight]) => sum + weight, 0));
    for (const [weight, run] of kinds) if ((left -= weight) < 0) return run();
    return Promise.resolve();
  }

  // ── names ────────────────────────────────────────────────────────────────────────────────────

  #path(): string {
    const { random, names, directories } = this.#context;
    if (random.below(8) === 0) return this.#directoryName();
    return directories[random.below(directories.length)]! + names[random.below(names.length)]!;
  }

  /** Mostly one where there was a file lately. */
  #filePath(): string {
    const { random, recentFiles } = this.#context;
    const recent = recentFiles[random.below(recentFiles.length + 1)];
    return recent ?? this.#path();
  }

  #noteFile(path: string): void {
    const { recentFiles } = this.#context;
    if (recentFiles.includes(path)) return;
    recentFiles.push(path);
    if (recentFiles.length > recentFilesMax) recentFiles.shift();
  }

  #directory(): string {
    const { random, directories } = this.#context;
    return directories[random.below(directories.length)]!;
  }

  /** One of those that others look into. */
  #directoryName(): string {
    const { random, directories } = this.#context;
    return (directories[1 + random.below(directories.length - 1)] ?? "/d/").slice(0, -1);
  }

  async #mkdir(): Promise<void> {
    const { random, nextId } = this.#context;
    const path = random.below(4) > 0 ? this.#directoryName() : this.#path();
    const operation = { op: "mkdir", id: nextId(), path, mode: 0o755 } as const;
    const made = await this.#do(operation, () => this.#fileSystem.mkdir(path));
    this.#noteMade(operation, made);
  }

  async #create(path: string): Promise<void> {
    const id = this.#context.nextId();
    const operation = { op: "create", id, path, mode: newFileMode } as const;
    const layout = this.#layout();
    const made = await this.#do(
      operation,
      () => this.#fileSystem.createEmpty(path, { layout }),
    );
    this.#noteMade(operation, made);
    if (made) this.#noteFile(path);
  }

  async #symlink(path: string): Promise<void> {
    const { random, nextId, names } = this.#context;
    const target = random.below(2) === 0 ? "d" : names[random.below(names.length)]!;
    const operation = { op: "symlink", id: nextId(), target, path } as const;
    const made = await this.#do(operation, () => this.#fileSystem.symlink(target, path));
    this.#noteMade(operation, made);
  }

  #link(from: string, to: string): Promise<unknown> {
    return this.#do({ op: "link", from, to }, () => this.#fileSystem.link(from, to), withStatus);
  }

  async #rename(from: string, to: string): Promise<void> {
    const rename = async () => {
      await this.#fileSystem.rename(from, to);
      this.#noteFile(to);
    };
    await this.#do({ op: "rename", from, to }, rename);
  }

  #unlink(path: string): Promise<unknown> {
    return this.#do({ op: "unlink", path }, () => this.#fileSystem.unlink(path));
  }

  #rmdir(): Promise<unknown> {
    const path = this.#directoryName();
    return this.#do({ op: "rmdir", path }, () => this.#fileSystem.rmdir(path));
  }

  #chmod(path: string): Promise<unknown> {
    const mode = [0o600, 0o644, 0o755][this.#context.random.below(3)]!;
    const change = () => this.#fileSystem.setAttributes(path, { mode });
    return this.#do({ op: "chmod", path, mode }, change, withStatus);
  }

  async #truncate(path: string): Promise<void> {
    const { random, contents } = this.#context;
    const sizeBytes = random.below(3) === 0 ? 0 : random.below(3 * stripeBytes);
    const cut = contents.beginCut(sizeBytes);
    const change = () => this.#fileSystem.setAttributes(path, { sizeBytes });
    const changed = await this.#do({ op: "truncate", path, sizeBytes }, change, withStatus);
    if (changed) cut.succeeded(changed.ino);
  }

  #stat(path: string): Promise<Attributes | undefined> {
    const stat = () => this.#fileSystem.stat(path, { follow: false });
    return this.#do({ op: "stat", path, follow: false }, stat, withStatus);
  }

  #readdir(path: string): Promise<string[] | undefined> {
    const list = async () => {
      const entries = await Array.fromAsync(this.#fileSystem.readdir(path));
      return entries.map(({ name }) => name);
    };
    return this.#do({ op: "readdir", path }, list, (names) => ({ names }));
  }

  #readlink(path: string): Promise<unknown> {
    const read = () => this.#fileSystem.readlink(path);
    return this.#do({ op: "readlink", path }, read, (target) => ({ target }));
  }

  // ── bytes ────────────────────────────────────────────────────────────────────────────────────

  #layout() {
    const { random } = this.#context;
    return { stripeBytes, stripeCount: 1 + random.below(3), replicas: 1 + random.below(2) };
  }

  /** A new file, that appears when it is whole. */
  async #put(path: string, beforeClose?: () => Promise<void>): Promise<void> {
    const { random, nextId } = this.#context;
    const replace = random.below(2) === 0;
    const id = nextId();
    const layout = this.#layout();
    const begin = { op: "begin", id, path, replace } as const;
    const file = await this.#do(begin, () => this.#fileSystem.create(path, { replace, layout }));
    if (!file) return;
    this.#noteMade(begin, file.attributes);
    await this.#writeAndClose(file, 1 + random.below(2), (endBytes) => {
      return { op: "commit", of: id, sizeBytes: endBytes };
    }, beforeClose);
  }

  /** So many at once, made and closed, that the client sends them to the mds together. */
  async #putSeveral(): Promise<void> {
    const paths = Array.from({ length: 5 + this.#context.random.below(4) }, () => this.#path());
    const allWritten = Promise.withResolvers<void>();
    let left = paths.length;
    const noteWritten = () => {
      if (--left === 0) allWritten.resolve();
    };
    await Promise.all(paths.map(async (path) => {
      let isWritten = false;
      await this.#put(path, () => {
        isWritten = true;
        noteWritten();
        return allWritten.promise;
      });
      if (!isWritten) noteWritten();
    }));
  }

  async #writeInPlace(path: string): Promise<void> {
    const { random, nextId } = this.#context;
    const id = nextId();
    const open = { op: "openWrite", id, path } as const;
    const file = await this.#do(open, () => this.#fileSystem.openForWriting(path));
    if (!file) return;
    await this.#writeAndClose(file, 1 + random.below(3), (endBytes) => {
      return { op: "commitWrite", of: id, endBytes };
    });
  }

  async #writeAndClose(
    file: OpenFile,
    count: number,
    closing: (endBytes: number) => Operation,
    beforeClose?: () => Promise<void>,
  ): Promise<void> {
    const { random, contents } = this.#context;
    const { ino } = file.attributes;
    const end = contents.beginWriter(ino);
    const writes = await this.#write(file, count);
    if (!writes || random.below(10) === 0) {
      return void await this.#try(`abandon inode ${ino}`, () => file.abandon());
    }
    const endBytes = Math.max(0, ...writes.map((write) => write.endBytes));
    await beforeClose?.();
    if (!await this.#close(file, closing(endBytes), writes)) return;
    end();
    this.#noteFile(file.path);
  }

  /** The writes; `undefined` where one failed. */
  async #write(file: OpenFile, count: number): Promise<ByteWrite[] | undefined> {
    const { random, contents, thinkMs } = this.#context;
    const { ino } = file.attributes;
    const writes: ByteWrite[] = [];
    for (; count > 0; count--) {
      if (random.below(8) === 0) await this.#think(random.below(10 * thinkMs));
      const at = random.below(3) === 0 ? 0 : random.below(3 * stripeBytes);
      const lengthBytes = 1 + random.below([100, 5_000, 90_000][random.below(3)]!);
      const value = contents.newValue();
      const write = contents.beginWrite(ino, value, at, lengthBytes);
      const what = `write ${lengthBytes} bytes of ${value} at ${at} to inode ${ino}`;
      const bytes = new Uint8Array(lengthBytes).fill(value);
      const isWritten = await this.#try(what, () => file.write(at, bytes));
      write.endedAt = contents.now();
      if (!isWritten) return undefined;
      writes.push(write);
    }
    return writes;
  }

  /** Whether it succeeded. */
  async #close(file: OpenFile, operation: Operation, writes: ByteWrite[]): Promise<boolean> {
    const closed = await this.#do(operation, async () => {
      await file.close();
      return file.attributes;
    }, withStatus);
    if (!closed) return false;
    const syncedAt = this.#context.contents.now();
    for (const write of writes) write.syncedAt = syncedAt;
    return true;
  }

  async #read(path: string): Promise<void> {
    const { contents, fail } = this.#context;
    const openedAt = contents.now();
    const open = () => this.#fileSystem.open(path);
    const file = await this.#do(
      { op: "open", path },
      open,
      ({ attributes }) => withStatus(attributes),
    );
    if (!file) return;
    const { ino } = file.attributes;
    await this.#try(`read inode ${ino}`, async () => {
      const bytes = await file.read(0, file.sizeBytes);
      const problem = contents.check(ino, bytes, openedAt);
      if (problem) fail(problem);
    });
    await file.close();
  }

  // ── the history ──────────────────────────────────────────────────────────────────────────────

  /** What it gives; `undefined` where it fails. */
  async #do<Result>(
    operation: Operation,
    run: () => Promise<Result>,
    outcomeOf: (result: Result) => Outcome = () => "done",
  ): Promise<Result | undefined> {
    const { history, trace } = this.#context;
    trace("operation", this.#name, JSON.stringify(operation));
    const end = history.begin(this.#name, operation);
    try {
      const result = await run();
      const outcome = outcomeOf(result);
      trace("result", this.#name, JSON.stringify(outcome));
      end(outcome);
      return result;
    } catch (error) {
      const code = this.#codeOf(error, JSON.stringify(operation));
      if (refusals.includes(code)) end({ error: code });
      return undefined;
    }
  }

  /** What no other client sees. Says whether it succeeded. */
  async #try(what: string, run: () => Promise<void>): Promise<boolean> {
    const { trace } = this.#context;
    trace("operation", this.#name, what);
    try {
      await run();
      trace("result", this.#name, "done");
      return true;
    } catch (error) {
      this.#codeOf(error, what);
      return false;
    }
  }

  #codeOf(error: unknown, what: string): string {
    if (!isRustreError(error)) throw error;
    const { code, message } = error;
    this.#context.trace("result", this.#name, `${code} ${message}`);
    if (broken.includes(code)) this.#context.fail(`${this.#name}: ${what} failed: ${message}`);
    return code;
  }

  #noteMade(operation: Operation, made: Attributes | undefined): void {
    if (made) this.#context.noteInode(made.ino, operation);
  }
}
