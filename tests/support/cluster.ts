// A whole cluster and its clients in one thread: memory store, memory objects, memory network, and a
// clock that jumps. Hosts can be killed and started again; what they kept stays.

import { Cluster } from "../../client/mod.ts";
import type { ClusterOptions, FileSystem } from "../../client/mod.ts";
import { type MdsOptions, type RunningMds, startMds } from "../../mds/start.ts";
import { type RunningMgs, startMgs } from "../../mgs/start.ts";
import { MemoryTarget } from "../../oss/memory_store.ts";
import { type RunningOss, startOss } from "../../oss/start.ts";
import type { Environment } from "../../shared/environment.ts";
import { loggerOf } from "../../shared/logging.ts";
import type { Caller } from "../../shared/model.ts";
import { type Endpoint, RpcClient } from "../../shared/rpc/client.ts";
import { MemoryStore } from "../../shared/store/memory.ts";
import type { Store } from "../../shared/store/store.ts";
import { checkStore, leftovers } from "./check_store.ts";
import { jitteryStore } from "./jittery_store.ts";
import { MemoryNetwork } from "./memory_network.ts";
import { SeededRandom } from "./seeded_random.ts";
import { VirtualClock } from "./virtual_clock.ts";

export const root: Caller = { uid: 0, gid: 0, groups: [] };
const mgsAddress = { host: "mgs0", port: 9400 };

type RunningServer = RunningMgs | RunningMds | RunningOss;

export interface TestClusterOptions {
  readonly seed?: number;
  readonly osts?: number;
  /** Puts something between an mds and the store. */
  readonly mdsStore?: (store: Store, mds: string, clock: VirtualClock) => Store;
  /** Commits take a random time, by this seed: concurrent operations meet in every order. */
  readonly commitJitter?: number;
  /** Why what the test leaves is not what a cluster at rest looks like. */
  readonly uncheckedBecause?: string;
}

export class TestCluster {
  readonly clock: VirtualClock;
  readonly network = new MemoryNetwork();
  readonly store: Store;
  readonly targets: MemoryTarget[];
  readonly servers = new Map<string, RunningServer>();
  readonly #random: SeededRandom;
  readonly #options: TestClusterOptions;
  readonly #clients: Cluster[] = [];
  readonly #rpcs: RpcClient[] = [];

  constructor(clock: VirtualClock, options: TestClusterOptions) {
    this.clock = clock;
    this.#options = options;
    this.#random = new SeededRandom(options.seed ?? 1);
    this.store = new MemoryStore(clock);
    this.targets = Array.from(
      { length: options.osts ?? 4 },
      () => new MemoryTarget(this.#random),
    );
  }

  environment(host: string): Environment {
    const { clock } = this;
    return { clock, random: this.#random, transport: this.network.transport(host) };
  }

  async startAll(): Promise<void> {
    await this.startMgs();
    await this.startMds();
    for (const index of this.targets.keys()) await this.startOss(index);
    await this.allUp();
  }

  async startMgs(name = "mgs0"): Promise<RunningMgs> {
    const mgs = await startMgs({ ...this.#common(name), store: this.store, clusterName: "test" });
    this.servers.set(name, mgs);
    return mgs;
  }

  async startMds(name = "mds0", options: Partial<MdsOptions> = {}): Promise<RunningMds> {
    const mds = await startMds({
      ...this.#common(name),
      store: this.#mdsStore(name),
      clusterName: "test",
      mgs: [mgsAddress],
      rootOwner: { uid: 0, gid: 0 },
      ...options,
    });
    this.servers.set(name, mds);
    await mds.registered;
    return mds;
  }

  #mdsStore(mds: string): Store {
    const { mdsStore, commitJitter } = this.#options;
    if (mdsStore) return mdsStore(this.store, mds, this.clock);
    if (commitJitter === undefined) return this.store;
    // Each its own: two that wait equally long would always come in the same order.
    const random = new SeededRandom(commitJitter + Number(mds.slice("mds".length)));
    return jitteryStore(this.store, this.clock, random);
  }

  async startOss(targetIndex: number): Promise<RunningOss> {
    const name = `oss${targetIndex}`;
    const oss = await startOss({
      ...this.#common(name),
      mgs: [mgsAddress],
      storage: this.targets[targetIndex]!,
      targetIndex,
    });
    this.servers.set(name, oss);
    await oss.registered;
    return oss;
  }

  /** Waits until the map shows every server that was started, up. */
  async allUp(): Promise<void> {
    await using cluster = this.connect("watcher");
    for (;;) {
      const map = await cluster.map();
      const all = [...map.mgs, ...map.mds, ...map.targets];
      if (all.every((server) => server.state === "up") && all.length === this.servers.size) return;
      await this.sleep(100);
    }
  }

  connect(
    host = `client${this.#clients.length}`,
    environment: Partial<Environment> = {},
    options: Partial<ClusterOptions> = {},
  ): Cluster {
    const cluster = new Cluster({
      ...options,
      mgs: [mgsAddress],
      environment: { ...this.environment(host), ...environment },
    });
    this.#clients.push(cluster);
    return cluster;
  }

  /** The RPC of a client that says exactly what a test wants said. */
  rpc(host: string): RpcClient {
    const rpc = new RpcClient({ environment: this.environment(host), caller: "client" });
    this.#rpcs.push(rpc);
    return rpc;
  }

  /** Where a server that runs is reached. */
  endpoint(name: string): Endpoint {
    const { address } = this.servers.get(name)!;
    const role = name.replace(/\d+$/, "") as Endpoint["role"];
    return role === "oss"
      ? { address, role, targetIndex: Number(name.slice(3)) }
      : { address, role };
  }

  fileSystem(caller: Caller = root): FileSystem {
    return this.connect().fileSystem(caller);
  }

  /** Stops a server as SIGTERM does. */
  async stop(name: string): Promise<void> {
    await this.servers.get(name)!.close();
    this.servers.delete(name);
  }

  /** Kills a server as SIGKILL does: it says goodbye to nobody. What it kept stays. */
  async crash(name: string): Promise<void> {
    this.network.kill(name);
    await this.stop(name);
    this.network.revive(name);
  }

  sleep(delayMs: number): Promise<void> {
    return new Promise((resolve) => this.clock.setTimer(resolve, delayMs));
  }

  /** Waits until `condition` holds; the test fails after `timeoutMs` of virtual time. */
  async eventually(
    condition: () => boolean | Promise<boolean>,
    timeoutMs = 120_000,
  ): Promise<void> {
    const endMs = this.clock.monotonicMs() + timeoutMs;
    while (!(await condition())) {
      if (this.clock.monotonicMs() > endMs) throw new Error("It did not happen in time");
      await this.sleep(100);
    }
  }

  /** Bytes and objects on all OSTs. */
  usage(): { bytes: number; objects: number } {
    let [bytes, objects] = [0, 0];
    for (const { disk } of this.targets) {
      objects += disk.objects.size;
      for (const { lengthBytes } of disk.objects.values()) bytes += lengthBytes;
    }
    return { bytes, objects };
  }

  /** Waits until nothing is left to be done or undone, and checks what there is then. */
  async checkAtRest(): Promise<void> {
    await this.#closeClients();
    if (![...this.servers.keys()].some((name) => name.startsWith("mgs"))) await this.startMgs();
    if (![...this.servers.keys()].some((name) => name.startsWith("mds"))) await this.startMds();
    for (const index of this.targets.keys()) {
      if (!this.servers.has(`oss${index}`)) await this.startOss(index);
    }
    const endMs = this.clock.monotonicMs() + 120_000;
    while ((await leftovers(this)).length > 0 && this.clock.monotonicMs() < endMs) {
      await this.sleep(500);
    }
    await checkStore(this);
  }

  async #closeClients(): Promise<void> {
    for (const client of this.#clients) await client.close();
    for (const rpc of this.#rpcs) await rpc.close();
  }

  async close(): Promise<void> {
    await this.#closeClients();
    for (const name of [...this.servers.keys()].reverse()) await this.stop(name);
    await this.store.close();
  }

  #common(host: string) {
    return {
      environment: this.environment(host),
      listen: { host, port: host.startsWith("mgs") ? mgsAddress.port : 0 },
      advertise: (listening: { host: string; port: number }) => Promise.resolve(listening),
      nodeId: nodeIdOf(host),
      hostName: host,
      version: "test",
      log: loggerOf(host.replace(/\d+$/, "")),
    };
  }
}

function nodeIdOf(host: string): string {
  return Array.from(new TextEncoder().encode(host), (byte) => byte.toString(16)).join("")
    .padEnd(32, "0");
}

/**
 * Runs `test` on a started cluster in virtual time, checks what it leaves in the store and on the
 * OSTs, and stops the cluster whatever happens.
 */
export async function withCluster(
  options: TestClusterOptions,
  test: (cluster: TestCluster) => Promise<void>,
): Promise<void> {
  const clock = new VirtualClock();
  const cluster = new TestCluster(clock, options);
  await clock.run((async () => {
    try {
      await cluster.startAll();
      await test(cluster);
      if (options.uncheckedBecause === undefined) await cluster.checkAtRest();
    } finally {
      await cluster.close();
    }
  })());
}
