// What the workers of an oss know of each other, in memory that all of them see with the main thread:
// where each is reached, and what each has on disk.

import type { Usage } from "../model.ts";

/** Those that are of a worker's own objects; the others are of the file system they are on. */
const summed = ["usedBytes", "objects", "corruptBlocks", "repairedBlocks"] as const;
const fieldsPerWorker = 1 + summed.length;

export class SharedCounters {
  /** Can be sent to another thread, which makes an instance of its own of it. */
  readonly buffer: SharedArrayBuffer;
  readonly #values: BigUint64Array<SharedArrayBuffer>;

  constructor(workers: number, buffer?: SharedArrayBuffer) {
    this.buffer = buffer ?? new SharedArrayBuffer(8 * workers * fieldsPerWorker);
    this.#values = new BigUint64Array(this.buffer);
  }

  /** The port of each worker, 0 where it is not there. */
  ports(): number[] {
    const ports: number[] = [];
    for (let at = 0; at < this.#values.length; at += fieldsPerWorker) ports.push(this.#get(at));
    return ports;
  }

  setPort(worker: number, port: number): void {
    this.#set(worker * fieldsPerWorker, port);
  }

  setUsage(worker: number, usage: Usage): void {
    for (const [offset, name] of summed.entries()) {
      this.#set(worker * fieldsPerWorker + 1 + offset, usage[name]);
    }
  }

  /** Of all workers, on the file system that `own` is of. One that has died counts as it was. */
  totalUsage(own: Usage): Usage {
    const total = { ...own };
    for (const [offset, name] of summed.entries()) {
      total[name] = 0;
      for (let at = 1 + offset; at < this.#values.length; at += fieldsPerWorker) {
        total[name] += this.#get(at);
      }
    }
    return total;
  }

  #get(at: number): number {
    return Number(Atomics.load(this.#values, at));
  }

  #set(at: number, value: number): void {
    Atomics.store(this.#values, at, BigInt(value));
  }
}
