// One direction of a connection between simulated hosts: bytes that take their time and keep their
// order.

import type { Clock } from "../../shared/environment.ts";
import { RustreError } from "../../shared/errors.ts";
import { type Frame, FrameTracker } from "./frames.ts";
import type { HostProcess } from "./process.ts";
import { digest } from "./trace.ts";

/** Bytes on their way in one direction of a connection; the sender waits above. */
const streamBytesMax = 512 * 1024;

/** The network that a stream is part of. */
export interface StreamNetwork {
  readonly clock: Clock;
  /** How long the next bytes take. */
  delayMs(from: string, to: string): number;
  areApart(one: string, other: string): boolean;
  /** May change what is sent. */
  tamper(bytes: Uint8Array, isPayload: boolean): void;
  /** May send a whole frame, which was just sent, again. */
  duplicate(stream: Stream, frame: Frame): void;
}

export class Stream {
  readonly #network: StreamNetwork;
  readonly sender: HostProcess;
  readonly receiver: HostProcess;
  readonly #frames = new FrameTracker();
  /** Sent, not received; `null` is the end. */
  #underWay: (Uint8Array | null)[] = [];
  #received: Uint8Array[] = [];
  #bytes = 0;
  #lastDueMs = 0;
  #isCut = false;
  /** Nothing more arrives, or can be sent. */
  #ended = false;
  #closed = false;
  #reader: (() => void) | undefined;
  #writers: (() => void)[] = [];

  constructor(network: StreamNetwork, sender: HostProcess, receiver: HostProcess) {
    this.#network = network;
    this.sender = sender;
    this.receiver = receiver;
  }

  async write(data: Uint8Array): Promise<void> {
    while (!this.#closed && this.#bytes >= streamBytesMax) {
      await new Promise<void>((resolve) => this.#writers.push(resolve));
    }
    if (this.#closed) throw new RustreError("CONNECTION_LOST", "The connection is closed");
    const copy = data.slice();
    const frames = this.#frames.track(copy);
    this.#network.tamper(copy, this.#frames.isInPayload);
    this.#send(copy);
    for (const frame of frames) this.#network.duplicate(this, frame);
  }

  /** Once more what was sent before, where a frame may begin. */
  sendAgain(bytes: Uint8Array): void {
    if (!this.#closed && this.#frames.isBetweenFrames) this.#send(bytes.slice());
  }

  /** What was just sent arrives twice, in one: nothing of any other connection comes between. */
  sendTwice(bytes: Uint8Array): void {
    const last = this.#underWay.at(-1);
    if (this.#closed || !last || !this.#frames.isBetweenFrames) return;
    const both = new Uint8Array(last.length + bytes.length);
    both.set(last);
    both.set(bytes, last.length);
    this.#bytes += bytes.length;
    this.#underWay[this.#underWay.length - 1] = both;
  }

  async read(buffer: Uint8Array): Promise<number | null> {
    while (this.#received.length === 0 && !this.#ended) {
      await new Promise<void>((resolve) => this.#reader = resolve);
    }
    const chunk = this.#received[0];
    if (!chunk) return null;
    const count = Math.min(chunk.length, buffer.length);
    buffer.set(chunk.subarray(0, count));
    if (count === chunk.length) this.#received.shift();
    else this.#received[0] = chunk.subarray(count);
    this.#bytes -= count;
    this.#wakeWriters();
    return count;
  }

  /** The sender says that nothing more comes; what is on its way arrives. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#underWay.push(null);
    this.#deliverLater();
    this.#wakeWriters();
  }

  /** The receiver reads nothing more. */
  drop(): void {
    this.#received = [];
    this.#closed = this.#ended = true;
    this.#reader?.();
    this.#wakeWriters();
  }

  /** What is on its way is lost, and both ends hear of it. */
  break(): void {
    this.#underWay = [];
    this.#closed = true;
    this.#wakeWriters();
    this.#network.clock.setTimer(
      () => this.receiver.step("connection", `broken by ${this.sender.host}`, () => this.#end()),
      this.#network.delayMs(this.sender.host, this.receiver.host),
    );
  }

  /** Goes on with what arrived while the hosts were cut off from each other. */
  flush(): void {
    if (!this.#isCut) return;
    this.#isCut = false;
    for (let count = this.#underWay.length; count > 0; count--) this.#deliverLater();
  }

  #send(bytes: Uint8Array): void {
    this.#bytes += bytes.length;
    this.#underWay.push(bytes);
    this.#deliverLater();
  }

  /** One of those under way arrives; always the oldest. */
  #deliverLater(): void {
    if (this.#isCut) return;
    const { clock } = this.#network;
    const delayMs = this.#network.delayMs(this.sender.host, this.receiver.host);
    this.#lastDueMs = Math.max(this.#lastDueMs, clock.monotonicMs() + delayMs);
    clock.setTimer(() => this.#arrive(), this.#lastDueMs - clock.monotonicMs());
  }

  #arrive(): void {
    if (this.#underWay.length === 0 || this.#isCut) return;
    if (this.#network.areApart(this.sender.host, this.receiver.host)) {
      this.#isCut = true;
      return;
    }
    const bytes = this.#underWay.shift()!;
    const what = bytes ? `${bytes.length} ${digest(bytes)}` : "end";
    this.receiver.step("message", `${what} from ${this.sender.host}`, () => {
      if (!bytes) return this.#end();
      this.#received.push(bytes);
      this.#wakeReader();
    });
  }

  #end(): void {
    this.#ended = true;
    this.#wakeReader();
  }

  #wakeReader(): void {
    const reader = this.#reader;
    this.#reader = undefined;
    reader?.();
  }

  #wakeWriters(): void {
    if (this.sender.isDead) return;
    for (const resolve of this.#writers.splice(0)) resolve();
  }
}
