// One open file: reads and writes of any range, sync, close. A new file appears under its name only
// when it is closed; an existing one changes as it is written, and its size when it is synced.

import { assert } from "../shared/assert.ts";
import { interrupted } from "../shared/deadline.ts";
import { isRustreError, RustreError } from "../shared/errors.ts";
import { fileBytesMax, objectCount, type ObjectRange, type Piece } from "../shared/layout.ts";
import type { Attributes, Layout } from "../shared/model.ts";
import { Semaphore } from "../shared/semaphore.ts";
import {
  type Each,
  eachInOrder,
  eachInWindows,
  eachJoinedInWindows,
  type FileBytes,
  type PieceToRead,
  type PieceToWrite,
} from "./file_pieces.ts";
import { readableOf, writableOf } from "./file_streams.ts";
import { Holes } from "./holes.ts";
import { named } from "./named_errors.ts";
import { type ContentOf, contentOfBytes, type ObjectClient } from "./object_client.ts";
import type { FileObjects } from "./object_parts.ts";
import { UnsyncedObjects } from "./unsynced_objects.ts";

/** What the end of a file's life calls; file_system.ts gives it, bound to the file. */
export interface FileEnding {
  /** Makes the size and what was synced known to the mds. */
  commit(
    sizes: { sizeBytes: number; dataEndBytes: number; clean: boolean },
    signal?: AbortSignal,
  ): Promise<Attributes>;
  /** Gives up what is not committed. `clean`: no write has reached behind what is. */
  abandon(how: { clean: boolean }): Promise<void>;
  /** The attributes as they are now. */
  refresh(signal?: AbortSignal): Promise<Attributes>;
}

export interface OpenFileOptions {
  readonly objects: ObjectClient;
  readonly attributes: Attributes & { readonly layout: Layout };
  readonly path: string;
  /** "new": not visible before close. "existing": open for writing. "read": only read. */
  readonly mode: "new" | "existing" | "read";
  readonly ending: FileEnding;
  /** Of a file that is written: fails when the client's session may be over. */
  readonly requireLease?: () => void;
}

export interface WriteOptions {
  readonly signal?: AbortSignal | undefined;
  /** The bytes are on disk when the write returns; cheaper than a sync after it for one write. */
  readonly sync?: boolean;
}

export class OpenFile implements AsyncDisposable {
  readonly path: string;
  readonly #options: OpenFileOptions;
  readonly #objects: FileObjects;
  readonly #inWindows: Each<Piece>;
  readonly #joinedInWindows: Each<ObjectRange>;
  readonly #inOrder: Each<Piece>;
  /** One sync at a time: a second one that found nothing to do would return before the first. */
  readonly #syncTurn = new Semaphore(1);
  #attributes: Attributes & { readonly layout: Layout };
  /** Where the bytes written here end. */
  #writtenEndBytes = 0;
  /** How far the bytes of a write may reach that was begun here, whether or not it succeeded. */
  #reachedBytes = 0;
  readonly #holes: Holes;
  readonly #writesUnderWay = new Set<Promise<void>>();
  readonly #unsynced = new UnsyncedObjects();
  /** Something was written that the mds has not been told of. */
  #changed = false;
  #state: "open" | "closing" | "closed" = "open";
  #closing: Promise<void> | undefined;

  constructor(options: OpenFileOptions) {
    this.path = options.path;
    this.#options = options;
    this.#attributes = options.attributes;
    const { objects, mode, requireLease, attributes: { ino, layout, dataEndBytes } } = options;
    const existingEndBytes = mode === "existing" ? dataEndBytes : undefined;
    this.#objects = { ino, layout, requireLease, existingEndBytes };
    this.#inWindows = eachInWindows(this.#objects, objects.readWindows);
    this.#joinedInWindows = eachJoinedInWindows(this.#objects, objects.writeWindows);
    this.#inOrder = eachInOrder(this.#objects);
    this.#holes = new Holes({
      objects,
      file: this.#objects,
      unsynced: this.#unsynced,
      dataEndBytes,
    });
  }

  /** As of the opening or the last sync. */
  get attributes(): Attributes & { readonly layout: Layout } {
    return this.#attributes;
  }

  /** The length that a reader of this open file sees, with what it wrote itself. */
  get sizeBytes(): number {
    return Math.max(this.#attributes.sizeBytes, this.#writtenEndBytes);
  }

  /** What lies above was never written, as far as this open file knows. */
  get #dataEndBytes(): number {
    return Math.max(this.#attributes.dataEndBytes, this.#writtenEndBytes);
  }

  /**
   * The bytes of a range, fewer where the file ends before. Holes are zeros. Bytes that are lost, or
   * damaged on every replica, are an error, never anything else: DATA_MISSING, DATA_CORRUPT.
   */
  async read(
    offsetBytes: number,
    lengthBytes: number,
    options: { signal?: AbortSignal | undefined } = {},
  ): Promise<Uint8Array<ArrayBuffer>> {
    this.#requireOpen("read");
    requireRange(offsetBytes, lengthBytes);
    return await this.#unlessCut(options.signal, async () => {
      const endBytes = Math.min(offsetBytes + lengthBytes, this.sizeBytes);
      const bytes = new Uint8Array(Math.max(0, endBytes - offsetBytes));
      await this.#readInto(offsetBytes, bytes, options.signal, this.#inWindows);
      return bytes;
    });
  }

  /**
   * {@link read} into a buffer of the caller, who may use it again afterwards. Resolves to how many
   * bytes were read, fewer than it holds where the file ends before; what lies behind them, and all
   * of it after a failure, is anything.
   */
  async readInto(
    offsetBytes: number,
    buffer: Uint8Array,
    { signal }: { signal?: AbortSignal | undefined } = {},
  ): Promise<number> {
    this.#requireOpen("read");
    requireRange(offsetBytes, buffer.length);
    return await this.#unlessCut(
      signal,
      () => this.#readInto(offsetBytes, buffer, signal, this.#inWindows),
    );
  }

  /**
   * Runs `task` on the pieces of the file's data, in no order, as many at once as the OSTs have room
   * for; it gets a buffer and reads. What lies behind the data, up to the file's size, are zeros and
   * no pieces. Rejects with the first failure, when all tasks have settled.
   */
  async readPieces(
    task: (piece: PieceToRead) => Promise<void>,
    { signal }: { signal?: AbortSignal | undefined } = {},
  ): Promise<void> {
    this.#requireOpen("read");
    const dataBytes = Math.min(this.#dataEndBytes, this.sizeBytes);
    // Once there is room for a piece, nobody waits for more of it.
    if (!this.#holes.areFilled(0, dataBytes)) await this.#fillHoles(this.#dataEndBytes, signal);
    await this.#inWindows({ offsetBytes: 0, lengthBytes: dataBytes }, signal, (piece) => {
      const { offsetInFileBytes: offsetBytes, lengthBytes } = piece;
      const read = (buffer: Uint8Array) =>
        this.#readInto(offsetBytes, buffer, signal, this.#inOrder);
      return task({
        offsetBytes,
        lengthBytes,
        readInto: (buffer) => this.#unlessCut(signal, () => read(buffer)),
      });
    });
  }

  /**
   * Writes `bytes` at an offset, on all replicas; durable after {@link sync}, and after the write
   * itself with `sync`. Do not change `bytes` before it returns.
   */
  async write(offsetBytes: number, bytes: Uint8Array, options: WriteOptions = {}): Promise<void> {
    const range = { offsetBytes, lengthBytes: bytes.length };
    await this.writePieces(range, (piece) => {
      const parts = piece.ranges.map(({ offsetBytes: partBytes, lengthBytes }) => {
        const start = partBytes - offsetBytes;
        return bytes.subarray(start, start + lengthBytes);
      });
      return piece.write(contentOfBytes(...parts));
    }, options);
  }

  /**
   * Runs `task` on the pieces of a range, in no order, as many at once as the OSTs have room for; it
   * gets the bytes and writes them. Otherwise as {@link write}.
   */
  async writePieces(
    range: FileBytes,
    task: (piece: PieceToWrite) => Promise<void>,
    options: WriteOptions = {},
  ): Promise<void> {
    this.#requireOpen("write to");
    if (this.#options.mode === "read") {
      throw new RustreError("EBADF", `Cannot write to "${this.path}": it is open for reading`);
    }
    requireRange(range.offsetBytes, range.lengthBytes);
    if (range.offsetBytes + range.lengthBytes > fileBytesMax(this.#objects.layout)) {
      throw new RustreError("EFBIG", `Cannot write to "${this.path}": the file becomes too large`);
    }
    const endBytes = range.offsetBytes + range.lengthBytes;
    if (range.lengthBytes > 0) this.#reachedBytes = Math.max(this.#reachedBytes, endBytes);
    const writing = this.#writePieces(range, task, options);
    this.#writesUnderWay.add(writing);
    try {
      await writing;
    } finally {
      this.#writesUnderWay.delete(writing);
    }
  }

  /**
   * Every write that has succeeded is on the disks of all replicas, and for an existing file its
   * size is known to all clients. WRITES_LOST where an OST may have lost some of them: then no sync
   * nor close of this open file succeeds any more.
   */
  async sync(options: { signal?: AbortSignal | undefined } = {}): Promise<void> {
    this.#requireOpen("sync");
    if (this.#options.mode === "read") return;
    await this.#sync({ commit: this.#options.mode === "existing", signal: options.signal });
  }

  /** Waits for writes under way, syncs, gives a new file its name, and closes. Idempotent. */
  close(options: { signal?: AbortSignal | undefined } = {}): Promise<void> {
    if (this.#state === "closed") return Promise.resolve();
    return this.#closing ??= this.#close(options.signal);
  }

  /** Closes without the sync: a new file is gone, an existing one keeps what was synced. */
  async abandon(): Promise<void> {
    if (this.#state === "closed") return;
    // Whoever closes it is told how that ends.
    if (this.#closing) return void await this.#closing.catch(() => {});
    this.#state = "closed";
    if (this.#options.mode === "read") return;
    await Promise.allSettled(this.#writesUnderWay);
    await this.#abandon();
  }

  /** A file that nobody closed is abandoned: whoever wants it kept closes it, and sees errors. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.abandon();
  }

  /** The bytes of a range in order, read ahead within the window. */
  readable(
    options: { offsetBytes?: number; lengthBytes?: number; signal?: AbortSignal } = {},
  ): ReadableStream<Uint8Array<ArrayBuffer>> {
    return readableOf(this, options);
  }

  /** Writes what it is given one after the other; closing the stream does not close the file. */
  writable(
    options: { offsetBytes?: number; signal?: AbortSignal } = {},
  ): WritableStream<Uint8Array> {
    return writableOf(this, options);
  }

  /** Reads; once more where bytes are gone because the file was cut after we looked at it. */
  async #unlessCut<T>(
    signal: AbortSignal | undefined,
    read: () => Promise<T>,
  ): Promise<T> {
    const before = this.#attributes;
    try {
      return await read();
    } catch (error) {
      if (!isRustreError(error, "DATA_MISSING", "DATA_CORRUPT", "OBJECT_GONE")) throw error;
      if (!(await this.#mayBeCutSince(before, signal))) throw error;
    }
    return await read();
  }

  async #readInto(
    offsetBytes: number,
    buffer: Uint8Array,
    signal: AbortSignal | undefined,
    each: Each<Piece>,
  ): Promise<number> {
    const endBytes = Math.min(offsetBytes + buffer.length, this.sizeBytes);
    if (endBytes <= offsetBytes) return 0;
    const dataEndBytes = Math.max(offsetBytes, Math.min(endBytes, this.#dataEndBytes));
    if (!this.#holes.areFilled(offsetBytes, dataEndBytes)) {
      await this.#fillHoles(this.#dataEndBytes, signal);
    }
    buffer.fill(0, dataEndBytes - offsetBytes, endBytes - offsetBytes);
    await each({ offsetBytes, lengthBytes: dataEndBytes - offsetBytes }, signal, async (piece) => {
      const start = piece.offsetInFileBytes - offsetBytes;
      const part = buffer.subarray(start, start + piece.lengthBytes);
      await named(
        `read "${this.path}"`,
        () => this.#options.objects.read(this.#objects, piece, part, signal),
      );
    });
    return endBytes - offsetBytes;
  }

  /**
   * Whether the file may have been cut since we looked, so that bytes which were missing are not
   * lost; by now it may have grown again. Under a writer nobody cuts it. OBJECT_GONE where the file
   * itself is gone, whatever has its name now.
   */
  async #mayBeCutSince(before: Attributes, signal: AbortSignal | undefined): Promise<boolean> {
    if (this.#options.mode !== "read") return false;
    const attributes = await this.#refresh(signal);
    this.#attributes = { ...attributes, layout: this.#objects.layout };
    // Whoever has written to it since has filled it.
    this.#holes.filledBelow(attributes.dataEndBytes);
    return attributes.dataEndBytes < before.dataEndBytes || attributes.ctimeNs !== before.ctimeNs;
  }

  async #refresh(signal: AbortSignal | undefined): Promise<Attributes> {
    try {
      return await this.#options.ending.refresh(signal);
    } catch (error) {
      if (!isRustreError(error, "ENOENT")) throw error;
      const reason = "it was removed or replaced while it was read";
      const message = `Cannot read "${this.path}": ${reason}`;
      throw new RustreError("OBJECT_GONE", message, { cause: error });
    }
  }

  async #writePieces(
    range: FileBytes,
    task: (piece: PieceToWrite) => Promise<void>,
    { signal, sync = false }: WriteOptions,
  ): Promise<void> {
    const { offsetBytes, lengthBytes } = range;
    try {
      await this.#joinedInWindows(range, signal, (piece) =>
        task({
          ranges: piece.pieces.map(({ offsetInFileBytes, lengthBytes }) => {
            return { offsetBytes: offsetInFileBytes, lengthBytes };
          }),
          lengthBytes: piece.lengthBytes,
          write: (contentOf) => this.#writePiece(piece, contentOf, { sync, signal }),
        }));
    } finally {
      this.#changed ||= lengthBytes > 0;
    }
    if (lengthBytes === 0) return;
    this.#holes.wrote(offsetBytes, offsetBytes + lengthBytes);
    this.#writtenEndBytes = Math.max(this.#writtenEndBytes, offsetBytes + lengthBytes);
  }

  async #writePiece(
    piece: ObjectRange,
    contentOf: ContentOf,
    { sync, signal }: { sync: boolean; signal: AbortSignal | undefined },
  ): Promise<void> {
    const answers = await named(
      `write to "${this.path}"`,
      () => this.#options.objects.write(this.#objects, piece, contentOf, { sync, signal }),
    );
    if (!sync) this.#unsynced.add(piece.seq, answers);
  }

  async #close(signal: AbortSignal | undefined): Promise<void> {
    const { mode } = this.#options;
    this.#state = "closing";
    try {
      await Promise.allSettled(this.#writesUnderWay);
      if (mode !== "read") await this.#sync({ commit: true, signal });
    } catch (error) {
      await this.#abandon();
      throw error;
    } finally {
      this.#state = "closed";
    }
    if (mode !== "new") await this.#abandon();
  }

  /** While it is open nobody lowers the end of the data: it is at least what we were told last. */
  #abandon(): Promise<void> {
    const clean = this.#reachedBytes <= this.#attributes.dataEndBytes;
    return this.#options.ending.abandon({ clean });
  }

  /** First the bytes, then, where `commit` says so, the size: never the other way round. */
  async #sync(options: { commit: boolean; signal: AbortSignal | undefined }): Promise<void> {
    const { commit, signal } = options;
    await this.#acquireSyncTurn(signal);
    try {
      const endBytes = this.#dataEndBytes;
      const changed = this.#changed || this.#options.mode === "new";
      if (commit) this.#changed = false;
      try {
        await this.#syncObjects(endBytes, signal);
        if (commit && changed) await this.#commit(endBytes, signal);
      } catch (error) {
        this.#changed ||= changed;
        throw error;
      }
    } finally {
      this.#syncTurn.release();
    }
  }

  async #acquireSyncTurn(signal: AbortSignal | undefined): Promise<void> {
    try {
      await this.#syncTurn.acquire(1, signal);
    } catch {
      throw interrupted(signal!);
    }
  }

  /** Puts the data up to `endBytes` on disk; above it lies at most what a failed write left. */
  async #syncObjects(endBytes: number, signal: AbortSignal | undefined): Promise<void> {
    await this.#fillHoles(endBytes, signal);
    const { layout } = this.#objects;
    await named(
      `sync "${this.path}"`,
      () =>
        this.#unsynced.sync(
          objectCount(layout, endBytes),
          (group) => this.#options.objects.sync(this.#objects, group, signal),
        ),
    );
  }

  #fillHoles(endBytes: number, signal: AbortSignal | undefined): Promise<void> {
    assert(this.#options.mode !== "read", "what a reader lacks is lost, and no hole");
    return named(`write to "${this.path}"`, () => this.#holes.fill(endBytes, signal));
  }

  async #commit(endBytes: number, signal: AbortSignal | undefined): Promise<void> {
    const sizeBytes = Math.max(this.#attributes.sizeBytes, endBytes);
    const sizes = { sizeBytes, dataEndBytes: endBytes, clean: this.#reachedBytes <= endBytes };
    const attributes = await this.#options.ending.commit(sizes, signal);
    this.#attributes = { ...attributes, layout: this.#objects.layout };
    this.#holes.filledBelow(attributes.dataEndBytes);
  }

  #requireOpen(action: string): void {
    if (this.#state === "open") return;
    throw new RustreError("EBADF", `Cannot ${action} "${this.path}": it is closed`);
  }
}

/** Where a range may end beyond the file, or beyond all files, its user cuts or refuses it. */
function requireRange(offsetBytes: number, lengthBytes: number): void {
  const valid = offsetBytes >= 0 && lengthBytes >= 0 && Number.isSafeInteger(offsetBytes) &&
    Number.isSafeInteger(lengthBytes) && Number.isSafeInteger(offsetBytes + lengthBytes);
  if (valid) return;
  throw new RustreError("EINVAL", `Cannot use bytes ${offsetBytes} + ${lengthBytes}: no range`);
}
