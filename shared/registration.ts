// How an mds or oss gets into the cluster map and stays there: it registers when it listens, and
// again whenever no mgs has probed it for a while, which means that they have forgotten it.

import { withDeadline } from "./deadline.ts";
import type { Environment } from "./environment.ts";
import { isRustreError, type RustreError } from "./errors.ts";
import type { ClusterMapCache } from "./cluster_map.ts";
import { limits } from "./limits.ts";
import type { Logger } from "./logging.ts";
import { Periodic } from "./periodic.ts";
import type { mgsService, Registration as Description } from "./protocol/mgs.ts";
import type { ReplyOf, RequestOf } from "./rpc/service.ts";
import { speaksForProcess, type WorkerSelf } from "./workers/peers.ts";

export interface RegistrationOptions {
  readonly environment: Environment;
  readonly maps: ClusterMapCache;
  /** What to say of this node, with its usage of now. */
  readonly describe: () => Description;
  readonly log: Logger;
  /** Where several workers are one node, one of which registers: any of them may be probed. */
  readonly worker?: WorkerSelf | undefined;
}

export class Registration implements AsyncDisposable {
  /**
   * Resolves when an mgs has accepted this node; rejects where it refuses it for good, as an OST
   * that another node serves, and the node cannot serve then.
   */
  readonly registered: Promise<void>;
  readonly #options: RegistrationOptions;
  readonly #first = Promise.withResolvers<void>();
  #periodic: Periodic | undefined;
  #accepted = false;
  /** An mgs may know this node, although its reply has not come. */
  #mayBeKnown = false;
  #refused = false;
  /** On the monotonic clock, the last probe or registration. */
  #seenAtMs = 0;
  #lastFailure: string | undefined;

  constructor(options: RegistrationOptions) {
    this.#options = options;
    this.registered = this.#first.promise;
    // Whoever waits gets the error; a node that stops before anybody waited is no bug.
    this.registered.catch(() => {});
    options.worker?.peers.on("probed", (request) => this.#noteProbe(request));
  }

  /**
   * Registers in the background, from now on. The node must be answering probes already. A worker
   * that does not speak for its process leaves it to the one that does.
   */
  start(): void {
    if (!speaksForProcess(this.#options.worker)) return this.#first.resolve();
    this.#periodic ??= new Periodic({
      clock: this.#options.environment.clock,
      intervalMs: limits.registerIntervalMs,
      task: (signal) => this.#registerWhereNeeded(signal),
    });
  }

  /** The handler of `probe`: learns the epoch and the mgs, and answers. */
  probed(request: RequestOf<typeof mgsService, "probe">): ReplyOf<typeof mgsService, "probe"> {
    const { worker, describe } = this.#options;
    this.#noteProbe(request);
    worker?.peers.tell("probed", request);
    const { nodeId, usage } = describe();
    return usage === undefined ? { nodeId } : { nodeId, usage };
  }

  #noteProbe(request: RequestOf<typeof mgsService, "probe">): void {
    const { environment, maps } = this.#options;
    this.#seenAtMs = environment.clock.monotonicMs();
    maps.noticeMgs(request.mgs);
    maps.noticeEpoch(request.epoch);
  }

  /** Stops registering and unregisters: a little while, and whether or not an mgs hears it. */
  async close(): Promise<void> {
    await this.#periodic?.close();
    if (!this.#mayBeKnown) return;
    this.#mayBeKnown = false;
    const { environment, maps, describe, log } = this.#options;
    const request = { nodeId: describe().nodeId };
    try {
      await withDeadline(
        environment.clock,
        limits.unregisterTimeoutMs,
        (signal) => maps.callMgs("unregister", request, signal),
      );
    } catch (error) {
      if (!isRustreError(error)) throw error;
      log.debug("Cannot unregister; the mgs will notice", { reason: error.message });
    }
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #registerWhereNeeded(signal: AbortSignal): Promise<void> {
    const { environment, maps, describe, log } = this.#options;
    const silentMs = environment.clock.monotonicMs() - this.#seenAtMs;
    if (this.#refused || (this.#accepted && silentMs < limits.probeSilenceMs)) return;
    this.#mayBeKnown = true;
    try {
      const { epoch } = await maps.callMgs("register", describe(), signal);
      this.#seenAtMs = environment.clock.monotonicMs();
      maps.noticeEpoch(epoch);
      this.#noteAccepted();
    } catch (error) {
      if (!isRustreError(error)) throw error;
      if (!signal.aborted) this.#noteFailure(error, log);
    }
  }

  #noteAccepted(): void {
    const { log } = this.#options;
    if (!this.#accepted || this.#lastFailure !== undefined) log.info("Registered");
    else log.debug("Registered again: no mgs has probed this node for a while");
    this.#accepted = true;
    this.#lastFailure = undefined;
    this.#first.resolve();
  }

  /** Says it once, not with each try. */
  #noteFailure(error: RustreError, log: Logger): void {
    if (this.#lastFailure === error.message) return;
    this.#lastFailure = error.message;
    const forGood = error.retry === "never" || error.code === "WRONG_TARGET";
    if (forGood && !this.#accepted) {
      this.#refused = true;
      this.#mayBeKnown = false;
      this.#first.reject(error);
    } else if (error.code !== "UNREACHABLE") {
      // That no mgs answers was logged by the cluster map.
      log.warn("Cannot register, trying on", { reason: error.message });
    }
  }
}
