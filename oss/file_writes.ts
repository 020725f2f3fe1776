// How large writes get into an object's file: on this thread as long as the system takes the bytes at
// once, which is a copy, quicker than the way to another thread and back. When it does not, because
// its cache is full and the disk is slow, on another thread for a while, so that others are served.

import type { Clock } from "../shared/environment.ts";
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

  /** After a failure the file has some first part of the bytes. */
  async write(file: OpenFile, bytes: Uint8Array, offsetBytes: number): Promise<void> {
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

async function writeElsewhere(
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
