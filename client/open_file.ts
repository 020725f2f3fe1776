// One open file: reads and writes of any range, sync, close. A new file appears under its name only
// when it is closed; an existing one changes as it is written, and its size when it is synced.

import { RustreError } from "../shared/errors.ts";
import {
  fileBytesMax,
  objectCount,
  objectLengthBytes,
  type Piece,
  pieces,
} from "../shared/layout.ts";
import { limits } from "../shared/limits.ts";
import type { Attributes, Layout } from "../shared/model.ts";
import { Semaphore } from "../shared/semaphore.ts";
import type { FileObjects, ObjectClient } from "./object_client.ts";
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
}

export interface OpenFileOptions {
  readonly objects: ObjectClient;
  readonly attributes: Attributes & { readonly layout: Layout };
  readonly path: string;
  /** "new": not visible before close. "existing": open for writing. "read": only read. */
  readonly mode: "new" | "existing" | "read";
  readonly ending: FileEnding;
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
  readonly #window = new Semaphore(limits.transferWindow);
  #attributes: Attributes & { readonly layout: Layout };
  /** Where the bytes written so far end. */
  #writtenEndBytes: number;
  readonly #written = new WrittenRanges();
  /** Objects written since they were last synced. */
  #unsynced = new Set<number>();
  #state: "open" | "closed" = "open";

  constructor(options: OpenFileOptions) {
    this.path = options.path;
    this.#options = options;
    this.#attributes = options.attributes;
    this.#objects = { ino: options.attributes.ino, layout: options.attributes.layout };
    this.#writtenEndBytes = options.attributes.dataEndBytes;
    this.#written.add(0, options.attributes.dataEndBytes);
  }

  /** As of the opening or the last sync. */
  get attributes(): Attributes & { readonly layout: Layout } {
    return this.#attributes;
  }

  /** The length that a reader of this open file sees, with what it wrote itself. */
  get sizeBytes(): number {
    return Math.max(this.#attributes.sizeBytes, this.#writtenEndBytes);
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
    const endBytes = Math.min(offsetBytes + lengthBytes, this.sizeBytes);
    const bytes = new Uint8Array(Math.max(0, endBytes - offsetBytes));
    const dataEndBytes = Math.min(endBytes, this.#writtenEndBytes);
    const dataBytes = Math.max(0, dataEndBytes - offsetBytes);
    if (!this.#written.covers(offsetBytes, offsetBytes + dataBytes)) {
      await this.#fillHoles(this.#writtenEndBytes, options.signal);
    }
    await this.#eachPiece(offsetBytes, dataBytes, options.signal, async (piece) => {
      const part = await this.#options.objects.read(this.#objects, piece, options.signal);
      bytes.set(part, piece.offsetInFileBytes - offsetBytes);
    });
    return bytes;
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
    const { signal, sync = false } = options;
    await this.#eachPiece(offsetBytes, bytes.length, signal, async (piece) => {
      const from = piece.offsetInFileBytes - offsetBytes;
      const part = bytes.subarray(from, from + piece.lengthBytes);
      // A write that fails may have been carried out in part, so the object counts as written.
      if (!sync) this.#unsynced.add(piece.seq);
      await this.#options.objects.write(this.#objects, piece, part, { sync, signal });
    });
    this.#written.add(offsetBytes, offsetBytes + bytes.length);
    this.#writtenEndBytes = Math.max(this.#writtenEndBytes, offsetBytes + bytes.length);
  }

  /**
   * Everything written before is on the disks of all replicas, and for an existing file its size is
   * known to all clients.
   */
  async sync(options: { signal?: AbortSignal | undefined } = {}): Promise<void> {
    this.#requireOpen("sync");
    const endBytes = this.#writtenEndBytes;
    await this.#syncObjects(endBytes, options.signal);
    if (this.#options.mode === "existing") await this.#commit(endBytes, options.signal);
  }

  /** Syncs, gives a new file its name, and closes. */
  async close(options: { signal?: AbortSignal | undefined } = {}): Promise<void> {
    if (this.#state === "closed") return;
    try {
      if (this.#options.mode !== "read") {
        const endBytes = this.#writtenEndBytes;
        await this.#syncObjects(endBytes, options.signal);
        const changed = endBytes > this.#attributes.dataEndBytes;
        if (this.#options.mode === "new" || changed) await this.#commit(endBytes, options.signal);
      }
    } catch (error) {
      await this.abandon();
      throw error;
    }
    this.#state = "closed";
    if (this.#options.mode !== "new") await this.#options.ending.abandon();
  }

  /** Closes without the sync: a new file is gone, an existing one keeps what was synced. */
  async abandon(): Promise<void> {
    if (this.#state === "closed") return;
    this.#state = "closed";
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

  /** Runs `task` on every piece, a window of them at once; rejects after all have settled. */
  async #eachPiece(
    offsetBytes: number,
    lengthBytes: number,
    signal: AbortSignal | undefined,
    task: (piece: Piece) => Promise<void>,
  ): Promise<void> {
    const underWay: Promise<void>[] = [];
    let failed: { error: unknown } | undefined;
    for (
      const piece of pieces(this.#objects.layout, offsetBytes, lengthBytes, limits.transferBytes)
    ) {
      await this.#window.acquire(1, signal);
      if (failed) {
        this.#window.release();
        break;
      }
      const running = task(piece)
        .catch((error) => void (failed ??= { error }))
        .finally(() => this.#window.release());
      underWay.push(running);
    }
    await Promise.all(underWay);
    if (failed) throw failed.error;
  }

  /** Puts the data up to `endBytes` on disk. */
  async #syncObjects(endBytes: number, signal: AbortSignal | undefined): Promise<void> {
    await this.#fillHoles(endBytes, signal);
    const unsynced = this.#unsynced;
    this.#unsynced = new Set();
    try {
      await this.#options.objects.sync(this.#objects, unsynced, signal);
    } catch (error) {
      for (const seq of unsynced) this.#unsynced.add(seq);
      throw error;
    }
  }

  /**
   * Below the data's end every object has its full length, so that a missing byte is a lost one:
   * where writes left holes, objects are made as long as they have to be.
   */
  async #fillHoles(endBytes: number, signal: AbortSignal | undefined): Promise<void> {
    const { layout } = this.#objects;
    const beforeBytes = this.#attributes.dataEndBytes;
    if (this.#written.covers(beforeBytes, endBytes)) return;
    const positions = layout.targets.length;
    const firstSeq = Math.max(0, objectCount(layout, beforeBytes) - positions);
    for (let seq = firstSeq; seq < objectCount(layout, endBytes); seq++) {
      const lengthBytes = objectLengthBytes(layout, seq, endBytes);
      if (lengthBytes <= objectLengthBytes(layout, seq, beforeBytes)) continue;
      await this.#options.objects.extend(this.#objects, seq, lengthBytes, signal);
      this.#unsynced.add(seq);
    }
    this.#written.add(beforeBytes, endBytes);
  }

  async #commit(endBytes: number, signal: AbortSignal | undefined): Promise<void> {
    const sizeBytes = Math.max(this.#attributes.sizeBytes, endBytes);
    const dataEndBytes = Math.max(this.#attributes.dataEndBytes, endBytes);
    const attributes = await this.#options.ending.commit({ sizeBytes, dataEndBytes }, signal);
    this.#attributes = { ...attributes, layout: this.#objects.layout };
  }

  #requireOpen(action: string): void {
    if (this.#state === "open") return;
    throw new RustreError("EBADF", `Cannot ${action} "${this.path}": it is closed`);
  }
}

function requireRange(offsetBytes: number, lengthBytes: number): void {
  const valid = Number.isSafeInteger(offsetBytes) && offsetBytes >= 0 &&
    Number.isSafeInteger(lengthBytes) && lengthBytes >= 0 &&
    offsetBytes + lengthBytes <= limits.fileBytesMax;
  if (valid) return;
  throw new RustreError("EINVAL", `Cannot use bytes ${offsetBytes} + ${lengthBytes}: no range`);
}
