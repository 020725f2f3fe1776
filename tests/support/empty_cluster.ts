// The state that a new cluster begins with.

import type { ClusterState } from "../../mgs/cluster_state.ts";

export const emptyState: ClusterState = {
  epoch: 0,
  mgs: new Map(),
  mds: new Map(),
  targets: new Map(),
  usages: new Map(),
};
