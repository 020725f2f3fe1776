// Writes whole lines to a file or pipe in order, in the background: a log must neither block the
// event loop nor grow without bound when nobody reads the other end.

import { limits } from "./limits.ts";

/** What a {@link LineWriter} writes to: an open file, standard output, standard error. */
export interface ByteSink {
  write(bytes: Uint8Array): Promise<number>;
}

export class LineWriter {
  #sink: ByteSink;
  readonly #encoder = new TextEncoder();
  #waiting: string[] = [];
  #waitingLength = 0;
  #dropped = 0;
  #writing: Promise<void> | undefined;
  #failure: unknown;

  constructor(sink: ByteSink) {
    this.#sink = sink;
  }

  /** What ended the writing, once a write has failed. Lines are dropped from then on. */
  get failure(): unknown {
    return this.#failure;
  }

  /**
   * Appends one line. A line over limits.logBufferLength is dropped unless it is `important`, and a
   * line that counts the dropped ones takes its place once there is room again.
   */
  write(line: string, important = false): void {
    if (this.#failure !== undefined) return;
    if (!important && this.#waitingLength + line.length > limits.logBufferLength) {
      this.#dropped++;
      return;
    }
    this.#waiting.push(line);
    this.#waitingLength += line.length;
    this.#writing ??= this.#writeWaiting();
  }

  /**
   * Lines that are not being written yet go to `sink`, where the one before has failed too. Resolves
   * when that one is not used any more.
   */
  async replaceSink(sink: ByteSink): Promise<void> {
    this.#sink = sink;
    this.#failure = undefined;
    await this.#writing;
  }

  /** Resolves when all lines so far have been handed to the system, or cannot be. */
  async flush(): Promise<void> {
    while (this.#writing !== undefined) await this.#writing;
  }

  async #writeWaiting(): Promise<void> {
    // Lines of the same turn of the event loop share a write.
    await Promise.resolve();
    while (this.#waiting.length > 0) {
      const text = this.#waiting.join("\n") + "\n" + this.#noteOfDropped();
      this.#waiting = [];
      this.#waitingLength = 0;
      const sink = this.#sink;
      try {
        await writeAll(sink, this.#encoder.encode(text));
      } catch (error) {
        // What replaced it meanwhile may well take lines.
        if (sink === this.#sink) this.#fail(error);
      }
    }
    this.#writing = undefined;
  }

  /**
   * The reader is gone or the disk is full. There is no place left to say so, and a server serves on
   * without its log.
   */
  #fail(error: unknown): void {
    this.#failure = error;
    this.#waiting = [];
    this.#waitingLength = 0;
  }

  #noteOfDropped(): string {
    if (this.#dropped === 0) return "";
    const note = `(${this.#dropped} log lines are missing here: they were not read in time)\n`;
    this.#dropped = 0;
    return note;
  }
}

async function writeAll(sink: ByteSink, bytes: Uint8Array): Promise<void> {
  for (let start = 0; start < bytes.length;) {
    start += await sink.write(bytes.subarray(start));
  }
}
