// The buffers of one put or get: used again and again, and at most so many at once that a file of
// any length takes the same memory. Whoever needs one waits until another is given back.

import { bufferPool } from "../../shared/buffer_pool.ts";
import { interrupted } from "../../shared/deadline.ts";
import { limits } from "../../shared/limits.ts";
import { Semaphore } from "../../shared/semaphore.ts";

/** Must not be used any more once it is disposed of. */
export interface TransferBuffer extends Disposable {
  readonly bytes: Uint8Array<ArrayBuffer>;
}

export class TransferBuffers {
  readonly #room = new Semaphore(limits.transferBufferBytes);

  /** Bytes in buffers that are taken. */
  get inUseBytes(): number {
    return this.#room.inUse;
  }

  /** A buffer of so many bytes, at most limits.transferBytes, whatever it was left with. */
  async take(lengthBytes: number, signal: AbortSignal | undefined): Promise<TransferBuffer> {
    try {
      if (!this.#room.tryAcquire(lengthBytes)) await this.#room.acquire(lengthBytes, signal);
    } catch {
      // Only the signal ends the wait.
      throw interrupted(signal!);
    }
    const bytes = bufferPool.take(lengthBytes);
    return {
      bytes,
      [Symbol.dispose]: () => {
        bufferPool.give(bytes);
        this.#room.release(lengthBytes);
      },
    };
  }
}
