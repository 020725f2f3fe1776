// Frames on a connection: `fixed header | MessagePack body | raw payload`. Reads and checks them,
// writes and coalesces them; knows nothing of methods. docs/protocol.md has the byte table.

import { Decoder, Encoder } from "@msgpack/msgpack";
import { assert } from "../assert.ts";
import type { Clock, Connection } from "../environment.ts";
import { RustreError } from "../errors.ts";
import { limits } from "../limits.ts";

/** "RSTR", little-endian. */
const magic = 0x5254_5352;
/** Of the header itself; what the bodies mean is the protocol version of the hello. */
const frameVersion = 1;

export const frameKind = { request: 0, reply: 1, error: 2 } as const;
export type FrameKind = (typeof frameKind)[keyof typeof frameKind];

export interface FrameHeader {
  readonly kind: FrameKind;
  readonly opcode: number;
  /** Chosen by the caller; the reply carries it back. */
  readonly requestId: number;
  readonly bodyBytes: number;
  readonly payloadBytes: number;
}

export interface Frame extends FrameHeader {
  /** The decoded body, or `undefined` where it was no MessagePack. Not validated. */
  readonly body: unknown;
  readonly payload: Uint8Array;
}

const emptyPayload = new Uint8Array(0);
/** Payloads below this are copied next to their header, so that one write sends both. */
const coalesceBytesMax = 16 * 1024;
const bufferBytes = 64 * 1024;

export function encodeHeader(into: Uint8Array, offset: number, header: FrameHeader): void {
  const view = new DataView(into.buffer, into.byteOffset + offset, limits.frameHeaderBytes);
  view.setUint32(0, magic, true);
  view.setUint8(4, frameVersion);
  view.setUint8(5, header.kind);
  view.setUint16(6, header.opcode, true);
  view.setUint32(8, header.requestId, true);
  view.setUint32(12, header.bodyBytes, true);
  view.setUint32(16, header.payloadBytes, true);
  view.setUint32(20, 0, true);
}

/** Throws BAD_FRAME or WRONG_VERSION on anything that this version does not write. */
export function decodeHeader(from: Uint8Array, bodyBytesMax: number): FrameHeader {
  const view = new DataView(from.buffer, from.byteOffset, limits.frameHeaderBytes);
  if (view.getUint32(0, true) !== magic) {
    throw new RustreError("BAD_FRAME", "Cannot read a frame: it does not start as one");
  }
  const version = view.getUint8(4);
  if (version !== frameVersion) {
    throw new RustreError("WRONG_VERSION", `Cannot read a frame of version ${version}`);
  }
  const kind = view.getUint8(5);
  if (kind !== 0 && kind !== 1 && kind !== 2) {
    throw new RustreError("BAD_FRAME", `Cannot read a frame of kind ${kind}`);
  }
  const bodyBytes = view.getUint32(12, true);
  const payloadBytes = view.getUint32(16, true);
  if (bodyBytes > bodyBytesMax || payloadBytes > limits.framePayloadBytesMax) {
    throw new RustreError(
      "BAD_FRAME",
      `Cannot read a frame of ${bodyBytes} + ${payloadBytes} bytes: at most ${bodyBytesMax} + ` +
        `${limits.framePayloadBytesMax} are allowed`,
    );
  }
  if (view.getUint32(20, true) !== 0) {
    throw new RustreError("BAD_FRAME", "Cannot read a frame: its reserved bytes are not zero");
  }
  const opcode = view.getUint16(6, true);
  return { kind, opcode, requestId: view.getUint32(8, true), bodyBytes, payloadBytes };
}

function newDecoder(): Decoder<undefined> {
  const elements = limits.bodyElementsMax;
  return new Decoder({ useBigInt64: true, maxArrayLength: elements, maxMapLength: elements });
}

export interface FrameReaderOptions {
  readonly clock: Clock;
  readonly bodyBytesMax: number;
  /** Waits until a payload of so many bytes may be held; called before it is allocated. */
  readonly reservePayload?: (bytes: number) => Promise<void>;
}

/** Reads one frame after the other. Not for concurrent use. */
export class FrameReader {
  readonly #connection: Connection;
  readonly #options: FrameReaderOptions;
  #buffer = new Uint8Array(bufferBytes);
  #start = 0;
  #end = 0;
  #decoder = newDecoder();

  constructor(connection: Connection, options: FrameReaderOptions) {
    this.#connection = connection;
    this.#options = options;
  }

  /**
   * The next frame, or `null` at a clean end of the stream. Throws BAD_FRAME, WRONG_VERSION, or
   * CONNECTION_LOST where the stream ends or stalls within a frame; the connection is of no use
   * then.
   */
  async next(): Promise<Frame | null> {
    if (this.#end === this.#start && !(await this.#fill())) return null;
    if (this.#end - this.#start < limits.frameHeaderBytes) {
      await this.#withStallTimer(() => this.#fillTo(limits.frameHeaderBytes));
    }
    const header = decodeHeader(this.#buffer.subarray(this.#start), this.#options.bodyBytesMax);
    this.#start += limits.frameHeaderBytes;
    if (this.#end - this.#start < header.bodyBytes) {
      await this.#withStallTimer(() => this.#fillTo(header.bodyBytes));
    }
    const body = this.#decodeBody(header.bodyBytes);
    const payload = header.payloadBytes > 0 ? await this.#payload(header) : emptyPayload;
    return { ...header, body, payload };
  }

  #decodeBody(length: number): unknown {
    const bytes = this.#buffer.subarray(this.#start, this.#start + length);
    this.#start += length;
    try {
      return this.#decoder.decode(bytes);
    } catch {
      // No MessagePack: the server answers BAD_REQUEST. The decoder may hold the stack that such
      // bytes made it grow, so it goes.
      this.#decoder = newDecoder();
      return undefined;
    }
  }

  async #payload(header: FrameHeader): Promise<Uint8Array> {
    await this.#options.reservePayload?.(header.payloadBytes);
    const payload = new Uint8Array(header.payloadBytes);
    const buffered = Math.min(this.#end - this.#start, payload.length);
    payload.set(this.#buffer.subarray(this.#start, this.#start + buffered));
    this.#start += buffered;
    if (buffered < payload.length) {
      await this.#withStallTimer(() => this.#readInto(payload, buffered));
    }
    return payload;
  }

  async #readInto(target: Uint8Array, offset: number): Promise<void> {
    while (offset < target.length) {
      const count = await this.#connection.read(target.subarray(offset));
      if (count === null) throw this.#lost("ended within a frame");
      offset += count;
    }
  }

  /** Reads until `length` bytes are buffered in one piece. */
  async #fillTo(length: number): Promise<void> {
    while (this.#end - this.#start < length) {
      if (this.#buffer.length - this.#start < length) this.#makeRoom(length);
      if (!(await this.#fill())) throw this.#lost("ended within a frame");
    }
  }

  async #fill(): Promise<boolean> {
    if (this.#start === this.#end) this.#start = this.#end = 0;
    if (this.#end === this.#buffer.length) this.#makeRoom(this.#end - this.#start + 1);
    const count = await this.#connection.read(this.#buffer.subarray(this.#end));
    if (count === null) return false;
    this.#end += count;
    return true;
  }

  /** Moves what is buffered to the front of a buffer that holds `length` bytes. */
  #makeRoom(length: number): void {
    const buffered = this.#buffer.subarray(this.#start, this.#end);
    if (length > this.#buffer.length || this.#buffer.length > bufferBytes) {
      const larger = new Uint8Array(Math.max(length, bufferBytes));
      larger.set(buffered);
      this.#buffer = larger;
    } else {
      this.#buffer.copyWithin(0, this.#start, this.#end);
    }
    this.#end -= this.#start;
    this.#start = 0;
  }

  /** A peer that stops in the middle of a frame does not keep the connection for ever. */
  async #withStallTimer(read: () => Promise<void>): Promise<void> {
    let stalled = false;
    const cancel = this.#options.clock.setTimer(() => {
      stalled = true;
      this.#connection.close();
    }, limits.frameTimeoutMs);
    try {
      await read();
    } catch (error) {
      throw stalled ? this.#lost("stalled within a frame") : error;
    } finally {
      cancel();
    }
  }

  #lost(how: string): RustreError {
    return new RustreError(
      "CONNECTION_LOST",
      `The connection to ${this.#connection.remote} ${how}`,
    );
  }
}

interface Chunk {
  readonly bytes: Uint8Array;
  /** The coalescing buffer that the bytes lie in, to be used again. */
  readonly ownBuffer?: Uint8Array<ArrayBuffer>;
  readonly onWritten?: (() => void) | undefined;
}

/** Writes frames; those that are sent while a write is under way leave together in the next. */
export class FrameWriter {
  readonly #connection: Connection;
  readonly #encoder = new Encoder({ useBigInt64: true, ignoreUndefined: true });
  readonly #bodyBytesMax: number;
  readonly #queue: Chunk[] = [];
  #open = new Uint8Array(bufferBytes);
  #openBytes = 0;
  #spare: Uint8Array<ArrayBuffer> | undefined;
  #queuedBytes = 0;
  #writing: Promise<void> | undefined;

  constructor(connection: Connection, options: { bodyBytesMax: number }) {
    this.#connection = connection;
    this.#bodyBytesMax = options.bodyBytesMax;
  }

  /**
   * Queues a frame. Callers bound what they have under way, and wait for `room` where a peer may be
   * slow to read. `onWritten` is called once, when the payload has left or never will. A failed write closes the connection, which its reader notices. Throws BAD_REQUEST
   * on a body that the other side would refuse, and queues nothing then.
   */
  send(
    header: { kind: FrameKind; opcode: number; requestId: number },
    body: unknown,
    payload: Uint8Array = emptyPayload,
    onWritten?: () => void,
  ): void {
    const encoded = this.#encoder.encodeSharedRef(body);
    const { kind, opcode, requestId } = header;
    assert(payload.length <= limits.framePayloadBytesMax, "a payload over the limit");
    if (encoded.length > this.#bodyBytesMax) {
      const sizes = `${encoded.length} bytes, at most ${this.#bodyBytesMax} are allowed`;
      throw new RustreError("BAD_REQUEST", `Cannot send a message of ${sizes}`);
    }
    const inline = payload.length < coalesceBytesMax ? payload.length : 0;
    const bytes = this.#reserve(limits.frameHeaderBytes + encoded.length + inline);
    const sizes = { bodyBytes: encoded.length, payloadBytes: payload.length };
    encodeHeader(bytes, 0, { kind, opcode, requestId, ...sizes });
    bytes.set(encoded, limits.frameHeaderBytes);
    if (inline > 0) bytes.set(payload, limits.frameHeaderBytes + encoded.length);
    if (payload.length > inline || onWritten) {
      this.#closeOpenBuffer();
      this.#queue.push({ bytes: payload.subarray(inline), onWritten });
    }
    this.#queuedBytes += bytes.length + payload.length - inline;
    this.#writing ??= this.#drain();
  }

  /** Resolves at once unless more than limits.replyQueueBytesMax wait, else when those have left. */
  async room(): Promise<void> {
    if (this.#queuedBytes > limits.replyQueueBytesMax) await this.#writing;
  }

  /** Resolves when everything that was sent has been handed to the transport. */
  async flushed(): Promise<void> {
    await this.#writing;
  }

  #reserve(length: number): Uint8Array {
    if (this.#openBytes + length > this.#open.length) {
      this.#closeOpenBuffer();
      if (length > this.#open.length) {
        const large = new Uint8Array(length);
        this.#queue.push({ bytes: large });
        return large;
      }
    }
    const reserved = this.#open.subarray(this.#openBytes, this.#openBytes + length);
    this.#openBytes += length;
    return reserved;
  }

  #closeOpenBuffer(): void {
    if (this.#openBytes === 0) return;
    this.#queue.push({ bytes: this.#open.subarray(0, this.#openBytes), ownBuffer: this.#open });
    this.#open = this.#spare ?? new Uint8Array(bufferBytes);
    this.#spare = undefined;
    this.#openBytes = 0;
  }

  async #drain(): Promise<void> {
    // Lets what is sent in the same turn join the first write.
    await Promise.resolve();
    try {
      for (;;) {
        this.#closeOpenBuffer();
        const chunk = this.#queue[0];
        if (!chunk) break;
        if (chunk.bytes.length > 0) await this.#connection.write(chunk.bytes);
        this.#queue.shift();
        this.#queuedBytes -= chunk.bytes.length;
        this.#spare ??= chunk.ownBuffer;
        chunk.onWritten?.();
      }
    } catch {
      // The reader of this connection sees the close and fails what is under way.
      this.#connection.close();
      for (const chunk of this.#queue.splice(0)) chunk.onWritten?.();
      this.#queuedBytes = 0;
    } finally {
      this.#writing = undefined;
    }
  }
}
