// The local file system as a disk that fails where a test says so, and that counts.

import { type Files, localFiles, type OpenFile } from "../../../oss/files.ts";

export class FaultyFiles implements Files {
  /** Bytes that the disk still takes; a write beyond is cut short, the next one is ENOSPC. */
  spaceBytes = Infinity;
  /** Paths of the syncs so far, files and directories, failed ones included. */
  readonly synced: string[] = [];
  /** Removals that have ended, on other threads. */
  removed = 0;
  opened = 0;
  reads = 0;
  /** Whether the disk's file system has attributes. */
  hasAttributes = true;
  bootIdNow: string | undefined = "b".repeat(32);
  /** Writes on other threads begin when this has resolved. */
  writeGate: Promise<void> = Promise.resolve();
  writesAtGate = 0;
  /** Syncs of files begin when this has resolved. */
  syncGate: Promise<void> = Promise.resolve();
  /** The error of an operation on a path, where it is to fail. */
  failure: (
    operation: "open" | "sync" | "write" | "remove" | "create" | "rename" | "attribute",
    path: string,
  ) => string | undefined = () => undefined;

  open(path: string): OpenFile | undefined {
    this.check("open", path);
    const file = localFiles.open(path);
    return file && new FaultyFile(this, path, file);
  }

  seems(path: string): boolean {
    return localFiles.seems(path);
  }

  create(path: string): OpenFile | undefined {
    this.check("create", path);
    const file = localFiles.create(path);
    return file && new FaultyFile(this, path, file);
  }

  makeDirectory(path: string): boolean {
    return localFiles.makeDirectory(path);
  }

  list(path: string): Promise<string[]> {
    return localFiles.list(path);
  }

  lengthOf(path: string): number | undefined {
    return localFiles.lengthOf(path);
  }

  async remove(path: string): Promise<boolean> {
    this.check("remove", path);
    const wasThere = await localFiles.remove(path);
    this.removed++;
    return wasThere;
  }

  // deno-lint-ignore require-await -- a failure must be a rejection
  async syncDirectory(path: string): Promise<void> {
    this.synced.push(path);
    this.check("sync", path);
    return localFiles.syncDirectory(path);
  }

  async syncTogether(files: readonly OpenFile[]): Promise<void> {
    for (const file of files) await file.syncAll();
  }

  removeSync(path: string): boolean {
    this.check("remove", path);
    return localFiles.removeSync(path);
  }

  rename(from: string, to: string): void {
    this.check("rename", to);
    localFiles.rename(from, to);
  }

  space(path: string): { capacityBytes: number; freeBytes: number } {
    return localFiles.space(path);
  }

  bootId(): string | undefined {
    return this.bootIdNow;
  }

  check(operation: Parameters<FaultyFiles["failure"]>[0], path: string): void {
    const code = this.failure(operation, path);
    if (code) throw Object.assign(new Error(`${code}: injected`), { code });
  }
}

class FaultyFile implements OpenFile {
  readonly #files: FaultyFiles;
  readonly #path: string;
  readonly #file: OpenFile;

  constructor(files: FaultyFiles, path: string, file: OpenFile) {
    this.#files = files;
    this.#path = path;
    this.#file = file;
    files.opened++;
  }

  get lengthBytes(): number {
    return this.#file.lengthBytes;
  }

  get descriptor(): number | undefined {
    return this.#file.descriptor;
  }

  readSync(into: Uint8Array, offsetBytes: number): number {
    this.#files.reads++;
    return this.#file.readSync(into, offsetBytes);
  }

  read(into: Uint8Array, offsetBytes: number): Promise<number> {
    this.#files.reads++;
    return this.#file.read(into, offsetBytes);
  }

  writeSync(bytes: Uint8Array, offsetBytes: number): number {
    return this.#file.writeSync(this.#fitting(bytes), offsetBytes);
  }

  async write(bytes: Uint8Array, offsetBytes: number): Promise<number> {
    this.#files.writesAtGate++;
    await this.#files.writeGate;
    this.#files.writesAtGate--;
    return this.#file.write(this.#fitting(bytes), offsetBytes);
  }

  truncate(lengthBytes: number): Promise<void> {
    return this.#file.truncate(lengthBytes);
  }

  async sync(): Promise<void> {
    await this.#beforeSync();
    return this.#file.sync();
  }

  async syncAll(): Promise<void> {
    await this.#beforeSync();
    return this.#file.syncAll();
  }

  async #beforeSync(): Promise<void> {
    await this.#files.syncGate;
    this.#files.synced.push(this.#path);
    this.#files.check("sync", this.#path);
  }

  attribute(): Uint8Array | undefined {
    return this.#files.hasAttributes ? this.#file.attribute() : undefined;
  }

  setAttribute(bytes: Uint8Array | undefined): void {
    this.#files.check("attribute", this.#path);
    if (!this.#files.hasAttributes) throw new Error("ENOTSUP: no attributes");
    this.#file.setAttribute(bytes);
  }

  close(): void {
    this.#files.opened--;
    this.#file.close();
  }

  #fitting(bytes: Uint8Array): Uint8Array {
    this.#files.check("write", this.#path);
    if (this.#files.spaceBytes === 0) {
      throw Object.assign(new Error("ENOSPC: injected"), { code: "ENOSPC" });
    }
    const fitting = bytes.subarray(0, this.#files.spaceBytes);
    this.#files.spaceBytes -= fitting.length;
    return fitting;
  }
}
