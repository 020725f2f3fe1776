// Real servers, two of each role on one store, killed, stopped and started again under load:
// no operation fails, and each has its effect once.

import assert from "node:assert/strict";
import { isRustreError } from "../../shared/errors.ts";
import { limits } from "../../shared/limits.ts";
import type { Cluster } from "../../client/mod.ts";
import { eventually } from "../support/eventually.ts";
import { checkStoreAtRest } from "../support/foundationdb.ts";
import { runRustre } from "../support/processes.ts";
import { ServerCluster } from "../support/server_cluster.ts";
import { SteadyLoad } from "../support/steady_load.ts";

const root = { uid: 0, gid: 0, groups: [] };

async function startLoad(cluster: ServerCluster, replicas: number): Promise<SteadyLoad> {
  const clients = Array.from({ length: 3 }, () => cluster.connect().fileSystem(root));
  const load = await SteadyLoad.start({ clients, inFlight: 4, replicas });
  await load.progress(100);
  return load;
}

/** Every server is in the map and up. */
function isWhole(client: Cluster, servers: number): () => Promise<boolean> {
  return async () => {
    try {
      const { mgs, mds, targets } = await client.map();
      const all = [...mgs, ...mds, ...targets];
      return all.length === servers && all.every(({ state }) => state === "up");
    } catch (error) {
      if (!isRustreError(error)) throw error;
      return false;
    }
  };
}

/** All is there that was done, nothing twice, and nothing is left to do. */
async function checkAfter(cluster: ServerCluster, load: SteadyLoad): Promise<void> {
  await load.stop();
  await load.check(cluster.connect().fileSystem(root));
  await cluster.disconnect();
  // A session whose farewell was lost ends with its lease.
  await checkStoreAtRest(cluster.storeUrl, 2 * limits.sessionLeaseMs);
}

Deno.test("kill -9 of every mgs and mds in turn under load: nothing fails or happens twice", async () => {
  await using cluster = await ServerCluster.start({ workers: 1 });
  const watcher = cluster.connect();
  const load = await startLoad(cluster, 2);
  const names = ["mds0", "mgs0", "mds1", "mgs1", "mds0", "mgs0"];
  for (const name of names) {
    await load.during(cluster.end(name, "SIGKILL"));
    await load.progress(200);
    await load.during(cluster.startAgain(name));
    await load.during(eventually(isWhole(watcher, cluster.names.length)));
    await load.progress(200);
  }
  await checkAfter(cluster, load);
});

Deno.test("a rolling restart of every server under load: nothing fails or happens twice", async () => {
  await using cluster = await ServerCluster.start({ workers: 2 });
  const watcher = cluster.connect();
  const load = await startLoad(cluster, 2);
  for (const name of cluster.names) {
    const { code } = await load.during(cluster.end(name, "SIGTERM"));
    assert.equal(code, 0, cluster.process(name).errors());
    await load.during(cluster.startAgain(name));
    await load.during(eventually(isWhole(watcher, cluster.names.length)));
    await load.progress(200);
  }
  await checkAfter(cluster, load);
});

Deno.test("an mds and the mgs that probes that hang under load are passed by, and change nothing when they wake", async () => {
  await using cluster = await ServerCluster.start({ workers: 1 });
  const watcher = cluster.connect();
  const load = await startLoad(cluster, 1);
  for (const name of ["mds0", "mgs0"]) {
    const [role, address] = [name.slice(0, 3) as "mds" | "mgs", cluster.process(name).ready];
    const state = async () => {
      const servers = (await watcher.map())[role];
      const port = Number(address.slice(address.lastIndexOf(":") + 1));
      return servers.find((each) => each.address.port === port)?.state;
    };
    await cluster.stopBetweenCommits(name);
    await load.during(eventually(async () => await state() === "down"));
    await load.progress(200);
    cluster.process(name).kill("SIGCONT");
    await load.during(eventually(isWhole(watcher, cluster.names.length)));
    await load.progress(200);
  }
  await checkAfter(cluster, load);
});

Deno.test("clients need one mgs of their list that lives, and learn the others from it", async () => {
  await using cluster = await ServerCluster.start({ workers: 1, osts: 1 });
  const [first, second] = cluster.mgsAddresses.map(({ host, port }) => `${host}:${port}`);
  const list = (mgs: string) => runRustre(["--mgs", mgs, "client", "ls", "/"]);
  await cluster.end("mgs0", "SIGKILL");
  const both = await list(`${first},${second}`);
  assert.equal(both.code, 0, both.stderr);
  const alone = await list(first!);
  assert.equal(alone.code, 1);
  assert.match(alone.stderr, /Cannot reach an mgs/);
  // One that was given only the first has learnt the second from it.
  await cluster.startAgain("mgs0");
  const status = await runRustre(["--mgs", first!, "status", "--json"]);
  assert.equal(JSON.parse(status.stdout).mgs.length, 2);
});
