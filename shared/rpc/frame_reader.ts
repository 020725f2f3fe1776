// Reads frames from a connection, however its bytes are cut. Checks their lengths before anything is
// allocated, and asks for room before a payload is.

import { assert } from "../assert.ts";
import type { Clock, Connection } from "../environment.ts";
import { RustreError } from "../errors.ts";
import { limits } from "../limits.ts";
import {
  bufferBytes,
  decodeHeader,
  firstBufferBytes,
  type Frame,
  type FrameBounds,
  type FrameHeader,
  headerBytes,
} from "./frame.ts";
import { decodeBody } from "./message_pack.ts";

const emptyPayload = new Uint8Array(0);

/** Bounds the payload that is held. */
export interface PayloadRoom {
  tryAcquire(bytes: number): boolean;
  acquire(bytes: number): Promise<void>;
  release(bytes: number): void;
}

/** Gives a buffer of its length for each payload that is received. */
export type PayloadBuffers = (header: FrameHeader) => Uint8Array;

const newBuffer: PayloadBuffers = ({ payloadBytes }) => new Uint8Array(payloadBytes);

export interface FrameReaderOptions extends FrameBounds {
  readonly clock: Clock;
}

/** Reads one frame after the other. Not for concurrent use. */
export class FrameReader {
  readonly #connection: Connection;
  readonly #clock: Clock;
  #bounds: FrameBounds;
  #payloadRoom: PayloadRoom | undefined;
  #payloadBuffers = newBuffer;
  #buffer = new Uint8Array(firstBufferBytes);
  #view = new DataView(this.#buffer.buffer);
  #start = 0;
  #end = 0;
  #timesEmptied = 0;
  /** Since when it waits for the rest of a frame, on the monotonic clock. */
  #waitingSinceMs: number | undefined;
  #cancelWatch: (() => void) | undefined;
  #stalled = false;
  #closed = false;

  constructor(connection: Connection, options: FrameReaderOptions) {
    this.#connection = connection;
    this.#clock = options.clock;
    this.#bounds = options;
  }

  /** How often a read got less than it had room for: all that had arrived by then. */
  get timesEmptied(): number {
    return this.#timesEmptied;
  }

  /**
   * From now on a frame may have so much payload. Room for it is acquired before the payload is
   * received; releasing it is up to whoever gets the frame.
   */
  allowPayload(payloadBytesMax: number, room: PayloadRoom): void {
    this.#bounds = { bodyBytesMax: this.#bounds.bodyBytesMax, payloadBytesMax };
    this.#payloadRoom = room;
  }

  /**
   * From now on payloads are received into the buffers that `buffers` gives. What it throws ends the
   * connection as a bad frame does.
   */
  receiveInto(buffers: PayloadBuffers): void {
    this.#payloadBuffers = buffers;
  }

  /**
   * The next frame, or `null` at a clean end of the stream. Throws BAD_FRAME, WRONG_VERSION, or
   * CONNECTION_LOST where the stream ends or stalls within a frame; the connection is of no use
   * then.
   */
  async next(): Promise<Frame | null> {
    try {
      const frame = await this.#next();
      if (frame === null) this.close();
      return frame;
    } catch (error) {
      this.close();
      throw error;
    }
  }

  /** No frame is read any more. Idempotent. */
  close(): void {
    this.#cancelWatch?.();
    this.#cancelWatch = undefined;
    this.#closed = true;
  }

  async #next(): Promise<Frame | null> {
    if (this.#end === this.#start && !(await this.#fill())) return null;
    const frame = this.buffered();
    if (frame) return frame;
    if (this.#end - this.#start < headerBytes) {
      await this.#unlessStalled(() => this.#fillTo(headerBytes));
    }
    const header = decodeHeader(this.#view, this.#start, this.#bounds);
    const leadBytes = headerBytes + header.bodyBytes;
    if (this.#end - this.#start < leadBytes) {
      await this.#unlessStalled(() => this.#fillTo(leadBytes));
    }
    this.#start += headerBytes;
    const body = this.#takeBody(header.bodyBytes);
    const payload = header.payloadBytes > 0 ? await this.#receivePayload(header) : emptyPayload;
    return frameOf(header, body, payload);
  }

  /** The next frame if all of it is here, and room for its payload too. Throws as {@link next}. */
  buffered(): Frame | undefined {
    const availableBytes = this.#end - this.#start;
    if (availableBytes < headerBytes) return undefined;
    const header = decodeHeader(this.#view, this.#start, this.#bounds);
    const { bodyBytes, payloadBytes } = header;
    if (availableBytes < headerBytes + bodyBytes + payloadBytes) return undefined;
    const room = this.#payloadRoom;
    if (payloadBytes > 0 && room && !room.tryAcquire(payloadBytes)) return undefined;
    this.#start += headerBytes;
    const body = this.#takeBody(bodyBytes);
    const payload = payloadBytes > 0 ? this.#payloadBuffers(header) : emptyPayload;
    this.#takePayload(payload);
    return frameOf(header, body, payload);
  }

  #takeBody(length: number): unknown {
    const bytes = this.#buffer.subarray(this.#start, this.#start + length);
    this.#start += length;
    return decodeBody(bytes);
  }

  /** Takes what is buffered of a payload; says how many bytes. */
  #takePayload(payload: Uint8Array): number {
    const count = Math.min(this.#end - this.#start, payload.length);
    payload.set(this.#buffer.subarray(this.#start, this.#start + count));
    this.#start += count;
    return count;
  }

  async #receivePayload(header: FrameHeader): Promise<Uint8Array> {
    const { payloadBytes } = header;
    await this.#payloadRoom?.acquire(payloadBytes);
    try {
      const payload = this.#payloadBuffers(header);
      assert(payload.length === payloadBytes, "a buffer of another length than its payload");
      const count = this.#takePayload(payload);
      if (count < payloadBytes) {
        await this.#unlessStalled(() => this.#readInto(payload, count));
      }
      return payload;
    } catch (error) {
      this.#payloadRoom?.release(payloadBytes);
      throw error;
    }
  }

  async #readInto(target: Uint8Array, offset: number): Promise<void> {
    const connection = this.#connection;
    const isLarge = target.length - offset >= bufferBytes;
    while (offset < target.length) {
      if (isLarge) connection.expect?.(target.length - offset);
      const count = await connection.read(target.subarray(offset));
      if (count === null) throw this.#lost("ended within a frame");
      if (count < target.length - offset) this.#timesEmptied++;
      offset += count;
    }
    if (isLarge) connection.expect?.(1);
  }

  /** Reads until `length` bytes are buffered in one piece. */
  async #fillTo(length: number): Promise<void> {
    while (this.#end - this.#start < length) {
      if (this.#buffer.length - this.#start < length) this.#moveToFront(length);
      if (!(await this.#fill())) throw this.#lost("ended within a frame");
    }
  }

  /** Reads what is there into the rest of the buffer. */
  async #fill(): Promise<boolean> {
    if (this.#start === this.#end) this.#empty();
    if (this.#end === this.#buffer.length) this.#moveToFront(bufferBytes);
    const space = this.#buffer.length - this.#end;
    const count = await this.#connection.read(this.#buffer.subarray(this.#end));
    if (count === null) return false;
    if (count < space) this.#timesEmptied++;
    this.#end += count;
    if (count === space && this.#buffer.length < bufferBytes) this.#moveToFront(bufferBytes);
    return true;
  }

  /** One large body does not keep a large buffer. */
  #empty(): void {
    this.#start = this.#end = 0;
    if (this.#buffer.length > bufferBytes) this.#use(new Uint8Array(bufferBytes));
  }

  /** Moves what is buffered to the front of a buffer that holds `length` bytes. */
  #moveToFront(length: number): void {
    const buffered = this.#buffer.subarray(this.#start, this.#end);
    if (length > this.#buffer.length) {
      const larger = new Uint8Array(Math.max(length, bufferBytes));
      larger.set(buffered);
      this.#use(larger);
    } else {
      this.#buffer.copyWithin(0, this.#start, this.#end);
    }
    this.#end = buffered.length;
    this.#start = 0;
  }

  #use(buffer: Uint8Array<ArrayBuffer>): void {
    this.#buffer = buffer;
    this.#view = new DataView(buffer.buffer);
  }

  /** A peer that stops in the middle of a frame does not keep the connection for ever. */
  async #unlessStalled(read: () => Promise<void>): Promise<void> {
    this.#waitingSinceMs = this.#clock.monotonicMs();
    if (!this.#cancelWatch) this.#watch(limits.frameTimeoutMs);
    try {
      await read();
    } catch (error) {
      throw this.#stalled ? this.#lost("stalled within a frame") : error;
    } finally {
      this.#waitingSinceMs = undefined;
    }
  }

  /** One timer for many frames: to set and cancel one for each costs as much as to read a small one. */
  #watch(delayMs: number): void {
    if (this.#closed) return;
    this.#cancelWatch = this.#clock.setTimer(() => {
      this.#cancelWatch = undefined;
      if (this.#waitingSinceMs === undefined) return;
      const endMs = this.#waitingSinceMs + limits.frameTimeoutMs;
      const leftMs = endMs - this.#clock.monotonicMs();
      if (leftMs > 0) return this.#watch(leftMs);
      this.#stalled = true;
      this.#connection.close();
    }, delayMs);
  }

  #lost(how: string): RustreError {
    return new RustreError(
      "CONNECTION_LOST",
      `The connection to ${this.#connection.remote} ${how}`,
    );
  }
}

function frameOf(header: FrameHeader, body: unknown, payload: Uint8Array): Frame {
  const { kind, opcode, requestId, bodyBytes, payloadBytes } = header;
  return { kind, opcode, requestId, bodyBytes, payloadBytes, body, payload };
}
