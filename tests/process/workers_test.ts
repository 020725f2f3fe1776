// Processes of several workers: they act as one server, whichever of them is asked, dies or restarts.

import assert from "node:assert/strict";
import * as fc from "fast-check";
import { Cluster, type FileSystem, parseAddress } from "../../client/mod.ts";
import { limits } from "../../shared/limits.ts";
import { eventually } from "../support/eventually.ts";
import { checkStoreAtRest } from "../support/foundationdb.ts";
import { ModelFileSystem } from "../support/model_file_system.ts";
import { operations, type SimpleOperation, type Subject, treeOf } from "../support/operations.ts";
import { runRustre, type RustreProcess, startRustre } from "../support/processes.ts";
import { seeded, testSeed } from "../support/seed.ts";
import { ClusterSubject } from "../support/subjects.ts";

const root = { uid: 0, gid: 0, groups: [] };

/** A cluster of an mgs, an mds and OSTs, each a process with workers that can be killed. */
class WorkerCluster implements AsyncDisposable {
  readonly directory: string;
  readonly processes = new Map<string, RustreProcess>();
  readonly #clusters: Cluster[] = [];
  mgs = "";

  private constructor(directory: string) {
    this.directory = directory;
  }

  static async start(workers: number, { osts = 2 } = {}): Promise<WorkerCluster> {
    const cluster = new WorkerCluster(await Deno.makeTempDir({ prefix: "rustre-test-" }));
    const store = ["--store", cluster.storeUrl];
    const mgs = await cluster.run("mgs", ["mgs", ...store, "--workers", String(workers)]);
    cluster.mgs = /mgs=(\S+)/.exec(mgs.ready)![1]!;
    for (let index = 0; index < osts; index++) await cluster.runOss(index, workers);
    await cluster.run("mds", ["mds", ...store, "--workers", String(workers)]);
    return cluster;
  }

  get storeUrl(): string {
    return `sqlite:${this.directory}/meta.db`;
  }

  runOss(index: number, workers: number): Promise<RustreProcess> {
    const flags = ["-i", String(index), "-d", `${this.directory}/ost${index}`];
    return this.run(`oss${index}`, ["oss", ...flags, "--workers", String(workers)]);
  }

  async run(name: string, args: string[]): Promise<RustreProcess> {
    const globals = ["-c", "test", "--log-dir", `${this.directory}/log`];
    const mgs = this.mgs ? ["--mgs", this.mgs] : [];
    const listen = ["-l", "127.0.0.1:0"];
    const process = await startRustre([...globals, ...mgs, ...args, ...listen], { mortal: true });
    this.processes.set(name, process);
    return process;
  }

  connect(): Cluster {
    const cluster = new Cluster({ mgs: [parseAddress(this.mgs)] });
    this.#clusters.push(cluster);
    return cluster;
  }

  /** Clients of their own, so many that every worker has some of their connections. */
  fileSystems(count: number): FileSystem[] {
    return Array.from({ length: count }, () => this.connect().fileSystem(root));
  }

  async disconnect(): Promise<void> {
    for (const cluster of this.#clusters.splice(0)) await cluster.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.disconnect();
    // The mgs last, so that the others can tell it that they leave.
    for (const process of [...this.processes.values()].reverse()) await process.stop();
    await Deno.remove(this.directory, { recursive: true });
  }
}

async function writeFile(fileSystem: FileSystem, path: string, text: string): Promise<void> {
  await using file = await fileSystem.create(path, { replace: true, layout: { replicas: 2 } });
  await file.write(0, new TextEncoder().encode(text));
  await file.close();
}

async function readFile(fileSystem: FileSystem, path: string): Promise<string> {
  await using file = await fileSystem.open(path);
  return new TextDecoder().decode(await file.read(0, 1_000_000));
}

/** Kills one worker; resolves when another one serves in its place. */
async function killWorker(
  process: RustreProcess,
  signal: Deno.Signal = "SIGUSR2",
): Promise<void> {
  const replaced = () => process.output().match(/A worker took a place/g)?.length ?? 0;
  const before = replaced();
  process.kill(signal);
  await eventually(() => Promise.resolve(replaced() > before));
}

/** Nothing is left to do, and everything is right that is left. */
async function checkAtRest(cluster: WorkerCluster): Promise<void> {
  await cluster.disconnect();
  await checkStoreAtRest(cluster.storeUrl, 2 * limits.sessionLeaseMs);
}

function sampleOperations(count: number): SimpleOperation[] {
  return fc.sample(operations({ escaping: true }), { numRuns: count, seed: testSeed });
}

Deno.test("operations by clients in turns do what the model does, whichever worker does them", async () => {
  await using cluster = await WorkerCluster.start(3);
  await seeded(async () => {
    const subjects = cluster.fileSystems(6).map((each) => new ClusterSubject(each));
    let turn = 0;
    const inTurns: Subject = {
      perform: (operation) => subjects[turn++ % subjects.length]!.perform(operation),
    };
    const model = new ModelFileSystem();
    for (const operation of sampleOperations(800)) {
      const expected = await model.perform(operation);
      assert.deepEqual(await inTurns.perform(operation), expected, JSON.stringify(operation));
    }
    assert.deepEqual(await treeOf(inTurns), await treeOf(model));
  });
  await checkAtRest(cluster);
});

Deno.test("concurrent operations on a few names leave a sound tree, done by 3 workers", async () => {
  await using cluster = await WorkerCluster.start(3);
  await seeded(async () => {
    const subjects = cluster.fileSystems(6).map((each) => new ClusterSubject(each));
    const queue = sampleOperations(3_000);
    const failures = new Set<string>();
    await Promise.all(subjects.flatMap((subject) =>
      Array.from({ length: 4 }, async () => {
        for (let operation; (operation = queue.pop());) {
          const outcome = await subject.perform(operation);
          if (outcome !== "done" && "error" in outcome) failures.add(outcome.error);
        }
      })
    ));
    for (const bug of ["INTERNAL", "CONFLICT", "TIMED_OUT", "UNREACHABLE", "EIO"]) {
      assert(!failures.has(bug), [...failures].join());
    }
  });
  await checkAtRest(cluster);
});

Deno.test("workers of every server die under load: no operation fails, each is replaced", async () => {
  await using cluster = await WorkerCluster.start(3);
  const clients = cluster.fileSystems(4);
  await clients[0]!.mkdir("/load");
  const kept = new Map<string, string>();
  let operationCount = 0;
  let stopping = false;
  const load = Promise.all(clients.map(async (client, who) => {
    for (let count = 0; !stopping; count++) {
      const [path, text] = [`/load/${who}-${count}`, `content ${count} of ${who}`];
      await writeFile(client, path, text);
      if (count % 3 === 0) await client.unlink(path);
      else {
        await client.rename(path, `${path}.moved`);
        assert.equal(await readFile(client, `${path}.moved`), text);
        kept.set(`${path}.moved`, text);
      }
      operationCount++;
    }
  }));
  const kills = 6;
  for (let kill = 0; kill < kills; kill++) {
    for (const process of cluster.processes.values()) {
      const enough = operationCount + 20;
      await Promise.race([load, killWorker(process)]);
      await Promise.race([load, eventually(() => Promise.resolve(operationCount >= enough))]);
    }
  }
  stopping = true;
  await load;
  for (const [path, text] of kept) assert.equal(await readFile(clients[0]!, path), text);
  for (const [name, process] of cluster.processes) {
    const deaths = process.output().match(/ERROR .*A worker died, another takes its place/g);
    assert.equal(deaths?.length, kills, name);
    assert.match(process.output(), /told to die/);
  }
  // What the dead ones had begun to collect is collected by others.
  for (const path of kept.keys()) await clients[0]!.unlink(path);
  const { osts } = await statusOf(cluster);
  assert(osts.every(({ state }) => state === "up"));
  await eventually(async () => (await statusOf(cluster)).osts.every((ost) => ost.objects === 0));
});

Deno.test("an oss keeps every byte when it starts again with another number of workers", async () => {
  await using cluster = await WorkerCluster.start(2, { osts: 2 });
  const [client] = cluster.fileSystems(1);
  const written = new Map<string, string>();
  for (const [round, workers] of [3, 1, 4, 2].entries()) {
    for (let number = 0; number < 40; number++) {
      const [path, text] = [`/${round}-${number}`, `round ${round}, file ${number}`];
      await writeFile(client!, path, text);
      written.set(path, text);
    }
    // The last time as a crash leaves it.
    const signal = round === 3 ? "SIGKILL" : "SIGTERM";
    for (const index of [0, 1]) {
      const oss = cluster.processes.get(`oss${index}`)!;
      oss.kill(signal);
      const { code } = await oss.status;
      if (signal === "SIGTERM") assert.equal(code, 0);
      await cluster.runOss(index, workers);
    }
    for (const [path, text] of written) assert.equal(await readFile(client!, path), text);
    await eventually(async () =>
      (await statusOf(cluster)).osts.every(({ state, objects }) =>
        state === "up" && objects === written.size
      )
    );
  }
});

Deno.test("every worker of an mgs tells fresh heartbeats, also after the one that probed died", async () => {
  await using cluster = await WorkerCluster.start(3, { osts: 1 });
  const complete = async () => {
    for (let asked = 0; asked < 8; asked++) {
      // A client of its own, whose connection may be to any worker.
      await using client = new Cluster({ mgs: [parseAddress(cluster.mgs)] });
      const { map, heartbeatAgesMs } = await client.status();
      for (const { nodeId } of [...map.mgs, ...map.mds, ...map.targets]) {
        if (!(heartbeatAgesMs[nodeId]! <= 2 * limits.probeIntervalMs)) return false;
      }
    }
    return true;
  };
  await eventually(complete);
  for (let kill = 0; kill < 3; kill++) {
    await killWorker(cluster.processes.get("mgs")!);
    // Well before the dead one's lease would be over.
    await eventually(complete, 0.8 * limits.leaseMs);
  }
  const { mgs, mds, osts } = await statusOf(cluster);
  assert.deepEqual([mgs.length, mds.length, osts.length], [1, 1, 1]);
});

Deno.test("a file that was cut can be written at once, whichever worker collects", async () => {
  await using cluster = await WorkerCluster.start(3);
  const cuts = 18;
  const clients = cluster.fileSystems(cuts);
  for (const [index, client] of clients.entries()) {
    await writeFile(client, `/cut-${index}`, "x".repeat(100_000));
  }
  const rewriteAll = async (change: { sizeBytes?: number; mode?: number }) => {
    const startMs = performance.now();
    for (const [index, client] of clients.entries()) {
      await client.setAttributes(`/cut-${index}`, change);
      await using file = await client.openForWriting(`/cut-${index}`);
      await file.write(5, new Uint8Array(10).fill(65));
      await file.close();
    }
    return performance.now() - startMs;
  };
  // What this machine takes for it now, where nothing is cut.
  const uncutMs = await rewriteAll({ mode: 0o600 });
  const cutMs = await rewriteAll({ sizeBytes: 10 });
  // Two of three would wait for the next round, had their worker not told the one that collects.
  const waitedMs = cuts * 0.2 * limits.collectIntervalMs;
  assert(cutMs < 3 * uncutMs + waitedMs, `${cutMs} ms, uncut ${uncutMs} ms`);
  for (const [index, client] of clients.entries()) {
    assert.equal(await readFile(client, `/cut-${index}`), "xxxxx" + "A".repeat(10));
  }
});

Deno.test("log lines of all workers come whole, on standard output and in the role's file", async () => {
  await using cluster = await WorkerCluster.start(3, { osts: 1 });
  const text = () => Deno.readTextFile(`${cluster.directory}/log/oss.log`);
  const oss = cluster.processes.get("oss0")!;
  for (let kill = 0; kill < 3; kill++) await killWorker(oss);
  await oss.stop();
  const record = /^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3} [+-]\d\d:\d\d (ERROR|WARN|INFO) +oss +\S/;
  for (const output of [await text(), oss.output()]) {
    const lines = output.trimEnd().split("\n").filter((line) => !/^(ready |$)/.test(line));
    for (const line of lines) assert.match(line, record);
    assert.equal(lines.filter((line) => /A worker died/.test(line)).length, 3);
    assert(lines.some((line) => /told to die/.test(line)));
  }
});

Deno.test("a server whose workers die again and again ends with exit status 1", async () => {
  await using cluster = await WorkerCluster.start(2, { osts: 1 });
  const oss = cluster.processes.get("oss0")!;
  for (let death = 1; death < limits.workerDeathsMax; death++) await killWorker(oss, "SIGUSR1");
  oss.kill("SIGUSR1");
  const { code } = await oss.status;
  assert.equal(code, 1);
  await oss.stop();
  assert.match(
    oss.errors(),
    /^rustre: Cannot go on: worker 0 died 8 times in a row, .*told to die/m,
  );
  assert.match(oss.output(), /INFO +oss +Stopped .*worker=1/, "the other one stops in good order");
});

Deno.test("a second server on the port of several workers is refused", async () => {
  await using cluster = await WorkerCluster.start(2, { osts: 1 });
  for (const workers of ["1", "2"]) {
    const flags = ["-l", cluster.mgs, "--store", cluster.storeUrl, "--workers", workers];
    const { code, stderr } = await runRustre(["-c", "test", "mgs", ...flags]);
    assert.equal(code, 1);
    assert.match(stderr, /Cannot listen on .*: Address already in use/);
  }
});

Deno.test("--workers is a number, and 1 where the store is in memory", async () => {
  const mgs = (...flags: string[]) => runRustre(["mgs", "-l", "127.0.0.1:0", ...flags]);
  for (const workers of ["0", "-1", "65", "2.5", "many"]) {
    const { code, stderr } = await mgs("--store", "memory:", `--workers=${workers}`);
    assert.equal(code, 2);
    assert.match(stderr, /--workers.*It must be a number from 1 to 64/);
  }
  const { code, stderr } = await mgs("--store", "memory:", "--workers", "2");
  assert.equal(code, 2);
  assert.match(stderr, /Cannot share the store "memory:" among 2 workers/);
  await using alone = await startRustre(["mgs", "-l", "127.0.0.1:0", "--store", "memory:"]);
  assert.match(alone.ready, /^mgs=/);
});

Deno.test("workers that cannot start end the process with the reason, as one alone does", async () => {
  await using cluster = await WorkerCluster.start(2, { osts: 1 });
  const globals = ["-c", "other", "--mgs", cluster.mgs];
  const { code, stderr } = await runRustre(
    [...globals, "mds", "-l", "127.0.0.1:0", "--store", cluster.storeUrl, "--workers", "2"],
  );
  assert.equal(code, 2);
  assert.match(stderr, /^rustre: Cannot start an mds of cluster "other"/);
});

interface StatusDocument {
  readonly mgs: { readonly heartbeatAgeMs?: number }[];
  readonly mds: { readonly heartbeatAgeMs?: number }[];
  readonly osts: {
    readonly state: string;
    readonly objects: number;
    readonly usedBytes: number;
    readonly heartbeatAgeMs?: number;
  }[];
}

async function statusOf(cluster: WorkerCluster): Promise<StatusDocument> {
  const { stdout } = await runRustre(["--mgs", cluster.mgs, "status", "--json"]);
  return JSON.parse(stdout);
}
