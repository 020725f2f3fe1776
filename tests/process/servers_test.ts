// Real server processes: registration, states, clean and unclean ends, restarts, wrong directories.

import assert from "node:assert/strict";
import { Cluster, type FileSystem, parseAddress } from "../../client/mod.ts";
import {
  deletePrefixes,
  type ProcessStore,
  processStore,
  sqliteStore,
} from "../support/foundationdb.ts";
import { runRustre, type RustreProcess, startRustre } from "../support/processes.ts";

const caller = { uid: Deno.uid()!, gid: Deno.gid()!, groups: [] };
/** A server's change of state shows in `rustre status` within so long. */
const stateShowsMs = 3_000;
/** Reading the status is a process of its own; it may take so much longer than the change. */
const statusMs = 1_500;

interface StatusDocument {
  readonly allUp: boolean;
  readonly mds: { readonly state: string; readonly address: string }[];
  readonly osts: { readonly index: number; readonly state: string; readonly address: string }[];
}

/** A cluster of single-role processes in one temporary directory, on a store of its own. */
class Processes implements AsyncDisposable {
  readonly directory: string;
  readonly #running = new Map<string, { process: RustreProcess; args: string[] }>();
  readonly #store: ProcessStore;
  mgs = "";

  private constructor(directory: string, store: ProcessStore) {
    this.directory = directory;
    this.#store = store;
  }

  static async make(storeIn = processStore): Promise<Processes> {
    const directory = await Deno.makeTempDir({ prefix: "rustre-test-" });
    return new Processes(directory, await storeIn(directory));
  }

  static async start(osts = 2, storeIn = processStore): Promise<Processes> {
    const processes = await Processes.make(storeIn);
    await processes.startMgs("127.0.0.1:0");
    const others = [processes.startMds()];
    for (let index = 0; index < osts; index++) others.push(processes.startOss(index));
    await Promise.all(others);
    await processes.waitFor((status) => status.allUp && status.osts.length === osts);
    return processes;
  }

  get store(): string {
    return this.#store.url;
  }

  async startMgs(listen = this.mgs): Promise<void> {
    const process = await this.#start("mgs", ["mgs", "-l", listen, "--store", this.store]);
    this.mgs = /mgs=(\S+)/.exec(process.ready)![1]!;
  }

  async startMds(): Promise<void> {
    await this.#start("mds", ["mds", "-l", "127.0.0.1:0", "--store", this.store]);
  }

  async startOss(index: number, directory = `${this.directory}/ost${index}`): Promise<void> {
    const flags = ["-l", "127.0.0.1:0", "-i", String(index), "-d", directory];
    await this.#start(`oss${index}`, ["oss", ...flags]);
  }

  async #start(name: string, args: string[]): Promise<RustreProcess> {
    const globals = this.mgs ? ["--mgs", this.mgs] : [];
    const process = await startRustre([...globals, ...args]);
    this.#running.set(name, { process, args });
    return process;
  }

  async end(name: string, signal: Deno.Signal): Promise<Deno.CommandStatus> {
    const { process } = this.#running.get(name)!;
    this.#running.delete(name);
    process.kill(signal);
    return await process.status;
  }

  signal(name: string, signal: Deno.Signal): void {
    this.#running.get(name)!.process.kill(signal);
  }

  names(): string[] {
    return [...this.#running.keys()];
  }

  connect(): Cluster {
    return new Cluster({ mgs: [parseAddress(this.mgs)] });
  }

  async status(): Promise<{ code: number; document: StatusDocument }> {
    const { code, stdout } = await runRustre(["--mgs", this.mgs, "status", "--json"]);
    return { code, document: JSON.parse(stdout) };
  }

  /** Waits until the status is so; returns how long that took. */
  async waitFor(holds: (status: StatusDocument) => boolean, timeoutMs = 20_000): Promise<number> {
    const startMs = performance.now();
    for (;;) {
      const { document } = await this.status();
      const tookMs = performance.now() - startMs;
      if (holds(document)) return tookMs;
      assert(tookMs < timeoutMs, `the status stayed ${JSON.stringify(document)}`);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const all = [...this.#running.values()].map(({ process }) => process);
    for (const process of all) process.kill("SIGCONT");
    await Promise.all(all.map((process) => process.stop()));
    await this.#store[Symbol.asyncDispose]();
    await Deno.remove(this.directory, { recursive: true });
  }
}

const isOst = (index: number, state: string) => (status: StatusDocument) =>
  status.osts.some((ost) => ost.index === index && ost.state === state);

async function writeFile(fileSystem: FileSystem, path: string, text: string): Promise<void> {
  await using file = await fileSystem.create(path, { layout: { replicas: 2 } });
  await file.write(0, new TextEncoder().encode(text));
  await file.close();
}

async function readFile(fileSystem: FileSystem, path: string): Promise<string> {
  await using file = await fileSystem.open(path);
  return new TextDecoder().decode(await file.read(0, 1_000_000));
}

Deno.test("rustre status shows an OST that dies, hangs and comes back within 3 s", async () => {
  await using processes = await Processes.start();
  assert.equal((await processes.status()).code, 0);

  await processes.end("oss1", "SIGKILL");
  const downMs = await processes.waitFor(isOst(1, "down"));
  assert(downMs < stateShowsMs + statusMs, `down after ${downMs} ms`);
  assert.equal((await processes.status()).code, 1);
  const { stdout } = await runRustre(["--mgs", processes.mgs, "--json", "client", "df"]);
  const { osts, total } = JSON.parse(stdout);
  const [first, second] = osts;
  assert.equal(total.capacityBytes, first.capacityBytes + second.capacityBytes);
  assert.deepEqual([total.ostsUp, osts.length], [1, 2]);

  await processes.startOss(1);
  const upMs = await processes.waitFor(isOst(1, "up"));
  assert(upMs < stateShowsMs + statusMs, `up after ${upMs} ms`);

  processes.signal("oss1", "SIGSTOP");
  const hangMs = await processes.waitFor(isOst(1, "down"));
  assert(hangMs < stateShowsMs + statusMs, `down after hanging ${hangMs} ms`);
  processes.signal("oss1", "SIGCONT");
  const againMs = await processes.waitFor(isOst(1, "up"));
  assert(againMs < stateShowsMs + statusMs, `up again after ${againMs} ms`);
});

Deno.test("an mds that is killed and started again serves under its new address", async () => {
  await using processes = await Processes.start();
  await using cluster = processes.connect();
  const fileSystem = cluster.fileSystem(caller);
  await fileSystem.mkdir("/kept");
  await processes.end("mds", "SIGKILL");
  const reading = fileSystem.stat("/kept");
  await processes.startMds();
  assert.equal((await reading).type, "directory");
});

Deno.test("servers that get SIGTERM or SIGINT stop with exit status 0 and leave the map", async () => {
  await using processes = await Processes.start();
  assert.deepEqual((await processes.end("mds", "SIGTERM")).code, 0);
  assert.equal((await processes.status()).document.mds.length, 0);
  assert.deepEqual((await processes.end("oss0", "SIGINT")).code, 0);
  assert((await processes.status()).document.osts.some((ost) => ost.state === "down"));
  assert.deepEqual((await processes.end("mgs", "SIGTERM")).code, 0);
});

Deno.test("everything acknowledged survives kill -9 of all servers under load", async () => {
  await using processes = await Processes.start();
  await using cluster = processes.connect();
  const fileSystem = cluster.fileSystem(caller);
  await fileSystem.mkdir("/load");
  const acknowledged: string[] = [];
  let stopping = false;
  const load = Promise.all(Array.from({ length: 8 }, async (_, worker) => {
    for (let count = 0; !stopping; count++) {
      const path = `/load/${worker}-${count}`;
      await writeFile(fileSystem, path, `content of ${path}`);
      acknowledged.push(path);
    }
  }));
  const more = async (files: number) => {
    const enough = acknowledged.length + files;
    while (acknowledged.length < enough) await Promise.race([load, fileSystem.stat("/load")]);
  };
  for (let round = 0; round < 3; round++) {
    await more(100);
    await Promise.all(processes.names().map((name) => processes.end(name, "SIGKILL")));
    await processes.startMgs();
    await Promise.all([processes.startMds(), processes.startOss(0), processes.startOss(1)]);
  }
  await more(100);
  stopping = true;
  await load;
  for (const path of acknowledged) {
    assert.equal(await readFile(fileSystem, path), `content of ${path}`);
  }
  let listed = 0;
  for await (const _entry of fileSystem.readdir("/load")) listed++;
  assert.equal(listed, acknowledged.length);
});

Deno.test("an mgs that forgot the others is told of them again", async () => {
  await using processes = await Processes.make();
  await processes.startMgs("127.0.0.1:0");
  await processes.startOss(0);
  await processes.waitFor(isOst(0, "up"));
  await processes.end("mgs", "SIGKILL");
  // As if another store had been restored.
  await deletePrefixes(processes.store, ["rustre/ost/", "rustre/ost_usage/", "rustre/mgs/"]);
  await processes.startMgs();
  await processes.waitFor(isOst(0, "up"));
});

Deno.test("a second oss on one directory, another index and another cluster are refused", async () => {
  await using processes = await Processes.start(1);
  const oss = (mgs: string, ...flags: string[]) =>
    runRustre(["--mgs", mgs, "oss", "-l", "127.0.0.1:0", ...flags]);
  const taken = `${processes.directory}/ost0`;

  const second = await oss(processes.mgs, "-i", "0", "-d", taken);
  assert.notEqual(second.code, 0);
  assert.match(second.stderr, /ost0.*another/);

  await processes.end("oss0", "SIGTERM");
  const otherIndex = await oss(processes.mgs, "-i", "7", "-d", taken);
  assert.notEqual(otherIndex.code, 0);
  assert.match(otherIndex.stderr, /ost0.*OST 0/);

  await using others = await Processes.start(0, sqliteStore);
  const otherCluster = await oss(others.mgs, "-i", "0", "-d", taken);
  assert.notEqual(otherCluster.code, 0);
  assert.match(otherCluster.stderr, /ost0.*cluster/);

  const full = `${processes.directory}/full`;
  await Deno.mkdir(full);
  await Deno.writeTextFile(`${full}/diary`, "");
  const filled = await oss(processes.mgs, "-i", "1", "-d", full);
  assert.notEqual(filled.code, 0);
  assert.match(filled.stderr, /holds "diary"/);
});

Deno.test("rustre up started again on its directory serves the same files", async () => {
  const directory = await Deno.makeTempDir({ prefix: "rustre-test-" });
  try {
    const flags = ["--dir", directory, "--listen", "127.0.0.1:0", "--osts", "2"];
    for (const round of [1, 2, 3]) {
      await using server = await startRustre(["up", ...flags]);
      assert.match(server.ready, /^mgs=127\.0\.0\.1:\d+ mds=1 osts=2$/);
      const mgs = /mgs=(\S+)/.exec(server.ready)![1]!;
      await using cluster = new Cluster({ mgs: [parseAddress(mgs)] });
      const fileSystem = cluster.fileSystem(caller);
      await writeFile(fileSystem, `/round-${round}`, `round ${round}`);
      for (let earlier = 1; earlier <= round; earlier++) {
        assert.equal(await readFile(fileSystem, `/round-${earlier}`), `round ${earlier}`);
      }
      const status = await runRustre(["--mgs", mgs, "status"]);
      assert.equal(status.code, 0, status.stdout);
      // The second time as a crash leaves it.
      if (round === 2) server.kill("SIGKILL");
    }
    await using _first = await startRustre(["up", ...flags]);
    const second = await runRustre(["up", ...flags]);
    assert.notEqual(second.code, 0);
    assert.match(second.stderr, /Cannot/);
  } finally {
    await Deno.remove(directory, { recursive: true });
  }
});
