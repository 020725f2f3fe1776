// Writes frames to a connection; those that are sent while a write is under way leave together in
// the next. Payloads in files go from there to the connection. Notices a peer that does not read.

import { assert } from "../assert.ts";
import { bufferPool } from "../buffer_pool.ts";
import {
  type Clock,
  type Connection,
  type FileRange,
  type GatheredPayload,
  partsOf,
  type Payload,
  payloadBytesOf,
} from "../environment.ts";
import { isRustreError, RustreError } from "../errors.ts";
import { readRange, readStart, restOf } from "../file_ranges.ts";
import { limits } from "../limits.ts";
import { loggerOf } from "../logging.ts";
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
/** In the place of what a file was to have and has not. */
const zeros = new Uint8Array(bufferBytes);

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
  readonly bytes: Payload;
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
  /** Goes up with everything that the transport takes. */
  #progress = 0;
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
   * slow to read. The payload must not change, or its file be closed, until `onWritten`, which is
   * called once: when the transport has it, when it has been copied, or when it never will be sent.
   * A failed write closes the connection, which its reader notices. Throws BAD_REQUEST on a body
   * that the other side would refuse and the file's error where a small payload cannot be read, and
   * queues nothing then.
   *
   * A file that is shorter than announced is filled up with zeros: without them the frame would not
   * end, and all calls of the connection were lost. The checksums that travel with data tell.
   */
  send(
    header: { kind: FrameKind; opcode: number; requestId: number },
    body: unknown,
    payload: GatheredPayload = emptyPayload,
    onWritten?: () => void,
  ): void {
    const encoded = encodeBody(body);
    const payloadBytes = payloadBytesOf(payload);
    assert(payloadBytes <= limits.framePayloadBytesMax, "a payload over the limit");
    const { bodyBytesMax } = this.#options;
    if (encoded.length > bodyBytesMax) {
      const sizes = `${encoded.length} bytes, at most ${bodyBytesMax} are allowed`;
      throw new RustreError("BAD_REQUEST", `Cannot send a message of ${sizes}`);
    }
    if (this.#closed) return onWritten?.();
    const isInline = payloadBytes < coalesceBytesMax;
    const length = headerBytes + encoded.length + (isInline ? payloadBytes : 0);
    const { kind, opcode, requestId } = header;
    const sizes = { bodyBytes: encoded.length, payloadBytes };
    const buffer = this.#bufferFor(length);
    const start = buffer.usedBytes;
    encodeHeader(buffer.view, start, { kind, opcode, requestId, ...sizes });
    buffer.bytes.set(encoded, start + headerBytes);
    if (isInline && payloadBytes > 0) {
      fill(buffer.bytes.subarray(start + length - payloadBytes, start + length), payload);
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

  #queuePayload(payload: GatheredPayload, onWritten: (() => void) | undefined): void {
    this.#queueOpenBuffer();
    const parts = partsOf(payload);
    for (const [index, bytes] of parts.entries()) {
      this.#queue.push({ bytes, onWritten: index === parts.length - 1 ? onWritten : undefined });
    }
    this.#waitingBytes += payloadBytesOf(payload);
  }

  #queueOpenBuffer(): void {
    const { bytes, queuedBytes, usedBytes } = this.#open;
    if (usedBytes === queuedBytes) return;
    this.#queue.push({ bytes: bytes.subarray(queuedBytes, usedBytes) });
    this.#open.queuedBytes = usedBytes;
  }

  async #writeAll(): Promise<void> {
    // Lets what is sent in the same turn join the first write.
    await (this.#connection.gather?.() ?? Promise.resolve());
    this.#watch();
    try {
      for (;;) {
        this.#queueOpenBuffer();
        const chunk = this.#queue[0];
        if (!chunk) break;
        if (chunk.bytes instanceof Uint8Array) await this.#writeBytes(chunk.bytes);
        else await this.#writeFile(chunk.bytes);
        this.#queue.shift();
        this.#written(chunk);
      }
      if (this.#open.bytes.length > bufferBytes) this.#open = new SendBuffer(firstBufferBytes);
      else this.#open.empty();
    } catch (error) {
      // The reader of this connection sees the close and fails what is under way.
      this.close();
      if (!isRustreError(error, "CONNECTION_LOST")) this.#logFailure(error);
      for (const chunk of this.#queue.splice(0)) chunk.onWritten?.();
      this.#waitingBytes = 0;
    } finally {
      this.#writing = undefined;
    }
  }

  async #writeBytes(bytes: Uint8Array): Promise<void> {
    if (bytes.length > 0) await this.#connection.write(bytes);
    this.#progress++;
  }

  /** In pieces, so that a file that takes long shows progress. */
  async #writeFile(range: FileRange): Promise<void> {
    for (let sent = 0; sent < range.lengthBytes;) {
      const rest = restOf(range, sent);
      const piece = { ...rest, lengthBytes: Math.min(rest.lengthBytes, limits.fileTurnBytes) };
      const count = await (this.#connection.sendFile?.(piece) ?? this.#copyFile(piece));
      this.#progress++;
      sent += count;
      if (count < piece.lengthBytes) return await this.#writeZeros(range.lengthBytes - sent);
    }
  }

  /** As {@link Connection.sendFile}. */
  async #copyFile(range: FileRange): Promise<number> {
    const buffer = bufferPool.take(Math.min(range.lengthBytes, limits.fileCopyBytes));
    let sent = 0;
    while (sent < range.lengthBytes) {
      // The file may be closed by now, and its descriptor another one's.
      if (this.#closed) throw new RustreError("CONNECTION_LOST", "The connection is closed");
      const count = readStart(restOf(range, sent), buffer.subarray(0, range.lengthBytes - sent));
      if (count === 0) break;
      await this.#connection.write(buffer.subarray(0, count));
      sent += count;
    }
    // Not after a failure: who knows whether the platform is done with it.
    bufferPool.give(buffer);
    return sent;
  }

  async #writeZeros(lengthBytes: number): Promise<void> {
    for (let rest = lengthBytes; rest > 0; rest -= zeros.length) {
      await this.#writeBytes(zeros.subarray(0, rest));
    }
  }

  #written(chunk: Chunk): void {
    this.#waitingBytes -= payloadBytesOf(chunk.bytes);
    if (chunk.lastOf?.bytes.length === bufferBytes) {
      this.#spare = chunk.lastOf;
      this.#spare.empty();
    }
    chunk.onWritten?.();
  }

  #logFailure(error: unknown): void {
    const fields = { remote: this.#connection.remote, error };
    loggerOf("net").error("Closed a connection that a file could not be sent to", fields);
  }

  /** Hangs up on a peer that has taken nothing for a while. One timer, however many writes. */
  #watch(): void {
    if (this.#cancelWatch || this.#closed) return;
    const progress = this.#progress;
    this.#cancelWatch = this.#options.clock.setTimer(() => {
      this.#cancelWatch = undefined;
      if (!this.#writing) return;
      if (this.#progress === progress) this.close();
      else this.#watch();
    }, limits.frameTimeoutMs);
  }
}

function fill(into: Uint8Array, payload: GatheredPayload): void {
  let start = 0;
  for (const part of partsOf(payload)) {
    const place = into.subarray(start, start + payloadBytesOf(part));
    if (part instanceof Uint8Array) place.set(part);
    else place.fill(0, readRange(part, place));
    start += place.length;
  }
}
