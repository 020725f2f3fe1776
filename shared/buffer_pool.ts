// Buffers for the bytes that pass through the process, used again instead of being left to the
// garbage collector: one that gets a gigabyte of them each second falls behind.

import { assert } from "./assert.ts";
import { bytesToPage, largePageBytes, pageBytes, preferLargePages } from "./libc.ts";
import { limits } from "./limits.ts";

/** A smaller buffer costs less than its way through the pool. */
const lengthMin = 16 * 1024;

/**
 * Keeps buffers by size class, the powers of two, each at the start of a page where the platform can
 * say: a disk takes no others without a copy. Large ones are of large pages. What is taken is not
 * bounded here: whoever takes bounds that.
 */
export class BufferPool {
  readonly #idle = new Map<number, Uint8Array<ArrayBuffer>[]>();
  /** Of each buffer that was made here, what there is to give away: its class's length, at a page. */
  readonly #wholes = new WeakMap<ArrayBufferLike, Uint8Array<ArrayBuffer>>();
  readonly #idleBytesMax: number;
  #idleBytes = 0;

  constructor(idleBytesMax: number) {
    this.#idleBytesMax = idleBytesMax;
  }

  /** Bytes of the buffers that wait to be used again. */
  get idleBytes(): number {
    return this.#idleBytes;
  }

  /** `length` bytes, whatever they were left as. */
  take(length: number): Uint8Array<ArrayBuffer> {
    if (length < lengthMin) return new Uint8Array(length);
    const classBytes = classOf(length);
    const whole = this.#idle.get(classBytes)?.pop();
    if (whole === undefined) return this.#make(classBytes).subarray(0, length);
    this.#idleBytes -= classBytes;
    return whole.subarray(0, length);
  }

  /** Gives back what {@link take} gave; nobody may use it any more. */
  give({ buffer }: Uint8Array): void {
    if (buffer.byteLength < lengthMin) return;
    const whole = this.#wholes.get(buffer);
    assert(whole, "a buffer that is not of the pool");
    const classBytes = whole.length;
    const idle = this.#idle.get(classBytes) ?? [];
    assert(!idle.includes(whole), "a buffer given back twice");
    if (this.#idleBytes + classBytes > this.#idleBytesMax) return;
    idle.push(whole);
    this.#idle.set(classBytes, idle);
    this.#idleBytes += classBytes;
  }

  #make(classBytes: number): Uint8Array<ArrayBuffer> {
    const isLarge = classBytes >= largePageBytes;
    const boundaryBytes = isLarge ? largePageBytes : pageBytes;
    const buffer = new ArrayBuffer(classBytes + boundaryBytes);
    const start = bytesToPage(new Uint8Array(buffer), boundaryBytes);
    const whole = new Uint8Array(buffer, start, classBytes);
    if (isLarge) preferLargePages(whole);
    this.#wholes.set(buffer, whole);
    return whole;
  }
}

/** The smallest power of two that is not below `length`. */
function classOf(length: number): number {
  return 2 ** Math.ceil(Math.log2(length));
}

/** Of this thread. */
export const bufferPool = new BufferPool(limits.pooledBytesMax);
