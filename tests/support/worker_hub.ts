// The workers of one process, for tests that run all of them in one thread.

import type {
  PeerListener,
  PeerMessages,
  Peers,
  WorkerPlace,
  WorkerSelf,
} from "../../shared/workers/peers.ts";
import { SharedCounters } from "../../shared/workers/shared_counters.ts";

export class WorkerHub {
  readonly counters: SharedCounters;
  readonly #process: string;
  readonly #count: number;
  readonly #generations: number[];
  readonly #listeners: Map<keyof PeerMessages, PeerListener<keyof PeerMessages>>[] = [];

  constructor(count: number, process = "p1") {
    this.#count = count;
    this.#process = process;
    this.#generations = Array.from({ length: count }, () => 0);
    this.counters = new SharedCounters(count);
  }

  /** The first worker of that index, or the successor of the one before. */
  worker(index: number): WorkerSelf {
    const generation = this.#generations[index]! + 1;
    this.#generations[index] = generation;
    const place: WorkerPlace = { process: this.#process, index, count: this.#count, generation };
    this.counters.setPort(index, 0);
    this.#listeners[index] = new Map();
    return { place, counters: this.counters.buffer, peers: this.#peersOf(index) };
  }

  /** Messages arrive later, as those of threads do. */
  #peersOf(self: number): Peers {
    return {
      tell: (name, message) => {
        for (const [index, listeners] of this.#listeners.entries()) {
          if (index === self || !listeners) continue;
          queueMicrotask(() => listeners.get(name)?.(structuredClone(message)));
        }
      },
      on: (name, listener) =>
        void this.#listeners[self]!.set(name, listener as PeerListener<keyof PeerMessages>),
    };
  }
}
