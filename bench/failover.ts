// How long the longest operation takes while a server dies: real processes, two of each role, and
// clients that go on. A server that is stopped in its tracks stands for a machine that vanishes:
// nothing tells that it is gone.

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
  readonly signal: "SIGKILL" | "SIGSTOP";
  readonly targetMs: number;
}

const cases: readonly Case[] = [
  { bench: "failover.mds.kill", role: "mds", signal: "SIGKILL", targetMs: 2_000 },
  { bench: "failover.mds.hang", role: "mds", signal: "SIGSTOP", targetMs: 2_000 },
  { bench: "failover.mgs.kill", role: "mgs", signal: "SIGKILL", targetMs: 6_000 },
  { bench: "failover.mgs.hang", role: "mgs", signal: "SIGSTOP", targetMs: 6_000 },
];

export async function failover({ wants }: Options): Promise<boolean> {
  let ok = true;
  for (const each of cases) {
    if (wants(each.bench)) ok = await measure(each) && ok;
  }
  return ok;
}

async function measure({ bench, role, signal, targetMs }: Case): Promise<boolean> {
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
    cluster.process(name).kill(signal);
    await load.during(pause(watchMs));
    const longest = load.takeLongest();
    if (longest.tookMs > worst.tookMs) worst = longest;
    if (signal === "SIGSTOP") cluster.process(name).kill("SIGCONT");
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
