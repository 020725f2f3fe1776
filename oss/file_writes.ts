// How large writes get into an object's file.
//
// - Most of a large one past the system's cache, on another thread: the disk takes it at once, so
//   nothing is left to do for the sync that follows, and no pages of the cache are found, filled and
//   cleaned for bytes that may not be read soon. That halves what a write costs a processor.
// - What is smaller, or ends within a page, on this thread as long as the system takes the bytes at
//   once, which is a copy, quicker than the way to another thread and back. When it does not, because
//   its cache is full and the disk is slow, on another thread for a while, so that others are served.

import type { Clock } from "../shared/environment.ts";
import { pageBytes } from "../shared/libc.ts";
import { limits } from "../shared/limits.ts";
import type { OpenFile } from "./files.ts";
import { writeAll } from "./journal.ts";

export interface FileWritesOptions {
  readonly clock: Clock;
  /** Runs a step on another thread when there is room. */
  readonly inRoom: <T>(step: () => Promise<T>) => Promise<T>;
}

export class FileWrites {
  readonly #options: FileWritesOptions;
  /** On the monotonic clock. */
  #slowUntilMs = -Infinity;

  constructor(options: FileWritesOptions) {
    this.#options = options;
  }

  /** After a failure the file may have any part of the bytes. */
  async write(file: OpenFile, bytes: Uint8Array, offsetBytes: number): Promise<void> {
    if (bytes.length < limits.uncachedWriteBytesMin) {
      return await this.#writeCached(file, bytes, offsetBytes);
    }
    const uncachedBytes = bytes.length - bytes.length % pageBytes;
    const uncached = bytes.subarray(0, uncachedBytes);
    await this.#options.inRoom(() => writeElsewhere(file, uncached, offsetBytes));
    if (uncachedBytes === bytes.length) return;
    await this.#writeCached(file, bytes.subarray(uncachedBytes), offsetBytes + uncachedBytes);
  }

  async #writeCached(file: OpenFile, bytes: Uint8Array, offsetBytes: number): Promise<void> {
    const { clock, inRoom } = this.#options;
    const startMs = clock.monotonicMs();
    if (startMs < this.#slowUntilMs) {
      return await inRoom(() => writeElsewhere(file, bytes, offsetBytes));
    }
    writeAll(file, bytes, offsetBytes);
    const endMs = clock.monotonicMs();
    if (endMs - startMs > limits.slowWriteMs) this.#slowUntilMs = endMs + limits.slowWritesMs;
  }
}

/** On another thread. After a failure the file may have any part of the bytes. */
export async function writeElsewhere(
  file: OpenFile,
  bytes: Uint8Array,
  offsetBytes: number,
): Promise<void> {
  for (let done = 0; done < bytes.length;) {
    const count = await file.write(done === 0 ? bytes : bytes.subarray(done), offsetBytes + done);
    if (count === 0) throw new Error("the disk takes no bytes");
    done += count;
  }
}
