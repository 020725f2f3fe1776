// Checks a cluster while it runs: the store holds what docs/architecture.md says that always holds,
// and the OSTs have what the store says. It runs beside the servers, on a handle of its own on the
// store, and asks the OSTs like a client. Nothing that changes meanwhile is taken for damage: what
// does not fit is looked at again, at one moment of the store, before it is said.

import { ClusterMapCache } from "../../shared/cluster_map.ts";
import type { Address, Environment } from "../../shared/environment.ts";
import { RustreError } from "../../shared/errors.ts";
import { limits } from "../../shared/limits.ts";
import type { Logger } from "../../shared/logging.ts";
import { RpcClient } from "../../shared/rpc/client.ts";
import { requireCluster } from "../../shared/store/cluster_id.ts";
import type { Store } from "../../shared/store/store.ts";
import { readOnly } from "../../shared/store/transact.ts";
import { Schema } from "../schema.ts";
import { checkGarbageTargets, waitForDueWork } from "./due_work.ts";
import { type FindingOutcome, Report, type ReportedFinding } from "./findings.ts";
import { readEntries, readInodes, Tree } from "./namespace.ts";
import { ListedObjects } from "./listed_objects.ts";
import type { CheckContext, CheckProgress } from "./reading.ts";
import { heldLease } from "./repair_lease.ts";
import { RequiredObjects } from "./required_objects.ts";
import {
  addLostFiles,
  checkInodeCount,
  checkSuspectDirectories,
  checkSuspectInodes,
} from "./suspects.ts";
import { Targets } from "./targets.ts";
import { checkWorkUnderWay } from "./work_under_way.ts";

export type { CheckProgress } from "./reading.ts";
export type { FindingOutcome, ReportedFinding } from "./findings.ts";

export interface FsckOptions {
  readonly environment: Environment;
  readonly store: Store;
  readonly clusterName: string;
  /** Where the OSTs are known; nothing: only the store is checked. */
  readonly mgs: readonly Address[] | undefined;
  /** Whether what can be repaired safely is. */
  readonly repair: boolean;
  /**
   * Whether a repair destroys objects of which nobody knows the file: with a store that is older
   * than its OSTs that is all there is of them.
   */
  readonly deleteOrphans?: boolean;
  readonly log: Logger;
  readonly signal?: AbortSignal | undefined;
  /** What is wrong, as it is found. */
  readonly onFinding?: (finding: ReportedFinding) => void | Promise<void>;
  readonly onProgress?: (progress: CheckProgress) => void;
  /** An OST that did not answer. */
  readonly onFailure?: (targetIndex: number, error: RustreError) => void;
  /** Keys that are read at a time; limits.checkPageEntries by default. */
  readonly pageEntries?: number;
}

export interface FsckSummary {
  readonly inodes: number;
  readonly entries: number;
  /** On the OSTs, replicas counted for themselves. */
  readonly objects: number;
  readonly bytes: number;
  readonly findings: Readonly<Record<FindingOutcome, number>>;
  /** What changed each time that it was looked at. */
  readonly undecided: number;
  /** Counters that changed while what they count was counted, which takes more than a moment. */
  readonly uncomparedCounters: number;
  /** OSTs that could not be checked to their end. */
  readonly failedTargets: readonly number[];
}

export async function fsck(options: FsckOptions): Promise<FsckSummary> {
  const { environment, store, clusterName, signal, onFinding, onProgress } = options;
  const schema = new Schema(clusterName);
  const clusterId = await readOnly(
    { environment, store },
    (transaction) => requireCluster(transaction, clusterName, { url: store.url, what: "check" }),
  );
  await using opened = new AsyncDisposableStack();
  const targets = options.mgs && await openTargets(options, options.mgs, clusterId, opened);
  const context: CheckContext = {
    ...{ store, environment, signal, schema },
    report: new Report({ repair: options.repair, onFinding }),
    onProgress: onProgress ?? (() => {}),
    deleteOrphans: options.deleteOrphans ?? false,
    lease: options.repair ? await heldLease(options, schema.fsckLease, opened) : undefined,
    pageEntries: options.pageEntries ?? limits.checkPageEntries,
  };
  return await check(context, targets);
}

async function openTargets(
  { environment, store, log, signal, onFailure }: FsckOptions,
  mgs: readonly Address[],
  clusterId: string,
  opened: AsyncDisposableStack,
): Promise<Targets> {
  const rpc = opened.use(new RpcClient({ environment, caller: "client" }));
  const maps = opened.use(new ClusterMapCache({ environment, rpc, mgs, log }));
  const map = await maps.get(signal);
  if (map.clusterId !== clusterId) {
    throw new RustreError(
      "WRONG_CLUSTER",
      `Cannot check the store "${store.url}": the mgs is of another cluster`,
    );
  }
  return await Targets.open({ environment, rpc, maps, signal, onFailure: onFailure ?? (() => {}) });
}

async function check(context: CheckContext, targets: Targets | undefined): Promise<FsckSummary> {
  const { report } = context;
  const tree = new Tree();
  await readEntries(context, tree);
  const required = targets && new RequiredObjects(context, targets);
  await readInodes(context, tree, async (inode, value) => await required?.add(inode, value));
  await required?.flush();
  const lostFiles = await checkSuspectInodes(context, tree);
  await checkSuspectDirectories(context, tree);
  const due = await checkWorkUnderWay(context);
  let totals = { objects: 0, bytes: 0 };
  if (targets) {
    await checkGarbageTargets(context, targets, due);
    const watched = new Set(lostFiles.keys());
    const listed = new ListedObjects(context, { targets, tree, watched });
    await listed.check();
    totals = listed.totals;
    await addLostFiles(context, lostFiles, listed.hasObjects);
    await waitForDueWork(context, due, (index) => targets.wasUp(index));
  } else {
    await addLostFiles(context, lostFiles, () => undefined);
  }
  await checkInodeCount(context, tree);
  return {
    ...{ inodes: tree.inodes, entries: tree.entries },
    ...totals,
    findings: report.counts,
    undecided: report.undecided,
    uncomparedCounters: report.uncompared,
    failedTargets: targets?.failed ?? [],
  };
}
