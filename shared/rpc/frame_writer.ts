// Writes frames to a connection; those that are sent while a write is under way leave together in
// the next. Notices a peer that does not read.

import { assert } from "../assert.ts";
import type { Clock, Connection } from "../environment.ts";
import { RustreError } from "../errors.ts";
import { limits } from "../limits.ts";
import {
  bufferBytes,
  encodeHeader,
  firstBufferBytes,
  type FrameKind,
  headerBytes,
} from "./frame.ts";
import { encodeBody } from "./message_pack.ts";

const emptyPayload = new Uint8Array(0);
/** Payloads below this are copied next to their header, so that one write sends both. */
export const coalesceBytesMax = 16 * 1024;

/** What small frames are put together in. */
class SendBuffer {
  readonly bytes: Uint8Array;
  readonly view: DataView;
  usedBytes = 0;
  /** How much of it is in the queue or written. */
  queuedBytes = 0;

  constructor(length: number) {
    this.bytes = new Uint8Array(length);
    this.view = new DataView(this.bytes.buffer);
  }

  empty(): void {
    this.usedBytes = this.queuedBytes = 0;
  }
}

interface Chunk {
  readonly bytes: Uint8Array;
  /** The buffer that nothing uses any more once these bytes are written. */
  readonly lastOf?: SendBuffer;
  readonly onWritten?: (() => void) | undefined;
}

export interface FrameWriterOptions {
  readonly clock: Clock;
  readonly bodyBytesMax: number;
}

export class FrameWriter {
  readonly #connection: Connection;
  readonly #options: FrameWriterOptions;
  readonly #queue: Chunk[] = [];
  #open = new SendBuffer(firstBufferBytes);
  #spare: SendBuffer | undefined;
  #waitingBytes = 0;
  #writtenChunks = 0;
  #writing: Promise<void> | undefined;
  #cancelWatch: (() => void) | undefined;
  #closed = false;

  constructor(connection: Connection, options: FrameWriterOptions) {
    this.#connection = connection;
    this.#options = options;
  }

  /** Whether everything that was sent has been handed to the transport. */
  get isIdle(): boolean {
    return this.#writing === undefined;
  }

  /** Whether so much waits for the peer that nothing should be added that can wait. */
  get isCrowded(): boolean {
    return this.#waitingBytes > limits.replyQueueBytesMax;
  }

  /**
   * Queues a frame. Callers bound what they have under way, and wait for `room` where a peer may be
   * slow to read. The payload must not change until `onWritten`, which is called once: when the
   * transport has it, when it has been copied, or when it never will be sent. A failed write closes
   * the connection, which its reader notices. Throws BAD_REQUEST on a body that the other side would
   * refuse, and queues nothing then.
   */
  send(
    header: { kind: FrameKind; opcode: number; requestId: number },
    body: unknown,
    payload: Uint8Array = emptyPayload,
    onWritten?: () => void,
  ): void {
    const encoded = encodeBody(body);
    assert(payload.length <= limits.framePayloadBytesMax, "a payload over the limit");
    const { bodyBytesMax } = this.#options;
    if (encoded.length > bodyBytesMax) {
      const sizes = `${encoded.length} bytes, at most ${bodyBytesMax} are allowed`;
      throw new RustreError("BAD_REQUEST", `Cannot send a message of ${sizes}`);
    }
    if (this.#closed) return onWritten?.();
    const isInline = payload.length < coalesceBytesMax;
    const length = headerBytes + encoded.length + (isInline ? payload.length : 0);
    const { kind, opcode, requestId } = header;
    const sizes = { bodyBytes: encoded.length, payloadBytes: payload.length };
    const buffer = this.#bufferFor(length);
    const start = buffer.usedBytes;
    encodeHeader(buffer.view, start, { kind, opcode, requestId, ...sizes });
    buffer.bytes.set(encoded, start + headerBytes);
    if (isInline && payload.length > 0) {
      buffer.bytes.set(payload, start + headerBytes + encoded.length);
    }
    buffer.usedBytes += length;
    this.#waitingBytes += length;
    if (!isInline) this.#queuePayload(payload, onWritten);
    this.#writing ??= this.#writeAll();
    if (isInline) onWritten?.();
  }

  /** Resolves at once unless the queue is crowded, else when everything has left. */
  async room(): Promise<void> {
    if (this.isCrowded) await this.#writing;
  }

  /** Resolves when everything that was sent has been handed to the transport, or the end came. */
  async flushed(): Promise<void> {
    await this.#writing;
  }

  /** Closes the connection; what has not been written never will be. Idempotent. */
  close(): void {
    this.#closed = true;
    this.#cancelWatch?.();
    this.#connection.close();
  }

  /** The open buffer, or a new one where that has no room. */
  #bufferFor(length: number): SendBuffer {
    const old = this.#open;
    if (old.usedBytes + length <= old.bytes.length) return old;
    const rest = old.bytes.subarray(old.queuedBytes, old.usedBytes);
    this.#queue.push({ bytes: rest, lastOf: old });
    if (length > bufferBytes) return this.#open = new SendBuffer(length);
    this.#open = this.#spare ?? new SendBuffer(bufferBytes);
    this.#spare = undefined;
    return this.#open;
  }

  #queuePayload(payload: Uint8Array, onWritten: (() => void) | undefined): void {
    this.#queueOpenBuffer();
    this.#queue.push({ bytes: payload, onWritten });
    this.#waitingBytes += payload.length;
  }

  #queueOpenBuffer(): void {
    const { bytes, queuedBytes, usedBytes } = this.#open;
    if (usedBytes === queuedBytes) return;
    this.#queue.push({ bytes: bytes.subarray(queuedBytes, usedBytes) });
    this.#open.queuedBytes = usedBytes;
  }

  async #writeAll(): Promise<void> {
    // Lets what is sent in the same turn join the first write.
    await Promise.resolve();
    this.#watch();
    try {
      for (;;) {
        this.#queueOpenBuffer();
        const chunk = this.#queue[0];
        if (!chunk) break;
        if (chunk.bytes.length > 0) await this.#connection.write(chunk.bytes);
        this.#queue.shift();
        this.#written(chunk);
      }
      if (this.#open.bytes.length > bufferBytes) this.#open = new SendBuffer(firstBufferBytes);
      else this.#open.empty();
    } catch {
      // The reader of this connection sees the close and fails what is under way.
      this.close();
      for (const chunk of this.#queue.splice(0)) chunk.onWritten?.();
      this.#waitingBytes = 0;
    } finally {
      this.#writing = undefined;
    }
  }

  #written(chunk: Chunk): void {
    this.#writtenChunks++;
    this.#waitingBytes -= chunk.bytes.length;
    if (chunk.lastOf?.bytes.length === bufferBytes) {
      this.#spare = chunk.lastOf;
      this.#spare.empty();
    }
    chunk.onWritten?.();
  }

  /** Hangs up on a peer that has taken nothing for a while. One timer, however many writes. */
  #watch(): void {
    if (this.#cancelWatch || this.#closed) return;
    const writtenChunks = this.#writtenChunks;
    this.#cancelWatch = this.#options.clock.setTimer(() => {
      this.#cancelWatch = undefined;
      if (!this.#writing) return;
      if (this.#writtenChunks === writtenChunks) this.close();
      else this.#watch();
    }, limits.frameTimeoutMs);
  }
}
