// The client's session at the mds: opened with the first mutation, renewed while the client lives,
// ended when it closes. Numbers the mutations, and keeps those under way within the window of replies
// that the mds remembers.

import { withSignal } from "../shared/deadline.ts";
import type { Environment } from "../shared/environment.ts";
import { isRustreError, RustreError } from "../shared/errors.ts";
import { limits } from "../shared/limits.ts";
import type { Logger } from "../shared/logging.ts";
import { Periodic } from "../shared/periodic.ts";

export interface MutationId {
  readonly clientId: string;
  readonly requestId: number;
}

/** The calls that a session makes; metadata_client.ts gives them. */
export interface SessionCalls {
  /** Resolves to the client id that the mds has made. */
  open(signal: AbortSignal): Promise<string>;
  renew(clientId: string, signal: AbortSignal): Promise<void>;
  close(clientId: string): Promise<void>;
}

/** One client id with its lease. After its end it stays over; the owner starts another. */
export class Session {
  /** Once it is open. */
  #clientId = "";
  readonly #calls: SessionCalls;
  readonly #environment: Environment;
  readonly #log: Logger;
  readonly #stop = new AbortController();
  #opening: Promise<void> | undefined;
  #isOpen = false;
  #renewal: Periodic | undefined;
  #over = false;
  /** On the monotonic clock, the begin of the last call that opened or renewed it. */
  #renewedAtMs = 0;
  #nextRequestId = 1;
  /** Mutations under way, oldest first. */
  readonly #underWay = new Set<number>();
  #waiting: (() => void)[] = [];

  constructor(environment: Environment, calls: SessionCalls, log: Logger) {
    this.#environment = environment;
    this.#calls = calls;
    this.#log = log;
  }

  get isOver(): boolean {
    return this.#over;
  }

  /**
   * Fails while the mds may have ended the session. For what no server checks: an OST does not know
   * sessions, and what a client writes after its end nobody would remove.
   */
  requireLive(): void {
    if (this.#over) throw sessionOver();
    const ageMs = this.#environment.clock.monotonicMs() - this.#renewedAtMs;
    if (ageMs < limits.sessionLeaseMs) return;
    // The next renewal tells: an mds that was away for so long has not ended it.
    throw new RustreError("EAGAIN", "the client's lease ran out before it could be renewed");
  }

  /** Runs `mutation` with an id of its own; all its tries carry that id. */
  async run<T>(
    mutation: (id: MutationId) => Promise<T>,
    signal?: AbortSignal,
  ): Promise<T> {
    await this.#ensureOpen(signal);
    while (this.#isWindowFull()) {
      const room = new Promise<void>((resolve) => this.#waiting.push(resolve));
      await (signal ? withSignal(room, signal) : room);
    }
    const requestId = this.#nextRequestId++;
    this.#underWay.add(requestId);
    try {
      return await mutation({ clientId: this.#clientId, requestId });
    } catch (error) {
      if (isRustreError(error, "SESSION_OVER")) this.#end();
      throw error;
    } finally {
      this.#underWay.delete(requestId);
      for (const resolve of this.#waiting.splice(0)) resolve();
    }
  }

  /** Ends the session at the mds too, which then removes what is still pending. */
  async close(): Promise<void> {
    const wasOver = this.#over;
    this.#end();
    this.#stop.abort(new RustreError("SHUTTING_DOWN", "The client is closed"));
    // One whose opening is given up has no id to end it by: it ends with its lease, and holds nothing.
    await Promise.allSettled([this.#opening]);
    await this.#renewal?.close();
    if (wasOver || !this.#isOpen) return;
    try {
      await this.#calls.close(this.#clientId);
    } catch (error) {
      if (!isRustreError(error)) throw error;
      // The mds ends the session itself when the lease is over.
      this.#log.debug("Cannot close the session", { reason: error.message });
    }
  }

  #isWindowFull(): boolean {
    const [oldest] = this.#underWay;
    return oldest !== undefined && this.#nextRequestId - oldest >= limits.repliesPerClient;
  }

  async #ensureOpen(signal: AbortSignal | undefined): Promise<void> {
    if (this.#over) throw sessionOver();
    if (this.#isOpen) return;
    // Several wait for it: the signal of one does not end it for the others.
    this.#opening ??= this.#open().catch((error) => {
      this.#opening = undefined;
      throw error;
    });
    await (signal ? withSignal(this.#opening, signal) : this.#opening);
    if (this.#over) throw sessionOver();
  }

  async #open(): Promise<void> {
    const startedMs = this.#environment.clock.monotonicMs();
    this.#clientId = await this.#calls.open(this.#stop.signal);
    this.#renewedAtMs = startedMs;
    this.#isOpen = true;
    if (this.#over) return;
    this.#renewal = new Periodic({
      clock: this.#environment.clock,
      intervalMs: limits.sessionRenewMs,
      task: (stop) => this.#renew(stop),
      delayFirst: true,
    });
  }

  async #renew(stop: AbortSignal): Promise<void> {
    if (this.#over) return;
    try {
      const startedMs = this.#environment.clock.monotonicMs();
      await this.#calls.renew(this.#clientId, stop);
      this.#renewedAtMs = startedMs;
    } catch (error) {
      if (!isRustreError(error)) throw error;
      if (stop.aborted) return;
      this.#log.warn("Cannot renew the session", { reason: error.message });
      if (error.code === "SESSION_OVER") this.#over = true;
    }
  }

  #end(): void {
    this.#over = true;
  }
}

function sessionOver(): RustreError {
  return new RustreError("SESSION_OVER", "The client's session is over");
}
