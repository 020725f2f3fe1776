// Asks every node each second whether it is there. Of several mgs the one with the lease does it;
// the others wait for the lease. What it learns goes into the map in one transaction for the whole
// round, and only while the lease is still held.

import { formatAddress, sameAddress } from "../shared/address.ts";
import { withDeadline } from "../shared/deadline.ts";
import type { Environment } from "../shared/environment.ts";
import { isRustreError, messageOf, RustreError } from "../shared/errors.ts";
import { limits } from "../shared/limits.ts";
import type { Logger } from "../shared/logging.ts";
import { Periodic } from "../shared/periodic.ts";
import type { RpcClient } from "../shared/rpc/client.ts";
import { mdsService, mgsService, ossService, type Registration } from "../shared/rpc/protocol.ts";
import type { ReplyOf, RequestOf, Service } from "../shared/rpc/service.ts";
import type { Lease } from "../shared/store/lease.ts";
import type { Peers } from "../shared/workers/peers.ts";
import type { ClusterEvent, ClusterState, ProbedNode } from "./cluster_state.ts";
import type { Registry } from "./registry.ts";

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
  #periodic: Periodic | undefined;
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
  }

  start(): void {
    this.#periodic ??= new Periodic({
      clock: this.#options.environment.clock,
      intervalMs: limits.probeIntervalMs,
      task: (signal) => this.#run(signal),
    });
  }

  /** Stops probing and gives the lease back. */
  async close(): Promise<void> {
    await this.#periodic?.close();
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
    const request = { epoch: state.epoch, mgs: [this.#options.self.address] };
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
   * know an OST as soon as the cluster does. Waits for none, and one that does not hear it is
   * noticed by the rounds.
   */
  async announce(): Promise<void> {
    try {
      const state = await this.#options.registry.state();
      const request = { epoch: state.epoch, mgs: [this.#options.self.address] };
      const servers = nodesOf(state).filter(({ role }) => role === "mds");
      await Promise.all(servers.map((each) => this.#problemOf(each, request)));
    } catch (error) {
      if (!isRustreError(error)) throw error;
      this.#options.log.debug("Cannot announce the map", { reason: error.message });
    }
  }

  async #run(signal: AbortSignal): Promise<void> {
    const { lease, log } = this.#options;
    try {
      if (await lease.renew()) await this.#round(signal);
      else await this.#standBy();
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
    this.#registeredMeanwhile.clear();
    const state = await registry.state();
    const mgs = [...state.mgs.values()].filter((each) => each.state === "up");
    const request = { epoch: state.epoch, mgs: mgs.map((each) => each.address) };
    const nodes = nodesOf(state).filter((each) => each.nodeId !== self.nodeId);
    const events = await Promise.all(nodes.map((each) => this.#ask(each, request, signal)));
    if (signal.aborted) return;
    this.#forgetAllBut(nodes);
    const ofOthers = events.filter((event) => event !== undefined);
    const ofSelf: ClusterEvent = { type: "registered", registration: self };
    await registry.apply([ofSelf, ...ofOthers, { type: "timePassed" }], lease);
    this.#agesOfPeer = undefined;
    this.#options.peers?.tell("heartbeatAges", this.heartbeatAgesMs());
  }

  /** Never rejects but for a bug: a node that fails is what we want to know. */
  async #ask(
    node: ProbedNode,
    request: ProbeRequest,
    signal: AbortSignal,
  ): Promise<ClusterEvent | undefined> {
    const { environment, log } = this.#options;
    const name = nameOf(node);
    try {
      const { usage } = await this.#probe(node, request, signal);
      this.#answeredAtMs.set(node.nodeId, environment.clock.monotonicMs());
      this.#failures.delete(name);
      return { type: "probeSucceeded", node, ...(usage ? { usage } : {}) };
    } catch (error) {
      if (!isRustreError(error)) throw error;
      if (signal.aborted) return undefined;
      const failures = this.#registeredMeanwhile.has(node.nodeId)
        ? 0
        : (this.#failures.get(name) ?? 0) + 1;
      this.#failures.set(name, failures);
      const level = failures === limits.probeFailuresMax ? "warn" : "debug";
      log[level]("A probe failed", { node: name, failures, reason: messageOf(error) });
      return { type: "probeFailed", node, failures };
    }
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

function nodeOf({ role, nodeId, address, targetIndex }: Registration): ProbedNode {
  return { role, nodeId, address, ...(targetIndex === undefined ? {} : { targetIndex }) };
}

function nodesOf(state: ClusterState): ProbedNode[] {
  const nodes: ProbedNode[] = [];
  for (const role of ["mgs", "mds"] as const) {
    for (const { nodeId, address } of state[role].values()) nodes.push({ role, nodeId, address });
  }
  for (const { nodeId, address, index } of state.targets.values()) {
    nodes.push({ role: "oss", nodeId, address, targetIndex: index });
  }
  return nodes;
}

function nameOf(node: ProbedNode): string {
  const name = node.targetIndex === undefined ? node.role : `OST ${node.targetIndex}`;
  return `${name} at "${formatAddress(node.address)}"`;
}
