// Asks every node each second whether it is there. Of several mgs the one with the lease does it;
// the others wait for the lease. What it learns goes into the map in one transaction for the whole
// round, and only while the lease is still held. Who looks cut off gives the lease to another.

import { addAddress, formatAddress, sameAddress } from "../shared/address.ts";
import { withDeadline } from "../shared/deadline.ts";
import type { Address, Environment } from "../shared/environment.ts";
import { isRustreError, RustreError } from "../shared/errors.ts";
import { limits } from "../shared/limits.ts";
import type { Logger } from "../shared/logging.ts";
import { Periodic } from "../shared/periodic.ts";
import type { RpcClient } from "../shared/rpc/client.ts";
import { mdsService } from "../shared/protocol/mds.ts";
import { mgsService, type Registration } from "../shared/protocol/mgs.ts";
import { ossService } from "../shared/protocol/oss.ts";
import type { ReplyOf, RequestOf, Service } from "../shared/rpc/service.ts";
import type { Lease } from "../shared/store/lease.ts";
import type { Peers } from "../shared/workers/peers.ts";
import type { ClusterEvent, ClusterState, ProbedNode } from "./cluster_state.ts";
import { nameOf, nodeOf, nodesOf, type StoredNode } from "./probed_nodes.ts";
import type { Registry } from "./registry.ts";
import { type Finding, Witnesses } from "./witnesses.ts";

type ProbeRequest = RequestOf<typeof mgsService, "probe">;
type ProbeReply = ReplyOf<typeof mgsService, "probe">;
/** All that the three services have in common. */
type ProbeService = Service<Pick<typeof mgsService["methods"], "probe">>;

const services = { mgs: mgsService, mds: mdsService, oss: ossService };

export interface ProberOptions {
  readonly environment: Environment;
  readonly rpc: RpcClient;
  readonly registry: Registry;
  readonly lease: Lease;
  /** This mgs, which needs no probe. */
  readonly self: Registration;
  readonly log: Logger;
  /** The other workers of this mgs, one of which may be the one that probes. */
  readonly peers?: Peers | undefined;
}

export class Prober implements AsyncDisposable {
  readonly #options: ProberOptions;
  #watch: Periodic | undefined;
  /** While the lease is held. */
  #rounds: Periodic | undefined;
  /** It looked cut off and no other mgs took the lease: the others are gone, until one answers. */
  #trustsItself = false;
  /** On the monotonic clock, until when the lease is left to others. */
  #asideUntilMs = -Infinity;
  /** By {@link nameOf}: how many probes in a row have failed. */
  #failures = new Map<string, number>();
  /** By node id: the last answer, on the monotonic clock. */
  #answeredAtMs = new Map<string, number>();
  /** Nodes that registered during the round, so that a probe from before says nothing of them. */
  readonly #registeredMeanwhile = new Set<string>();
  /** As the worker that probes has told last, and when that was, on the monotonic clock. */
  #agesOfPeer: { readonly ages: Record<string, number>; readonly atMs: number } | undefined;
  #storeAnswers = true;

  constructor(options: ProberOptions) {
    this.#options = options;
    const { peers, environment: { clock } } = options;
    peers?.on("registered", (registration) => this.#noteRegistered(registration));
    peers?.on("heartbeatAges", (ages) => {
      this.#agesOfPeer = { ages, atMs: clock.monotonicMs() };
    });
    // Who is cut off is so with its whole host.
    peers?.on("steppedAside", ({ sequence }) => {
      this.#asideUntilMs = clock.monotonicMs() + limits.stepAsideMs;
      options.lease.noteReleased(sequence);
    });
  }

  start(): void {
    this.#watch ??= new Periodic({
      clock: this.#options.environment.clock,
      intervalMs: limits.leaseWatchMs,
      task: () => this.#unlessStoreFails(() => this.#watchLease()),
    });
  }

  /** Stops probing and gives the lease back. */
  async close(): Promise<void> {
    await this.#watch?.close();
    await this.#rounds?.close();
    try {
      await this.#options.lease.release();
    } catch (error) {
      if (!isRustreError(error)) throw error;
      // Another mgs waits for the lease's end instead.
      this.#options.log.debug("Cannot give back the lease", { reason: error.message });
    }
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  /** How long ago each node answered, as far as this mgs has asked; itself it has always. */
  heartbeatAgesMs(): Record<string, number> {
    const nowMs = this.#options.environment.clock.monotonicMs();
    const ages: Record<string, number> = {};
    if (this.#agesOfPeer) {
      const { ages: told, atMs } = this.#agesOfPeer;
      for (const [nodeId, ageMs] of Object.entries(told)) ages[nodeId] = ageMs + nowMs - atMs;
    }
    for (const [nodeId, atMs] of this.#answeredAtMs) ages[nodeId] = nowMs - atMs;
    ages[this.#options.self.nodeId] = 0;
    return ages;
  }

  /**
   * A node that is about to register: does it answer at the address that it gives, and does nobody
   * answer in its name where it was before, as a copy of an OST's directory would?
   */
  async verify(registration: Registration, state: ClusterState): Promise<void> {
    const node = nodeOf(registration);
    const request = this.#requestOf(state);
    const known = node.targetIndex === undefined ? undefined : state.targets.get(node.targetIndex);
    const moved = known?.nodeId === node.nodeId && !sameAddress(known.address, node.address);
    const before = moved ? { ...node, address: known.address } : undefined;
    const [problem, problemBefore] = await Promise.all([
      this.#problemOf(node, request),
      before && this.#problemOf(before, request),
    ]);
    if (problem) {
      throw new RustreError(
        "ADDRESS_UNREACHABLE",
        `Cannot register ${nameOf(node)}: the mgs cannot reach it there (${problem.message}); if ` +
          "others know that machine by another address, give it with --advertise",
      );
    }
    if (before && !problemBefore) {
      throw new RustreError(
        "WRONG_TARGET",
        `Cannot register ${nameOf(node)}: the same OST is served at ` +
          `"${formatAddress(before.address)}"; one of the two directories is a copy`,
      );
    }
  }

  /** Names every mgs that is up, for a node forgets those that it was told before. */
  #requestOf(state: ClusterState): ProbeRequest {
    const others = [...state.mgs.values()].filter((each) => each.state === "up");
    const mgs: Address[] = [];
    for (const { address } of [...others, this.#options.self]) addAddress(mgs, address);
    return { epoch: state.epoch, mgs };
  }

  async #problemOf(node: ProbedNode, request: ProbeRequest): Promise<RustreError | undefined> {
    try {
      await this.#probe(node, request);
      return undefined;
    } catch (error) {
      if (isRustreError(error)) return error;
      throw error;
    }
  }

  /** A node registers and has answered: probes that failed before say nothing of it any more. */
  noticeRegistered(registration: Registration): void {
    this.#noteRegistered(registration);
    this.#options.peers?.tell("registered", registration);
  }

  #noteRegistered(registration: Registration): void {
    this.#registeredMeanwhile.add(registration.nodeId);
    this.#failures.delete(nameOf(nodeOf(registration)));
    this.#answeredAtMs.set(registration.nodeId, this.#options.environment.clock.monotonicMs());
  }

  /**
   * Shows every mds the newest epoch now, not with the next round: it places new files, and is to
   * know an OST that comes or goes as soon as the cluster does. Waits for none, and one that does not
   * hear it is noticed by the rounds.
   */
  async announce(): Promise<void> {
    try {
      const state = await this.#options.registry.state();
      const request = this.#requestOf(state);
      const servers = nodesOf(state).filter(({ role }) => role === "mds");
      await Promise.all(servers.map((each) => this.#problemOf(each, request)));
    } catch (error) {
      if (!isRustreError(error)) throw error;
      this.#options.log.debug("Cannot announce the map", { reason: error.message });
    }
  }

  /** Whether the node answers this mgs: for another one, which it does not answer. */
  async reaches(node: ProbedNode): Promise<boolean> {
    const { registry, environment } = this.#options;
    const state = await registry.state();
    const request = this.#requestOf(state);
    try {
      await withDeadline(
        environment.clock,
        limits.secondProbeTimeoutMs,
        (signal) => this.#probe(node, request, signal),
      );
      return true;
    } catch (error) {
      if (isRustreError(error)) return false;
      throw error;
    }
  }

  async #unlessStoreFails(task: () => Promise<void>): Promise<void> {
    const { log } = this.#options;
    try {
      await task();
      if (!this.#storeAnswers) log.info("The store answers again");
      this.#storeAnswers = true;
    } catch (error) {
      if (!isRustreError(error)) throw error;
      if (error.code === "LEASE_LOST") {
        log.info("Another mgs has taken over the probes", { reason: error.message });
      } else if (this.#storeAnswers) {
        log.error("Cannot keep the cluster map, trying on", { reason: error.message });
        this.#storeAnswers = false;
      }
    }
  }

  async #watchLease(): Promise<void> {
    const { environment, lease } = this.#options;
    if (environment.clock.monotonicMs() < this.#asideUntilMs) return await this.#stopRounds();
    if (!await lease.keep()) {
      await this.#stopRounds();
      return await this.#standBy();
    }
    if (this.#rounds) return;
    this.#trustsItself = lease.wasLeftAlone;
    this.#rounds = new Periodic({
      clock: environment.clock,
      intervalMs: limits.probeIntervalMs,
      task: (signal) => this.#unlessStoreFails(() => this.#round(signal)),
    });
  }

  async #stopRounds(): Promise<void> {
    await this.#rounds?.close();
    this.#rounds = undefined;
  }

  /** Another mgs probes. It keeps us in the map unless it has forgotten us. */
  async #standBy(): Promise<void> {
    const { registry, self } = this.#options;
    this.#failures.clear();
    this.#answeredAtMs.clear();
    const known = (await registry.state()).mgs.get(formatAddress(self.address));
    if (known?.nodeId !== self.nodeId) {
      await registry.apply([{ type: "registered", registration: self }]);
    }
  }

  async #round(signal: AbortSignal): Promise<void> {
    const { registry, lease, self } = this.#options;
    if (!lease.isHeld()) return;
    this.#registeredMeanwhile.clear();
    const state = await registry.state();
    const request = this.#requestOf(state);
    const nodes = nodesOf(state).filter((each) => each.nodeId !== self.nodeId);
    const witnesses = new Witnesses(state, this.#options);
    const asked = await Promise.all(
      nodes.map((each) => this.#ask(each, request, witnesses, signal)),
    );
    if (signal.aborted) return;
    this.#forgetAllBut(nodes);
    // What it has found may be of a time before it slept.
    if (!lease.isHeld()) return;
    const findings = asked.map(({ finding }) => finding);
    if (witnesses.answer(findings)) this.#trustsItself = false;
    if (!this.#trustsItself && witnesses.isCutOff(findings)) return await this.#stepAside();
    const ofSelf: ClusterEvent = { type: "registered", registration: self };
    const ofOthers = asked.flatMap(({ event }) => event ? [event] : []);
    await registry.apply([ofSelf, ...ofOthers, { type: "timePassed" }], lease);
    this.#agesOfPeer = undefined;
    this.#options.peers?.tell("heartbeatAges", this.heartbeatAgesMs());
  }

  /**
   * Whether the others are gone or this mgs is cut off, another mgs will tell, if there is one that
   * sees the store: it takes the lease. If none does, this one takes it again and trusts itself.
   */
  async #stepAside(): Promise<void> {
    const { environment, lease, log, peers } = this.#options;
    this.#asideUntilMs = environment.clock.monotonicMs() + limits.stepAsideMs;
    const sequence = await lease.release();
    if (sequence === undefined) return;
    peers?.tell("steppedAside", { sequence });
    log.warn(
      "No other mgs answers, nor does a majority of the hosts: leaving the probes to another mgs",
    );
  }

  /** Never rejects but for a bug: a node that fails is what we want to know. */
  async #ask(
    node: StoredNode,
    request: ProbeRequest,
    witnesses: Witnesses,
    signal: AbortSignal,
  ): Promise<{ finding: Finding; event: ClusterEvent | undefined }> {
    const { hostName, wasUp } = node;
    const before = this.#failures.get(nameOf(node)) ?? 0;
    const mayGoDown = wasUp && before + 1 >= limits.probeFailuresMax;
    const [answer, opinion] = await Promise.all([
      this.#answerOf(node, request, signal),
      mayGoDown ? witnesses.opinionOn(node) : undefined,
    ]);
    const answered = !(answer instanceof RustreError);
    const failures = answered ? 0 : this.#noteFailure(node, answer, signal);
    const finding = { node, hostName, wasUp, answered, failures, opinion };
    if (answered) return { finding, event: successOf(node, answer) };
    // It lives, and clients may reach it as another mgs does.
    const event: ClusterEvent = { type: "probeFailed", node, failures };
    return { finding, event: opinion === "reached" ? undefined : event };
  }

  async #answerOf(
    node: ProbedNode,
    request: ProbeRequest,
    signal: AbortSignal,
  ): Promise<ProbeReply | RustreError> {
    try {
      const reply = await this.#probe(node, request, signal);
      this.#answeredAtMs.set(node.nodeId, this.#options.environment.clock.monotonicMs());
      this.#failures.delete(nameOf(node));
      return reply;
    } catch (error) {
      if (isRustreError(error)) return error;
      throw error;
    }
  }

  #noteFailure(node: ProbedNode, error: RustreError, signal: AbortSignal): number {
    if (signal.aborted) return 0;
    const name = nameOf(node);
    const failures = this.#registeredMeanwhile.has(node.nodeId)
      ? 0
      : (this.#failures.get(name) ?? 0) + 1;
    this.#failures.set(name, failures);
    const level = failures === limits.probeFailuresMax ? "warn" : "debug";
    this.#options.log[level]("A probe failed", { node: name, failures, reason: error.message });
    return failures;
  }

  async #probe(
    node: ProbedNode,
    request: ProbeRequest,
    signal?: AbortSignal,
  ): Promise<ProbeReply> {
    const { environment, rpc } = this.#options;
    const { role, address, targetIndex } = node;
    const endpoint = { role, address, ...(targetIndex === undefined ? {} : { targetIndex }) };
    const service: ProbeService = services[role];
    const reply = await withDeadline(
      environment.clock,
      limits.probeTimeoutMs,
      (signal) => rpc.call(endpoint, service, "probe", request, { signal }),
      signal,
    );
    if (reply.nodeId === node.nodeId) return reply;
    const message = `Another node, ${reply.nodeId}, answers at "${formatAddress(address)}"`;
    throw new RustreError("WRONG_TARGET", message);
  }

  /** Nodes that left the map leave the memory. */
  #forgetAllBut(nodes: readonly ProbedNode[]): void {
    const names = new Set(nodes.map(nameOf));
    for (const name of this.#failures.keys()) if (!names.has(name)) this.#failures.delete(name);
    const ids = new Set([...nodes.map((each) => each.nodeId), ...this.#registeredMeanwhile]);
    for (const id of this.#answeredAtMs.keys()) if (!ids.has(id)) this.#answeredAtMs.delete(id);
  }
}

function successOf(node: ProbedNode, { usage }: ProbeReply): ClusterEvent {
  return { type: "probeSucceeded", node, ...(usage ? { usage } : {}) };
}
