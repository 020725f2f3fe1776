// A process's copy of the cluster map, and its way to the mgs: which ones there are, which one
// answers. Servers refresh the copy in the background, clients when an error says that it is old.

import { addAddress, formatAddress, sameAddress } from "./address.ts";
import { type Address, type Environment, sleep } from "./environment.ts";
import { type ErrorCode, isRustreError, messageOf, RustreError } from "./errors.ts";
import { limits } from "./limits.ts";
import type { Logger } from "./logging.ts";
import type { ClusterMap, Server, Target } from "./model.ts";
import { Periodic } from "./periodic.ts";
import { type Endpoint, type RpcClient, withSignal } from "./rpc/client.ts";
import { mgsService } from "./protocol/mgs.ts";
import { retrying } from "./rpc/retry.ts";
import type { ReplyOf, RequestOf } from "./rpc/service.ts";

type MgsMethod = keyof typeof mgsService["methods"];

export interface ClusterMapOptions {
  readonly environment: Environment;
  readonly rpc: RpcClient;
  /** Where to ask first. Those in the map are asked too. */
  readonly mgs: readonly Address[];
  readonly log: Logger;
  /** Of a server: fetch the map again after so long, and log when no mgs answers. */
  readonly refreshMs?: number | undefined;
}

/** What an mgs may answer, or not answer, while another one would do better. */
const anotherMgsMayHelp: readonly ErrorCode[] = [
  "UNREACHABLE",
  "CONNECTION_LOST",
  "TIMED_OUT",
  "OVERLOADED",
  "SHUTTING_DOWN",
  "CONFLICT",
  "COMMIT_UNKNOWN",
  "TRANSACTION_TOO_OLD",
  "STORE_CLOSED",
  "STORE_FAILED",
];

export class ClusterMapCache implements AsyncDisposable {
  readonly #options: ClusterMapOptions;
  readonly #stop = new AbortController();
  readonly #background: Periodic | undefined;
  #map: ClusterMap | undefined;
  /** On the monotonic clock; the usage of the OSTs in our map is as old as this. */
  #wholeMapAtMs = 0;
  #refreshing: Promise<ClusterMap> | undefined;
  /** The mgs that answered last. */
  #preferred: Address | undefined;
  #learnt: readonly Address[] = [];
  #mgsAnswers = true;

  constructor(options: ClusterMapOptions) {
    this.#options = options;
    if (options.refreshMs === undefined) return;
    this.#background = new Periodic({
      clock: options.environment.clock,
      intervalMs: options.refreshMs,
      task: () => this.#refreshInBackground(),
    });
  }

  /** The map as far as this process knows it. */
  get current(): ClusterMap | undefined {
    return this.#map;
  }

  /**
   * The newest map that this process knows; waits for the first one. Rejects with UNREACHABLE, which
   * names every mgs that was tried, after limits.mgsContactTimeoutMs.
   */
  get(signal?: AbortSignal): Promise<ClusterMap> {
    if (this.#map) return Promise.resolve(this.#map);
    const { environment } = this.#options;
    const timeoutMs = limits.mgsContactTimeoutMs;
    return retrying({ environment, timeoutMs, signal }, () => this.refresh(signal));
  }

  /** {@link get} for a server that starts: it waits for an mgs however long that takes. */
  async waitForMap(signal?: AbortSignal): Promise<ClusterMap> {
    for (;;) {
      try {
        return await this.get(signal);
      } catch (error) {
        if (!isRustreError(error) || error.retry === "never" || signal?.aborted) throw error;
        this.#options.log.debug("Still waiting for the cluster map", { reason: error.message });
      }
      await sleep(this.#options.environment.clock, limits.registerIntervalMs, signal);
    }
  }

  /** Fetches the map from an mgs. Calls at the same time share one request. */
  refresh(signal?: AbortSignal): Promise<ClusterMap> {
    this.#refreshing ??= this.#fetch().finally(() => this.#refreshing = undefined);
    return signal ? withSignal(this.#refreshing, signal) : this.#refreshing;
  }

  /**
   * Raises the epoch, and has our map be of it when it resolves. Whatever an OST is sent from then on
   * by whoever knows this epoch makes it refuse all that was sent before by an older one, however
   * late that arrives.
   */
  async raiseEpoch(signal?: AbortSignal): Promise<void> {
    const { epoch } = await this.callMgs("raiseEpoch", {}, signal);
    // A refresh that is under way may have begun before; the next one not.
    for (let count = 0; count < 2 && !this.#knows(epoch); count++) await this.refresh(signal);
    if (this.#knows(epoch)) return;
    const message = `Cannot fetch the cluster map of epoch ${epoch}: the mgs gives an older one`;
    throw new RustreError("STALE_MAP", message);
  }

  #knows(epoch: number): boolean {
    return this.#map !== undefined && this.#map.epoch >= epoch;
  }

  /** {@link raiseEpoch} for a server that starts: it waits for an mgs however long that takes. */
  async waitForNewEpoch(signal?: AbortSignal): Promise<void> {
    for (;;) {
      try {
        return await this.raiseEpoch(signal);
      } catch (error) {
        if (!isRustreError(error) || error.retry === "never" || signal?.aborted) throw error;
        this.#options.log.debug("Still waiting for a new epoch", { reason: error.message });
      }
      await sleep(this.#options.environment.clock, limits.registerIntervalMs, signal);
    }
  }

  /** Somebody knows a map of `epoch`: fetches it in the background where ours is older. */
  noticeEpoch(epoch: number): void {
    if (this.#map && this.#map.epoch < epoch) void this.#refreshInBackground();
  }

  /** Somebody knows these mgs. They replace those learnt before, not those configured. */
  noticeMgs(addresses: readonly Address[]): void {
    if (addresses.length > 0) this.#learnt = addresses;
  }

  /** Every mgs known, in the order in which they are asked. */
  mgsAddresses(): readonly Address[] {
    const addresses: Address[] = [];
    const known = [...this.#learnt, ...this.#options.mgs];
    // One that answered and has left the cluster since is not asked first for ever.
    const preferred = known.find((each) => this.#preferred && sameAddress(each, this.#preferred));
    if (preferred) addAddress(addresses, preferred);
    for (const address of known) addAddress(addresses, address);
    return addresses;
  }

  /**
   * Calls one mgs after the other until one answers. Rejects with that one's error, or with
   * UNREACHABLE, which names every mgs that was tried.
   */
  async callMgs<Name extends MgsMethod>(
    name: Name,
    request: RequestOf<typeof mgsService, Name>,
    signal: AbortSignal = this.#stop.signal,
  ): Promise<ReplyOf<typeof mgsService, Name>> {
    const failures: string[] = [];
    for (const address of this.mgsAddresses()) {
      try {
        const endpoint: Endpoint = { address, role: "mgs" };
        const options = { signal, timeoutMs: limits.mgsCallTimeoutMs };
        const reply = await this.#options.rpc.call(endpoint, mgsService, name, request, options);
        this.#noteAnswer(address);
        return reply;
      } catch (error) {
        if (signal.aborted || !isRustreError(error, ...anotherMgsMayHelp)) throw error;
        failures.push(messageOf(error));
      }
    }
    throw this.#noteSilence(failures);
  }

  /** Calls every mgs that is up, for what each knows for itself; the replies of those that answer. */
  async callEveryMgs<Name extends MgsMethod>(
    name: Name,
    request: RequestOf<typeof mgsService, Name>,
    signal?: AbortSignal,
  ): Promise<ReplyOf<typeof mgsService, Name>[]> {
    const map = await this.get(signal);
    const options = { signal, timeoutMs: limits.mgsCallTimeoutMs };
    const calls = map.mgs.filter(isUp).map(({ address }) =>
      this.#options.rpc.call({ address, role: "mgs" }, mgsService, name, request, options)
    );
    const replies: ReplyOf<typeof mgsService, Name>[] = [];
    for (const outcome of await Promise.allSettled(calls)) {
      if (outcome.status === "fulfilled") replies.push(outcome.value);
      else if (!isRustreError(outcome.reason, ...anotherMgsMayHelp)) throw outcome.reason;
    }
    return replies;
  }

  /** Ends refreshes under way and in the background. */
  async close(): Promise<void> {
    this.#stop.abort(new RustreError("SHUTTING_DOWN", "The cluster map is closed"));
    await this.#background?.close();
    await Promise.allSettled([this.#refreshing]);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #fetch(): Promise<ClusterMap> {
    // The epoch does not tell that the usage changed, so now and then the whole map is fetched.
    const { clock } = this.#options.environment;
    const startedMs = clock.monotonicMs();
    const whole = startedMs - this.#wholeMapAtMs >= limits.usageRefreshMs;
    const known = whole ? undefined : this.#map;
    const request = known ? { knownEpoch: known.epoch } : {};
    const { map } = await this.callMgs("getMap", request);
    if (map) {
      this.#adopt(map);
      this.#wholeMapAtMs = startedMs;
    }
    if (!this.#map) {
      throw new RustreError("BAD_FRAME", "Cannot read the cluster map: the mgs sent none");
    }
    return this.#map;
  }

  #adopt(map: ClusterMap): void {
    if (this.#map && map.epoch < this.#map.epoch) return;
    this.#map = map;
    const mgs = [...map.mgs.filter(isUp), ...map.mgs.filter((each) => !isUp(each))];
    this.noticeMgs(mgs.map((each) => each.address));
  }

  async #refreshInBackground(): Promise<void> {
    try {
      await this.refresh();
    } catch (error) {
      if (!isRustreError(error)) throw error;
      // The map that we have stays in force; #noteSilence logged it where it is news.
      this.#options.log.debug("Cannot refresh the cluster map", { reason: error.message });
    }
  }

  #noteAnswer(address: Address): void {
    this.#preferred = address;
    if (!this.#mgsAnswers) {
      this.#logNews("info", "An mgs answers again", { mgs: formatAddress(address) });
    }
    this.#mgsAnswers = true;
  }

  #noteSilence(failures: readonly string[]): RustreError {
    const tried = failures.join("; ");
    const remedy = "start one there, or give the address of another";
    const error = new RustreError("UNREACHABLE", `Cannot reach an mgs: ${tried}; ${remedy}`);
    if (this.#mgsAnswers) this.#logNews("warn", "No mgs answers, trying on", { tried: failures });
    this.#mgsAnswers = false;
    return error;
  }

  /** A client tells its user by an error; only a server, which goes on, tells its log. */
  #logNews(level: "info" | "warn", message: string, fields: Record<string, unknown>): void {
    const { log } = this.#options;
    if (this.#background) log[level](message, fields);
    else log.debug(message, fields);
  }
}

// ── looking things up in a map ─────────────────────────────────────────────────────────────────

/** The OST of that index, up or down. Throws WRONG_TARGET where the map has none. */
export function targetOf(map: ClusterMap, index: number): Target {
  const target = map.targets.find((each) => each.index === index);
  if (target) return target;
  const message = `Cannot find OST ${index}: it is not in the cluster map of epoch ${map.epoch}`;
  throw new RustreError("WRONG_TARGET", message);
}

export function endpointOfTarget(target: Target): Endpoint {
  return { address: target.address, role: "oss", targetIndex: target.index };
}

export function isUp(server: Pick<Server, "state">): boolean {
  return server.state === "up";
}
