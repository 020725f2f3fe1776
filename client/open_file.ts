// One open file: reads and writes of any range, sync, close. A new file appears under its name only
// when it is closed; an existing one changes as it is written, and its size when it is synced.

import { interrupted } from "../shared/deadline.ts";
import { isRustreError, RustreError } from "../shared/errors.ts";
import { fileBytesMax, objectCount, type Piece, pieces, resizedObjects } from "../shared/layout.ts";
import { limits } from "../shared/limits.ts";
import type { Attributes, Layout } from "../shared/model.ts";
import { Semaphore } from "../shared/semaphore.ts";
import { named } from "./named_errors.ts";
import type { FileObjects, ObjectClient } from "./object_client.ts";
import { TransferWindow } from "./transfer_window.ts";
import { UnsyncedObjects } from "./unsynced_objects.ts";
import { WrittenRanges } from "./written_ranges.ts";

/** What the end of a file's life calls; file_system.ts gives it, bound to the file. */
export interface FileEnding {
  /** Makes the size and what was synced known to the mds. */
  commit(
    sizes: { sizeBytes: number; dataEndBytes: number },
    signal?: AbortSignal,
  ): Promise<Attributes>;
  /** Gives up what is not committed. */
  abandon(): Promise<void>;
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
  /** Bounds the pieces of this file that are under way. */
  readonly #window = new TransferWindow(limits.transferWindow);
  /** One sync at a time: a second one that found nothing to do would return before the first. */
  readonly #syncTurn = new Semaphore(1);
  #attributes: Attributes & { readonly layout: Layout };
  /** Where the bytes written here end. */
  #writtenEndBytes = 0;
  /** Below it every object has its full length; above it only what {@link #written} knows. */
  #filledEndBytes: number;
  #written = new WrittenRanges();
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
    const { attributes: { ino, layout }, requireLease } = options;
    this.#objects = { ino, layout, requireLease };
    this.#filledEndBytes = options.attributes.dataEndBytes;
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
   * The bytes of a range, fewer where the file ends before. Holes are zeros. Bytes that are lost are
   * an error, never zeros.
   */
  async read(
    offsetBytes: number,
    lengthBytes: number,
    options: { signal?: AbortSignal | undefined } = {},
  ): Promise<Uint8Array<ArrayBuffer>> {
    this.#requireOpen("read");
    requireRange(offsetBytes, lengthBytes);
    try {
      return await this.#read(offsetBytes, lengthBytes, options.signal);
    } catch (error) {
      if (!isRustreError(error, "DATA_MISSING", "OBJECT_GONE")) throw error;
      if (!(await this.#isCut(options.signal))) throw error;
    }
    return await this.#read(offsetBytes, lengthBytes, options.signal);
  }

  /**
   * Writes `bytes` at an offset, on all replicas; durable after {@link sync}, and after the write
   * itself with `sync`. Do not change `bytes` before it returns.
   */
  async write(offsetBytes: number, bytes: Uint8Array, options: WriteOptions = {}): Promise<void> {
    this.#requireOpen("write to");
    if (this.#options.mode === "read") {
      throw new RustreError("EBADF", `Cannot write to "${this.path}": it is open for reading`);
    }
    requireRange(offsetBytes, bytes.length);
    if (offsetBytes + bytes.length > fileBytesMax(this.#objects.layout)) {
      throw new RustreError("EFBIG", `Cannot write to "${this.path}": the file becomes too large`);
    }
    const writing = this.#writePieces(offsetBytes, bytes, options);
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
    await Promise.allSettled(this.#writesUnderWay);
    await this.#options.ending.abandon();
  }

  /** A file that nobody closed is abandoned: whoever wants it kept closes it, and sees errors. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.abandon();
  }

  /** The bytes of a range in order, read ahead within the window. */
  readable(
    options: { offsetBytes?: number; lengthBytes?: number; signal?: AbortSignal } = {},
  ): ReadableStream<Uint8Array<ArrayBuffer>> {
    const { offsetBytes = 0, lengthBytes = Infinity, signal } = options;
    const endBytes = Math.min(offsetBytes + lengthBytes, this.sizeBytes);
    const ahead: Promise<Uint8Array<ArrayBuffer>>[] = [];
    let nextBytes = offsetBytes;
    const readAhead = () => {
      while (ahead.length < limits.transferWindow && nextBytes < endBytes) {
        const length = Math.min(limits.transferBytes, endBytes - nextBytes);
        const part = this.read(nextBytes, length, { signal });
        // It is awaited in its turn; until then its failure is nobody's.
        part.catch(() => {});
        ahead.push(part);
        nextBytes += length;
      }
    };
    return new ReadableStream({
      async pull(controller) {
        readAhead();
        const part = ahead.shift();
        if (!part) return controller.close();
        controller.enqueue(await part);
      },
    }, { highWaterMark: 0 });
  }

  /** Writes what it is given one after the other; closing the stream does not close the file. */
  writable(
    options: { offsetBytes?: number; signal?: AbortSignal } = {},
  ): WritableStream<Uint8Array> {
    let { offsetBytes = 0 } = options;
    return new WritableStream({
      write: async (chunk) => {
        await this.write(offsetBytes, chunk, { signal: options.signal });
        offsetBytes += chunk.length;
      },
    });
  }

  async #read(
    offsetBytes: number,
    lengthBytes: number,
    signal: AbortSignal | undefined,
  ): Promise<Uint8Array<ArrayBuffer>> {
    const endBytes = Math.min(offsetBytes + lengthBytes, this.sizeBytes);
    const bytes = new Uint8Array(Math.max(0, endBytes - offsetBytes));
    const dataEndBytes = Math.min(endBytes, this.#dataEndBytes);
    if (!this.#written.covers(Math.max(offsetBytes, this.#filledEndBytes), dataEndBytes)) {
      await this.#fillHoles(this.#dataEndBytes, signal);
    }
    const dataBytes = Math.max(0, dataEndBytes - offsetBytes);
    await this.#eachPiece(offsetBytes, dataBytes, signal, async (piece) => {
      const part = await named(
        `read "${this.path}"`,
        () => this.#options.objects.read(this.#objects, piece, signal),
      );
      bytes.set(part, piece.offsetInFileBytes - offsetBytes);
    });
    return bytes;
  }

  /**
   * Whether somebody has cut the file since we looked, so that bytes which are missing are not lost.
   * Under a writer nobody does. OBJECT_GONE where the file itself is gone, whatever has its name now.
   */
  async #isCut(signal: AbortSignal | undefined): Promise<boolean> {
    if (this.#options.mode !== "read") return false;
    const before = this.#attributes.dataEndBytes;
    const attributes = await this.#refresh(signal);
    this.#attributes = { ...attributes, layout: this.#objects.layout };
    return attributes.dataEndBytes < before;
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

  async #writePieces(offsetBytes: number, bytes: Uint8Array, options: WriteOptions): Promise<void> {
    const { signal, sync = false } = options;
    try {
      await this.#eachPiece(offsetBytes, bytes.length, signal, async (piece) => {
        const from = piece.offsetInFileBytes - offsetBytes;
        const part = bytes.subarray(from, from + piece.lengthBytes);
        const answers = await named(
          `write to "${this.path}"`,
          () => this.#options.objects.write(this.#objects, piece, part, { sync, signal }),
        );
        if (!sync) this.#unsynced.add(piece.seq, answers);
      });
    } finally {
      this.#changed ||= bytes.length > 0;
    }
    if (bytes.length === 0) return;
    this.#written.add(offsetBytes, offsetBytes + bytes.length);
    this.#writtenEndBytes = Math.max(this.#writtenEndBytes, offsetBytes + bytes.length);
  }

  #eachPiece(
    offsetBytes: number,
    lengthBytes: number,
    signal: AbortSignal | undefined,
    task: (piece: Piece) => Promise<void>,
  ): Promise<void> {
    const { layout } = this.#objects;
    const all = pieces(layout, offsetBytes, lengthBytes, limits.transferBytes);
    return this.#window.each(all, signal, task);
  }

  async #close(signal: AbortSignal | undefined): Promise<void> {
    const { mode, ending } = this.#options;
    this.#state = "closing";
    try {
      await Promise.allSettled(this.#writesUnderWay);
      if (mode !== "read") await this.#sync({ commit: true, signal });
    } catch (error) {
      await ending.abandon();
      throw error;
    } finally {
      this.#state = "closed";
    }
    if (mode !== "new") await ending.abandon();
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

  /**
   * Below the data's end every object has its full length, so that a missing byte is a lost one:
   * where writes left holes, objects are made as long as they have to be.
   */
  async #fillHoles(endBytes: number, signal: AbortSignal | undefined): Promise<void> {
    const beforeBytes = this.#filledEndBytes;
    if (!this.#written.covers(beforeBytes, endBytes)) {
      const growing = resizedObjects(this.#objects.layout, beforeBytes, endBytes);
      await this.#window.each(growing, signal, async ({ seq, higherLengthBytes }) => {
        const answers = await named(
          `write to "${this.path}"`,
          () => this.#options.objects.extend(this.#objects, seq, higherLengthBytes, signal),
        );
        this.#unsynced.add(seq, answers);
      });
      this.#written = new WrittenRanges();
    }
    this.#filledEndBytes = Math.max(this.#filledEndBytes, endBytes);
  }

  async #commit(endBytes: number, signal: AbortSignal | undefined): Promise<void> {
    const sizeBytes = Math.max(this.#attributes.sizeBytes, endBytes);
    const sizes = { sizeBytes, dataEndBytes: endBytes };
    const attributes = await this.#options.ending.commit(sizes, signal);
    this.#attributes = { ...attributes, layout: this.#objects.layout };
    // Other writers have filled what they committed.
    this.#filledEndBytes = Math.max(this.#filledEndBytes, attributes.dataEndBytes);
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
