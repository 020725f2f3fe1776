// How long the longest operation takes while a server dies: real processes, two of each role, and
// clients that go on. A server that is stopped in its tracks stands for a machine that vanishes:
// nothing tells that it is gone. It is stopped between two commits: with the lock of sqlite in hand it
// would stop every other process too, which no machine does that vanishes, for it has no store.

import { ServerCluster } from "../tests/support/server_cluster.ts";
import { SteadyLoad } from "../tests/support/steady_load.ts";
import { type Options, report } from "./harness.ts";

const caller = { uid: 0, gid: 0, groups: [] };
/** How long the load is watched after a server died: longer than any lease. */
const watchMs = 8_000;
const roundsOfKill = 3;

interface Case {
  readonly bench: string;
  readonly role: "mgs" | "mds";
  readonly end: "kill" | "hang";
  readonly targetMs: number;
}

const cases: readonly Case[] = [
  { bench: "ha.mds.kill", role: "mds", end: "kill", targetMs: 2_000 },
  { bench: "ha.mds.hang", role: "mds", end: "hang", targetMs: 2_000 },
  { bench: "ha.mgs.kill", role: "mgs", end: "kill", targetMs: 6_000 },
  { bench: "ha.mgs.hang", role: "mgs", end: "hang", targetMs: 6_000 },
];

export async function highAvailability({ wants }: Options): Promise<boolean> {
  let ok = true;
  for (const each of cases) {
    if (wants(each.bench)) ok = await measure(each) && ok;
  }
  return ok;
}

async function measure({ bench, role, end, targetMs }: Case): Promise<boolean> {
  await using cluster = await ServerCluster.start({ workers: 1 });
  const clients = Array.from({ length: 4 }, () => cluster.connect().fileSystem(caller));
  const load = await SteadyLoad.start({ clients, inFlight: 8, replicas: 1 });
  await load.progress(2_000);
  load.takeLongest();
  await load.during(pause(watchMs / 2));
  const undisturbed = load.takeLongest();
  const before = load.count;
  let worst = { what: "nothing", tookMs: 0 };
  for (let round = 0; round < roundsOfKill; round++) {
    const name = `${role}${round % 2}`;
    if (end === "hang") await load.during(cluster.stopBetweenCommits(name));
    else cluster.process(name).kill("SIGKILL");
    await load.during(pause(watchMs));
    const longest = load.takeLongest();
    if (longest.tookMs > worst.tookMs) worst = longest;
    if (end === "hang") cluster.process(name).kill("SIGCONT");
    else await load.during(cluster.startAgain(name));
    await load.during(pause(watchMs / 4));
    load.takeLongest();
  }
  const operations = load.count - before;
  await load.stop();
  await load.check(clients[0]!);
  return report({
    bench,
    value: worst.tookMs / 1000,
    unit: "s",
    target: targetMs / 1000,
    lowerIsBetter: true,
    operation: worst.what.split(" ")[0],
    undisturbedSeconds: Number((undisturbed.tookMs / 1000).toPrecision(3)),
    operations,
    failed: 0,
  });
}

function pause(delayMs: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, delayMs));
}
