// Buffers for the bytes that pass through the process, used again instead of being left to the
// garbage collector: one that gets a gigabyte of them each second falls behind.

import { assert } from "./assert.ts";
import { limits } from "./limits.ts";

/** A smaller buffer costs less than its way through the pool. */
const lengthMin = 16 * 1024;

/**
 * Keeps buffers by size class, the powers of two. What is taken is not bounded here: whoever takes
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
    if (buffer === undefined) return new Uint8Array(new ArrayBuffer(classBytes), 0, length);
    this.#idleBytes -= classBytes;
    return new Uint8Array(buffer, 0, length);
  }

  /** Gives back what {@link take} gave; nobody may use it any more. */
  give({ buffer }: Uint8Array): void {
    const classBytes = buffer.byteLength;
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

/** The smallest power of two that is not below `length`. */
function classOf(length: number): number {
  return 2 ** Math.ceil(Math.log2(length));
}

/** Of this thread. */
export const bufferPool = new BufferPool(limits.pooledBytesMax);
