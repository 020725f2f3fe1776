// Starts the workers of a process, gives each dead one a successor, and stops them. What a worker
// does is nothing to it; the threads come in from outside, so a test needs none.

import type { Clock } from "../environment.ts";
import { type ErrorCode, RustreError } from "../errors.ts";
import { limits } from "../limits.ts";
import type { Logger } from "../logging.ts";
import type { PeerMessages, WorkerPlace } from "./peers.ts";

/** One message of a worker to the others. */
export interface PeerMessage {
  readonly type: "peer";
  readonly name: keyof PeerMessages;
  readonly message: PeerMessages[keyof PeerMessages];
}

/** What a thread is told. Whoever starts it has told it what to do already. */
export type ToWorker = PeerMessage | { readonly type: "stop" };

/** What a thread tells. */
export type FromWorker =
  | PeerMessage
  /** It serves. `ready`: what the process prints where this is worker 0. */
  | { readonly type: "ready"; readonly ready: string }
  /** It cannot start, and has ended. */
  | { readonly type: "failed"; readonly code: ErrorCode; readonly reason: string }
  /** It met a bug, and has ended. */
  | { readonly type: "died"; readonly reason: string }
  /** As it was told. */
  | { readonly type: "stopped" }
  | { readonly type: "log"; readonly role: string; readonly line: string };

export interface WorkerThread {
  post(message: ToWorker): void;
  /** Ends it at once, and closes what it has open. Idempotent. */
  terminate(): void;
}

export interface WorkerPoolOptions {
  readonly clock: Clock;
  readonly log: Logger;
  /** Never the same for two processes; see {@link WorkerPlace}. */
  readonly process: string;
  readonly count: number;
  /** Starts a thread. It may call `receive` until it is terminated, but not before this returns. */
  readonly startThread: (
    place: WorkerPlace,
    receive: (message: FromWorker) => void,
  ) => WorkerThread;
  /** One has ended, and its successor is not there yet. */
  readonly onEnd: (index: number) => void;
  readonly onLog: (role: string, line: string) => void;
  /** Worker 0 is told to stop when the others have. */
  readonly firstStopsLast: boolean;
}

interface Slot {
  readonly index: number;
  generation: number;
  /** Absent between the end of one and the start of the next. */
  thread: WorkerThread | undefined;
  /** On the monotonic clock. */
  startedMs: number;
  /** Whether it has answered that it serves. */
  isReady: boolean;
  /** Whether it or one before it has. */
  wasReady: boolean;
  /** In a row, each soon after its start. */
  deaths: number;
  cancelRestart: () => void;
  /** Settles with the first worker of this slot. */
  readonly firstReady: PromiseWithResolvers<string>;
  readonly stopped: PromiseWithResolvers<void>;
}

export class WorkerPool {
  /** Rejects when workers die again and again: the process cannot serve. Never resolves. */
  readonly failed: Promise<never>;
  readonly #options: WorkerPoolOptions;
  readonly #slots: Slot[];
  readonly #failure = Promise.withResolvers<never>();
  #stopping: Promise<void> | undefined;

  constructor(options: WorkerPoolOptions) {
    this.#options = options;
    this.failed = this.#failure.promise;
    // Whoever waits gets it; where nobody does, the process is stopping anyway.
    this.failed.catch(() => {});
    this.#slots = Array.from({ length: options.count }, (_, index) => newSlot(index));
  }

  /**
   * Resolves to what worker 0 says when all serve; rejects where one cannot start. The caller stops
   * the pool in both cases.
   */
  async start(): Promise<string> {
    for (const slot of this.#slots) this.#launch(slot);
    const [ready = ""] = await Promise.all(this.#slots.map(({ firstReady }) => firstReady.promise));
    return ready;
  }

  /** Lets all finish what is under way, and ends those that take too long. Idempotent. */
  stop(): Promise<void> {
    return this.#stopping ??= this.#stop();
  }

  async #stop(): Promise<void> {
    const [first, ...others] = this.#slots;
    if (!first) return;
    const cancel = this.#options.clock.setTimer(() => {
      for (const slot of this.#slots) this.#end(slot);
    }, limits.workerStopMs);
    if (this.#options.firstStopsLast) await this.#stopSlots(others);
    await this.#stopSlots(this.#options.firstStopsLast ? [first] : this.#slots);
    cancel();
  }

  async #stopSlots(slots: readonly Slot[]): Promise<void> {
    for (const slot of slots) {
      slot.cancelRestart();
      if (slot.thread) slot.thread.post({ type: "stop" });
      else slot.stopped.resolve();
    }
    await Promise.all(slots.map(({ stopped }) => stopped.promise));
  }

  #launch(slot: Slot): void {
    const { process, count, clock, startThread } = this.#options;
    const place = { process, index: slot.index, count, generation: ++slot.generation };
    slot.isReady = false;
    slot.startedMs = clock.monotonicMs();
    slot.thread = startThread(place, (message) => {
      // What a terminated thread had sent before is of no use any more.
      if (slot.thread && slot.generation === place.generation) this.#receive(slot, message);
    });
  }

  #receive(slot: Slot, message: FromWorker): void {
    switch (message.type) {
      case "log":
        return this.#options.onLog(message.role, message.line);
      case "peer":
        return this.#tellOthers(slot, message);
      case "ready":
        slot.isReady = true;
        slot.wasReady = true;
        if (slot.generation > 1) this.#options.log.info("A worker took a place", placeOf(slot));
        return slot.firstReady.resolve(message.ready);
      case "stopped":
        return this.#end(slot);
      case "failed":
        slot.firstReady.reject(new RustreError(message.code, message.reason));
        return this.#died(slot, message.reason);
      case "died":
        slot.firstReady.reject(new Error(`A worker died at its start: ${message.reason}`));
        return this.#died(slot, message.reason);
    }
  }

  #tellOthers(sender: Slot, message: PeerMessage): void {
    for (const slot of this.#slots) {
      // One that is starting has not missed anything that it could have used.
      if (slot !== sender && slot.isReady) slot.thread?.post(message);
    }
  }

  #died(slot: Slot, reason: string): void {
    const { clock, log } = this.#options;
    const livedMs = clock.monotonicMs() - slot.startedMs;
    this.#end(slot);
    // The first one that cannot start is no reason to try again: start() has failed.
    if (this.#stopping || !slot.wasReady) return;
    slot.deaths = livedMs >= limits.workerSteadyMs ? 1 : slot.deaths + 1;
    if (slot.deaths >= limits.workerDeathsMax) {
      return this.#failure.reject(
        new RustreError(
          "INTERNAL",
          `Cannot go on: worker ${slot.index} died ${slot.deaths} times in a row, at last with: ` +
            reason,
        ),
      );
    }
    const delayMs = restartDelayMs(slot.deaths);
    log.error("A worker died, another takes its place", { ...placeOf(slot), delayMs, reason });
    slot.cancelRestart = clock.setTimer(() => this.#launch(slot), delayMs);
  }

  #end(slot: Slot): void {
    slot.thread?.terminate();
    slot.thread = undefined;
    this.#options.onEnd(slot.index);
    slot.isReady = false;
    if (this.#stopping) slot.stopped.resolve();
  }
}

function newSlot(index: number): Slot {
  const firstReady = Promise.withResolvers<string>();
  // Of several that fail the first one's reason is told.
  firstReady.promise.catch(() => {});
  return {
    index,
    generation: 0,
    thread: undefined,
    startedMs: 0,
    isReady: false,
    wasReady: false,
    deaths: 0,
    cancelRestart: () => {},
    firstReady,
    stopped: Promise.withResolvers(),
  };
}

function placeOf({ index, generation }: Slot): { worker: number; generation: number } {
  return { worker: index, generation };
}

/** The first one at once: what killed it may have been a single request. */
function restartDelayMs(deaths: number): number {
  if (deaths <= 1) return 0;
  return Math.min(limits.workerRestartMinMs * 2 ** (deaths - 2), limits.workerRestartMaxMs);
}
