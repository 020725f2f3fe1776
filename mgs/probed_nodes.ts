// The nodes that an mgs probes, as the store or a registration has them.

import { formatAddress } from "../shared/address.ts";
import type { Registration } from "../shared/protocol/mgs.ts";
import type { ClusterState, ProbedNode } from "./cluster_state.ts";

export function nodeOf({ role, nodeId, address, targetIndex }: Registration): ProbedNode {
  return { role, nodeId, address, ...(targetIndex === undefined ? {} : { targetIndex }) };
}

/** A node as the store has it. */
export interface StoredNode extends ProbedNode {
  readonly hostName: string;
  readonly wasUp: boolean;
}

export function nodesOf(state: ClusterState): StoredNode[] {
  const nodes: StoredNode[] = [];
  for (const role of ["mgs", "mds"] as const) {
    for (const { nodeId, address, hostName, state: is } of state[role].values()) {
      nodes.push({ role, nodeId, address, hostName, wasUp: is === "up" });
    }
  }
  for (const { nodeId, address, index, hostName, state: is } of state.targets.values()) {
    const wasUp = is === "up";
    nodes.push({ role: "oss", nodeId, address, targetIndex: index, hostName, wasUp });
  }
  return nodes;
}

/** For messages and tables: the same for the same node at the same place. */
export function nameOf(node: ProbedNode): string {
  const name = node.targetIndex === undefined ? node.role : `OST ${node.targetIndex}`;
  return `${name} at "${formatAddress(node.address)}"`;
}
