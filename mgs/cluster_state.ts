// The cluster's membership and its changes, as pure functions of (state, event, time). Every rule
// about who is in the map, who is up and when the epoch rises is here; nothing else is.

import { formatAddress, sameAddress } from "../shared/address.ts";
import type { Address } from "../shared/environment.ts";
import { RustreError } from "../shared/errors.ts";
import { limits } from "../shared/limits.ts";
import type { ClusterMap, Server, ServerRole, Target, Usage } from "../shared/model.ts";
import type { Registration } from "../shared/protocol/mgs.ts";
import { isSameUsage, noUsage } from "../shared/usage.ts";
import type { ServerRecord, TargetRecord } from "./schema.ts";

export interface ClusterState {
  /** 0 before the first change. */
  readonly epoch: number;
  /** By address, as text. */
  readonly mgs: ReadonlyMap<string, ServerRecord>;
  readonly mds: ReadonlyMap<string, ServerRecord>;
  /** By index. */
  readonly targets: ReadonlyMap<number, TargetRecord>;
  /** By index. A change of usage is no change of the map and does not raise the epoch. */
  readonly usages: ReadonlyMap<number, Usage>;
}

/** A node as it was when it was probed. */
export interface ProbedNode {
  readonly role: ServerRole;
  readonly nodeId: string;
  readonly address: Address;
  /** Of an oss. */
  readonly targetIndex?: number | undefined;
}

export type ClusterEvent =
  /** A node says that it serves. */
  | { readonly type: "registered"; readonly registration: Registration }
  /** A node says that it stops. */
  | { readonly type: "unregistered"; readonly nodeId: string }
  | { readonly type: "probeSucceeded"; readonly node: ProbedNode; readonly usage?: Usage }
  /** `failures` in a row, with this one. */
  | { readonly type: "probeFailed"; readonly node: ProbedNode; readonly failures: number }
  /** What was sent before is not to be served any more. */
  | { readonly type: "fenced" }
  | { readonly type: "timePassed" };

/**
 * The state after `events`, one after the other. Records that did not change stay the same objects,
 * and where no record of a node changed and nothing was fenced, so does the epoch; otherwise it is
 * one higher. Throws, and changes nothing, where a registration is refused.
 */
export function applyEvents(
  state: ClusterState,
  events: readonly ClusterEvent[],
  nowMs: number,
): ClusterState {
  const draft: Draft = {
    mgs: new Map(state.mgs),
    mds: new Map(state.mds),
    targets: new Map(state.targets),
    usages: new Map(state.usages),
  };
  for (const event of events) applyEvent(draft, event, nowMs);
  const changed = events.some(({ type }) => type === "fenced") || differs(state.mgs, draft.mgs) ||
    differs(state.mds, draft.mds) ||
    differs(state.targets, draft.targets);
  return { ...draft, epoch: changed ? state.epoch + 1 : state.epoch };
}

interface Draft {
  readonly mgs: Map<string, ServerRecord>;
  readonly mds: Map<string, ServerRecord>;
  readonly targets: Map<number, TargetRecord>;
  readonly usages: Map<number, Usage>;
}

function applyEvent(draft: Draft, event: ClusterEvent, nowMs: number): void {
  switch (event.type) {
    case "registered":
      return register(draft, event.registration);
    case "unregistered":
      return unregister(draft, event.nodeId, nowMs);
    case "probeSucceeded":
      return probeSucceeded(draft, event.node, event.usage);
    case "probeFailed":
      return probeFailed(draft, event.node, event.failures, nowMs);
    case "fenced":
      return;
    case "timePassed":
      return forget(draft, nowMs);
  }
}

// ── registration ───────────────────────────────────────────────────────────────────────────────

function register(draft: Draft, registration: Registration): void {
  if (registration.role === "oss") registerTarget(draft, registration);
  else registerServer(draft[registration.role], registration.role, registration);
}

/**
 * A node takes its address: whoever had it is gone, for two cannot listen there. A node that comes
 * with another address has moved.
 */
function registerServer(
  servers: Map<string, ServerRecord>,
  role: "mgs" | "mds",
  registration: Registration,
): void {
  const { nodeId, address, hostName, version } = registration;
  const key = formatAddress(address);
  for (const [knownKey, known] of servers) {
    if (known.nodeId === nodeId && knownKey !== key) servers.delete(knownKey);
  }
  if (!servers.has(key) && servers.size >= limits.serversMax) {
    throw refused(registration, "ENOSPC", `the cluster has ${servers.size} ${role} already`);
  }
  put(servers, key, { nodeId, address, hostName, version, state: "up" });
}

/**
 * An index belongs to the OST that took it first, for it holds the objects: another node that comes
 * with it is refused, whether the first one is up or down.
 */
function registerTarget(draft: Draft, registration: Registration): void {
  const { targetIndex: index, nodeId, address, hostName, version } = registration;
  if (index === undefined) throw refused(registration, "BAD_REQUEST", "it has no OST index");
  const known = draft.targets.get(index);
  if (known && known.nodeId !== nodeId) throw refusedIndex(registration, known);
  for (const other of draft.targets.values()) {
    if (other.nodeId === nodeId && other.index !== index) {
      throw refused(registration, "WRONG_TARGET", `the same directory is OST ${other.index}`);
    }
  }
  if (!known && draft.targets.size >= limits.targetsMax) {
    throw refused(registration, "ENOSPC", `the cluster has ${draft.targets.size} OSTs already`);
  }
  const { dataPath = "streaming" } = registration;
  put(draft.targets, index, { index, nodeId, address, hostName, version, dataPath, state: "up" });
  putUsage(draft, index, registration.usage ?? draft.usages.get(index) ?? noUsage);
}

function refusedIndex(registration: Registration, known: TargetRecord): RustreError {
  const owner = `${formatAddress(known.address)} on ${known.hostName}`;
  const reason = known.state === "up"
    ? `another directory serves that index at ${owner}; give this one a free index`
    : `that index belongs to the directory that was served at ${owner} and is down; ` +
      "start that one again, or give this one a free index";
  return refused(registration, "WRONG_TARGET", reason);
}

function refused(
  { role, targetIndex, address }: Registration,
  code: "ENOSPC" | "BAD_REQUEST" | "WRONG_TARGET",
  reason: string,
): RustreError {
  const name = targetIndex === undefined ? role : `OST ${targetIndex}`;
  return new RustreError(code, `Cannot register ${name} at "${formatAddress(address)}": ${reason}`);
}

/** An OST stays known, for its objects are; an mgs or mds has nothing to come back for. */
function unregister(draft: Draft, nodeId: string, nowMs: number): void {
  for (const servers of [draft.mgs, draft.mds]) {
    for (const [key, server] of servers) {
      if (server.nodeId === nodeId) servers.delete(key);
    }
  }
  for (const [index, target] of draft.targets) {
    if (target.nodeId === nodeId) goDown(draft.targets, index, target, nowMs);
  }
}

// ── probes and time ────────────────────────────────────────────────────────────────────────────

/** A probe says something only of a node that is still where it was probed. */
function probeSucceeded(draft: Draft, node: ProbedNode, usage: Usage | undefined): void {
  if (node.role !== "oss") {
    const key = formatAddress(node.address);
    const server = draft[node.role].get(key);
    if (server && isSame(server, node)) put(draft[node.role], key, comeUp(server));
    return;
  }
  const target = targetOf(draft, node);
  if (!target) return;
  put(draft.targets, target.index, comeUp(target));
  if (usage) putUsage(draft, target.index, usage);
}

function probeFailed(draft: Draft, node: ProbedNode, failures: number, nowMs: number): void {
  if (failures < limits.probeFailuresMax) return;
  if (node.role !== "oss") {
    const key = formatAddress(node.address);
    const server = draft[node.role].get(key);
    if (server && isSame(server, node)) goDown(draft[node.role], key, server, nowMs);
    return;
  }
  const target = targetOf(draft, node);
  if (target) goDown(draft.targets, target.index, target, nowMs);
}

function forget(draft: Draft, nowMs: number): void {
  for (const servers of [draft.mgs, draft.mds]) {
    for (const [key, server] of servers) {
      const downForMs = nowMs - (server.downSinceMs ?? nowMs);
      if (server.state === "down" && downForMs >= limits.serverForgetMs) servers.delete(key);
    }
  }
}

// ── records ────────────────────────────────────────────────────────────────────────────────────

function targetOf(draft: Draft, node: ProbedNode): TargetRecord | undefined {
  if (node.targetIndex === undefined) return undefined;
  const target = draft.targets.get(node.targetIndex);
  return target && isSame(target, node) ? target : undefined;
}

function isSame(record: ServerRecord | TargetRecord, node: ProbedNode): boolean {
  return record.nodeId === node.nodeId && sameAddress(record.address, node.address);
}

function comeUp<R extends ServerRecord | TargetRecord>(record: R): R {
  const { downSinceMs: _, ...rest } = record;
  return { ...rest, state: "up" } as R;
}

function goDown<K, R extends ServerRecord | TargetRecord>(
  records: Map<K, R>,
  key: K,
  record: R,
  nowMs: number,
): void {
  if (record.state === "up") records.set(key, { ...record, state: "down", downSinceMs: nowMs });
}

/** Keeps the old object where nothing changes. */
function put<K, R extends ServerRecord & Partial<Pick<Target, "dataPath">>>(
  records: Map<K, R>,
  key: K,
  record: R,
): void {
  const known = records.get(key);
  const same = known && known.nodeId === record.nodeId && known.state === record.state &&
    sameAddress(known.address, record.address) && known.hostName === record.hostName &&
    known.version === record.version && known.dataPath === record.dataPath;
  if (!same) records.set(key, record);
}

function putUsage(draft: Draft, index: number, usage: Usage): void {
  const known = draft.usages.get(index);
  if (!known || !isSameUsage(known, usage)) draft.usages.set(index, usage);
}

function differs<K, R>(before: ReadonlyMap<K, R>, after: ReadonlyMap<K, R>): boolean {
  if (before.size !== after.size) return true;
  for (const [key, record] of after) if (before.get(key) !== record) return true;
  return false;
}

// ── what others see ────────────────────────────────────────────────────────────────────────────

/** The map of a state, in the order of addresses and indices. */
export function clusterMapOf(
  cluster: { readonly clusterId: string; readonly clusterName: string },
  state: ClusterState,
): ClusterMap {
  return {
    clusterId: cluster.clusterId,
    clusterName: cluster.clusterName,
    epoch: state.epoch,
    mgs: serversOf(state.mgs),
    mds: serversOf(state.mds),
    targets: [...state.targets.values()].sort((a, b) => a.index - b.index)
      .map((target) => publicTarget(target, state.usages.get(target.index) ?? noUsage)),
  };
}

function serversOf(records: ReadonlyMap<string, ServerRecord>): Server[] {
  return [...records].sort(([a], [b]) => a < b ? -1 : 1).map(([, record]) => publicServer(record));
}

function publicServer({ downSinceMs: _, ...server }: ServerRecord): Server {
  return server;
}

function publicTarget({ downSinceMs: _, ...target }: TargetRecord, usage: Usage): Target {
  return { ...target, usage };
}
