// The end of a simulated run: nothing fails any more, and what there is has to be right and usable.

import type { Cluster, FileSystem, ScrubFinding } from "../../client/mod.ts";
import { messageOf } from "../../shared/errors.ts";
import { limits } from "../../shared/limits.ts";
import { checkStore, leftovers } from "../support/check_store.ts";
import type { Bug } from "./bugs.ts";
import type { Contents } from "./contents.ts";
import { runFsck } from "./fsck_runs.ts";
import type { Hosts } from "./hosts.ts";
import { checkHistory, type History } from "./linearizability.ts";
import type { HostProcess } from "./process.ts";
import { Lane, type WorkloadContext } from "./workload.ts";

/** Virtual time in which what clients left has to be done, and every server has to be up. */
const leftoversEndMs = 120_000;
const upEndMs = 20_000;

const root = { uid: 0, gid: 0, groups: [] };

export interface JudgedRun {
  readonly hosts: Hosts;
  readonly bug: Bug | undefined;
  readonly workload: WorkloadContext;
  readonly history: History;
  readonly contents: Contents;
}

/** Throws where a promise was not kept. Every client has ended before. */
export async function judge(run: JudgedRun): Promise<void> {
  const { hosts, bug, workload, history, contents } = run;
  const environment = { clock: hosts.clock, random: hosts.delays };
  const checked = { store: hosts.store, environment: () => environment };
  await requireNothingLeft(hosts, checked);
  bug?.atTheEnd?.(hosts);
  await withClient(hosts, "scrubber", (cluster) => requireNoDamage(hosts, cluster));
  await withClient(
    hosts,
    "reader",
    (cluster, process) => new Lane(workload, process, cluster, "reader").readAll(),
  );
  const verdict = checkHistory(history);
  if (!verdict.fits) throw new Error(verdict.explanation);
  await withClient(
    hosts,
    "newcomer",
    (cluster) => requireAvailable(cluster.fileSystem(root)),
  );
  await requireNothingLeft(hosts, checked);
  await requireSound(hosts);
  await hosts.closeServers();
  const targets = [];
  for (const disk of hosts.disks) targets.push({ disk: await disk.contents(environment) });
  await checkStore({ ...checked, targets }, (ino) => contents.isTroubled(ino));
}

async function withClient(
  hosts: Hosts,
  name: string,
  use: (cluster: Cluster, process: HostProcess) => Promise<void>,
): Promise<void> {
  const process = hosts.newProcess(name);
  const cluster = hosts.connect(process);
  await use(cluster, process);
  await cluster.close();
}

async function requireNothingLeft(
  hosts: Hosts,
  checked: Parameters<typeof leftovers>[0],
): Promise<void> {
  const endMs = hosts.clock.monotonicMs() + leftoversEndMs;
  for (;;) {
    const left = await leftovers(checked);
    if (left.length === 0) return;
    if (hosts.clock.monotonicMs() >= endMs) throw new Error(`Left undone: ${left.join(", ")}`);
    await hosts.sleep(500);
  }
}

/** Every OST is up, if not at once, and each block on it has its checksum. */
async function requireNoDamage(hosts: Hosts, cluster: Cluster): Promise<void> {
  const endMs = hosts.clock.monotonicMs() + upEndMs;
  const onFinding = (finding: ScrubFinding) => {
    throw new Error(`A scrub finds damage: ${JSON.stringify(finding)}`);
  };
  for (;;) {
    const { failedTargets } = await cluster.scrub({ repair: false, onFinding });
    if (failedTargets.length === 0) return;
    if (hosts.clock.monotonicMs() >= endMs) throw new Error(`OST ${failedTargets.join()} is down`);
    await hosts.sleep(1_000);
  }
}

/** A check that nobody disturbs finds nothing, and comes to its end. */
async function requireSound(hosts: Hosts): Promise<void> {
  const fail = (reason: string) => {
    throw new Error(reason);
  };
  const process = hosts.newProcess("auditor");
  const options = { repair: false, pageEntries: limits.checkPageEntries };
  const { undecided, failedTargets } = await runFsck(hosts, process, fail, options);
  const isWhole = undecided === 0 && failedTargets.length === 0;
  if (!isWhole) throw new Error(`fsck: ${undecided} undecided, OST ${failedTargets.join()} failed`);
}

// ── availability ───────────────────────────────────────────────────────────────────────────────

/** Nothing is in the way of whoever comes: no dead client's lease, cut or open file. */
async function requireAvailable(fileSystem: FileSystem): Promise<void> {
  const bytes = new Uint8Array(3 * limits.stripeBytesMin).fill(1);
  const layout = { stripeBytes: limits.stripeBytesMin, stripeCount: 3, replicas: 2 };
  const put = async () => {
    await using file = await fileSystem.create("/newcomer/file", { layout });
    await file.write(0, bytes);
    await file.close();
  };
  await attempt("make a directory", () => fileSystem.mkdir("/newcomer"));
  await attempt("put a file on all OSTs", put);
  await attempt("read it", async () => {
    await using file = await fileSystem.open("/newcomer/file");
    await file.read(0, bytes.length);
  });
  await attempt("link it", () => fileSystem.link("/newcomer/file", "/newcomer/link"));
  await attempt("rename it", () => fileSystem.rename("/newcomer/file", "/newcomer/link2"));
  for (const name of ["link", "link2"]) {
    await attempt("remove it", () => fileSystem.unlink(`/newcomer/${name}`));
  }
  await attempt("remove a directory", () => fileSystem.rmdir("/newcomer"));
  await useAll(fileSystem, "");
}

/** Writes nothing: what is there is compared later. */
async function useAll(fileSystem: FileSystem, directory: string): Promise<void> {
  const path = directory === "" ? "/" : directory;
  for (const { name, type } of await Array.fromAsync(fileSystem.readdir(path))) {
    const child = `${directory}/${name}`;
    if (type === "directory") await useAll(fileSystem, child);
    if (type !== "file") continue;
    const { sizeBytes } = await fileSystem.stat(child);
    await attempt(`cut "${child}"`, () => fileSystem.setAttributes(child, { sizeBytes }));
    await attempt(`write "${child}"`, async () => {
      await using file = await fileSystem.openForWriting(child);
      await file.close();
    });
  }
}

async function attempt(what: string, run: () => Promise<unknown>): Promise<void> {
  try {
    await run();
  } catch (error) {
    throw new Error(`A new client cannot ${what}: ${messageOf(error)}`);
  }
}
