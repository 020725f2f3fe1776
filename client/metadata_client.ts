// Calls to the mds: chooses one that is up, retries within the operation's time, gives mutations
// their ids.

import type { ClusterMapCache } from "../shared/cluster_map.ts";
import { withDeadline } from "../shared/deadline.ts";
import { type Environment, randomHex } from "../shared/environment.ts";
import { isRustreError, RustreError } from "../shared/errors.ts";
import { limits } from "../shared/limits.ts";
import type { Logger } from "../shared/logging.ts";
import type { CallOptions, Endpoint, RpcClient } from "../shared/rpc/client.ts";
import { mdsService } from "../shared/protocol/mds.ts";
import type { ReplyOf, RequestOf } from "../shared/rpc/service.ts";
import { FileBatches } from "./file_batches.ts";
import { MdsChoice } from "./mds_choice.ts";
import { tryOperation } from "./operation.ts";
import { type MutationId, Session } from "./session.ts";

export type MdsMethod = keyof typeof mdsService["methods"];
type MdsRequest<Name extends MdsMethod> = RequestOf<typeof mdsService, Name>;
type MdsReply<Name extends MdsMethod> = ReplyOf<typeof mdsService, Name>;

export interface MetadataClientOptions {
  readonly environment: Environment;
  readonly rpc: RpcClient;
  readonly maps: ClusterMapCache;
  readonly log: Logger;
}

type Release = (stop?: AbortSignal) => Promise<unknown>;

export class MetadataClient implements AsyncDisposable {
  /** Creates and commits of new files. */
  readonly files: FileBatches;
  readonly #options: MetadataClientOptions;
  readonly #choice: MdsChoice;
  #session: Session;
  /** What could not be given up yet; tried again whenever the session is renewed. */
  #unreleased: Release[] = [];
  #closed = false;

  constructor(options: MetadataClientOptions) {
    this.#options = options;
    const { clock, random } = options.environment;
    this.#choice = new MdsChoice(clock, random.below(limits.serversMax));
    this.#session = this.#newSession();
    this.files = new FileBatches(clock, {
      create: async (request, signal) => (await this.mutate("create", request, signal)).attributes,
      commit: async (request, signal) => (await this.mutate("commit", request, signal)).attributes,
      batch: (request, signal) => this.mutate("batch", request, signal),
    });
  }

  /** The lease on what was just opened or created: fails once its session may be over. */
  lease(): () => void {
    const session = this.#session;
    return () => session.requireLive();
  }

  /** Calls an operation that reads, or that may simply be done again. */
  call<Name extends MdsMethod>(
    name: Name,
    request: MdsRequest<Name>,
    signal?: AbortSignal,
  ): Promise<MdsReply<Name>> {
    return this.#retrying(
      signal,
      (endpoint, options) => this.#options.rpc.call(endpoint, mdsService, name, request, options),
    );
  }

  /** Calls a mutation: it has its effect once, however often it is sent. */
  async mutate<Name extends MdsMethod>(
    name: Name,
    request: Omit<MdsRequest<Name>, keyof MutationId>,
    signal?: AbortSignal,
  ): Promise<MdsReply<Name>> {
    if (this.#session.isOver) await this.#replaceSession();
    const session = this.#session;
    /** Of the last try after which nobody knew whether it was carried out. */
    let uncertain: RustreError | undefined;
    const attempt = () =>
      session.run((id) => {
        const whole = { ...request, ...id } as MdsRequest<Name>;
        return this.#retrying(signal, async (endpoint, options) => {
          try {
            return await this.#options.rpc.call(endpoint, mdsService, name, whole, options);
          } catch (error) {
            if (isRustreError(error) && error.applied === "unknown") uncertain = error;
            throw error;
          }
        });
      }, signal);
    try {
      return await attempt();
    } catch (error) {
      // What the mds said for good is so. Whatever else came last, an earlier try may still have
      // been carried out, and its error says that; under a session that is over nobody remembers.
      const isOver = isRustreError(error, "SESSION_OVER");
      if (isRustreError(error) && error.retry !== "never") throw uncertain ?? error;
      if (!isOver || uncertain) throw error;
      // Refused before it was carried out: it may go under a new session.
    }
    await this.#replaceSession(session);
    return this.#session.run(
      (id) => this.call(name, { ...request, ...id } as MdsRequest<Name>, signal),
      signal,
    );
  }

  /**
   * A mutation that gives something up: tried a little while here and later in the background, for
   * the session's end does it too.
   */
  async release<Name extends MdsMethod>(
    name: Name,
    request: Omit<MdsRequest<Name>, keyof MutationId>,
  ): Promise<void> {
    const { environment, log } = this.#options;
    const session = this.#session;
    const attempt = (stop?: AbortSignal) =>
      withDeadline(
        environment.clock,
        limits.closeSessionTimeoutMs,
        (signal) => this.mutate(name, request, signal),
        stop,
      );
    try {
      await attempt();
    } catch (error) {
      if (!isRustreError(error)) throw error;
      log.debug("Cannot release, will try again", { name, reason: error.message });
      // Another session has nothing to give up.
      if (this.#session === session && !session.isOver) this.#unreleased.push(attempt);
    }
  }

  /** A new name for something that this client opens. */
  newHandle(): string {
    return randomHex(this.#options.environment.random, 16);
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.files.close();
    await this.#session.close();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #replaceSession(old = this.#session): Promise<void> {
    if (this.#closed) throw new RustreError("SHUTTING_DOWN", "The client is closed");
    if (this.#session !== old) return;
    this.#session = this.#newSession();
    this.#unreleased = [];
    await old.close();
  }

  /** Those that fail again wait for the next time; a request that is refused for good is dropped. */
  async #releaseAgain(stop: AbortSignal): Promise<void> {
    const attempts = this.#unreleased;
    for (let left = attempts.length; left > 0 && attempts === this.#unreleased; left--) {
      const attempt = attempts.shift()!;
      try {
        await attempt(stop);
      } catch (error) {
        if (!isRustreError(error)) throw error;
        this.#options.log.debug("Cannot release yet", { reason: error.message });
        if (error.retry !== "never") attempts.push(attempt);
      }
    }
  }

  #newSession(): Session {
    const { environment, log } = this.#options;
    const calls = {
      open: async (signal: AbortSignal) => {
        return (await this.call("openSession", {}, signal)).clientId;
      },
      renew: async (clientId: string, signal: AbortSignal) => {
        await this.call("renewSession", { clientId }, signal);
        await this.#releaseAgain(signal);
      },
      close: async (clientId: string) => {
        await withDeadline(
          environment.clock,
          limits.closeSessionTimeoutMs,
          (signal) => this.call("closeSession", { clientId }, signal),
        );
      },
    };
    return new Session(environment, calls, log);
  }

  #retrying<T>(
    signal: AbortSignal | undefined,
    attempt: (endpoint: Endpoint, options: CallOptions) => Promise<T>,
  ): Promise<T> {
    return tryOperation(this.#options, signal, async ({ map, tryNumber, timeoutMs }) => {
      const { address, isReplaceable } = this.#choice.choose(map, tryNumber);
      const tryMs = isReplaceable ? Math.min(limits.mdsTryMs, timeoutMs) : timeoutMs;
      try {
        return await attempt({ address, role: "mds" }, { signal, timeoutMs: tryMs });
      } catch (error) {
        if (!signal?.aborted) this.#choice.noteFailure(address, error);
        throw error;
      }
    });
  }
}
