// One end of a connection, whose other end is a test.

import assert from "node:assert/strict";
import type { Clock, Connection } from "../../shared/environment.ts";
import { RustreError } from "../../shared/errors.ts";

/** For what does not wait. */
export const timeless: Clock = { nowMs: () => 0, monotonicMs: () => 0, setTimer: () => () => {} };

/** Reads give what the test lays in; then the stream ends, or waits until it is closed. */
export class FakeConnection implements Connection {
  readonly remote = "test";
  readonly written: Uint8Array[] = [];
  isClosed = false;
  /** Writes wait for this. */
  gate: Promise<void> = Promise.resolve();
  #incoming: Uint8Array[];
  readonly #whenDry: "end" | "wait";
  #endRead: (() => void) | undefined;

  constructor(incoming: Uint8Array[] = [], whenDry: "end" | "wait" = "end") {
    this.#incoming = [...incoming];
    this.#whenDry = whenDry;
  }

  async read(buffer: Uint8Array): Promise<number | null> {
    assert(buffer.length > 0, "a read into no room");
    const first = this.#incoming[0];
    if (!first && this.#whenDry === "wait") {
      await new Promise<void>((resolve) => this.#endRead = resolve);
      throw new RustreError("CONNECTION_LOST", "closed by this side");
    }
    if (!first) return null;
    const count = Math.min(first.length, buffer.length);
    buffer.set(first.subarray(0, count));
    if (count === first.length) this.#incoming.shift();
    else this.#incoming[0] = first.subarray(count);
    return count;
  }

  async write(data: Uint8Array): Promise<void> {
    await this.gate;
    if (this.isClosed) throw new RustreError("CONNECTION_LOST", "closed by this side");
    this.written.push(data.slice());
  }

  close(): void {
    this.isClosed = true;
    this.#endRead?.();
  }
}
