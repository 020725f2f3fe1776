// Buffers for the bytes that pass through the process, used again instead of being left to the
// garbage collector: one that gets a gigabyte of them each second falls behind.

import { assert } from "./assert.ts";
import { bytesToPage, pageBytes } from "./libc.ts";
import { limits } from "./limits.ts";

/** A smaller buffer costs less than its way through the pool. */
const lengthMin = 16 * 1024;

/**
 * Keeps buffers by size class, the powers of two, each at the start of a page where the platform can
 * say: a disk takes no others without a copy. What is taken is not bounded here: whoever takes
 * bounds that.
 */
export class BufferPool {
  readonly #idle = new Map<number, ArrayBuffer[]>();
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
    const buffer = this.#idle.get(classBytes)?.pop();
    if (buffer === undefined) return atPage(new ArrayBuffer(classBytes + pageBytes), length);
    this.#idleBytes -= classBytes;
    return atPage(buffer, length);
  }

  /** Gives back what {@link take} gave; nobody may use it any more. */
  give({ buffer }: Uint8Array): void {
    const classBytes = buffer.byteLength - pageBytes;
    if (classBytes < lengthMin) return;
    const isOurs = buffer instanceof ArrayBuffer && classOf(classBytes) === classBytes;
    assert(isOurs, "a buffer that is not of the pool");
    const idle = this.#idle.get(classBytes) ?? [];
    assert(!idle.includes(buffer), "a buffer given back twice");
    if (this.#idleBytes + classBytes > this.#idleBytesMax) return;
    idle.push(buffer);
    this.#idle.set(classBytes, idle);
    this.#idleBytes += classBytes;
  }
}

function atPage(buffer: ArrayBuffer, length: number): Uint8Array<ArrayBuffer> {
  return new Uint8Array(buffer, bytesToPage(new Uint8Array(buffer)), length);
}

/** The smallest power of two that is not below `length`. */
function classOf(length: number): number {
  return 2 ** Math.ceil(Math.log2(length));
}

/** Of this thread. */
export const bufferPool = new BufferPool(limits.pooledBytesMax);
