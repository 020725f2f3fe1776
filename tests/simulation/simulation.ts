// One simulated run: a cluster with its clients, its faults and its judgement, all from one seed.

import { Cluster } from "../../client/mod.ts";
import type { TargetStorage } from "../../oss/object_store.ts";
import { isRustreError, messageOf } from "../../shared/errors.ts";
import { MemoryStore } from "../../shared/store/memory.ts";
import { checkStore, leftovers } from "../support/check_store.ts";
import { SeededRandom } from "../support/seeded_random.ts";
import { VirtualClock } from "../support/virtual_clock.ts";
import { type Bug, bugs } from "./bugs.ts";
import { Contents } from "./contents.ts";
import { SimulatedDisk, type SimulatedTarget } from "./disk.ts";
import { FileDisk } from "./file_disk.ts";
import { FaultPlan, type FaultTargets } from "./faults.ts";
import { Invariants } from "./invariants.ts";
import { checkHistory, History } from "./linearizability.ts";
import { SimulatedNetwork } from "./network.ts";
import { HostProcess, type World } from "./process.ts";
import { mgsAddresses, mgsHosts, type Server, startServer, targetIndexOf } from "./servers.ts";
import { ProcessStore } from "./store.ts";
import { type EventKind, Trace } from "./trace.ts";
import { allDirectories, allNames, Lane, type WorkloadContext } from "./workload.ts";

/** The standard scenario. */
const scenario = {
  mgs: mgsHosts,
  mds: ["mds0", "mds1"],
  osts: 3,
  clients: ["client0", "client1", "client2"],
  /** Each does one thing after the other. */
  lanesPerClientMax: 2,
  operationsMin: 60,
  operationsMax: 160,
} as const;

/** Virtual time in which everything has to come to an end once nothing fails any more. */
const operationsEndMs = 60_000;
const leftoversEndMs = 120_000;

export interface RunOptions {
  readonly seed: number;
  /** One of {@link bugs}. */
  readonly bug?: string | undefined;
  /** Keep the lines of the trace. */
  readonly print?: boolean;
}

export interface RunResult {
  readonly seed: number;
  /** Of everything that happened. */
  readonly hash: string;
  readonly events: number;
  readonly virtualMs: number;
  /** What is wrong; `undefined` where nothing is. */
  readonly failure: string | undefined;
  readonly lines: readonly string[];
}

interface Host {
  readonly name: string;
  process: HostProcess;
  server: Server | undefined;
}

export async function runSeed(options: RunOptions): Promise<RunResult> {
  const simulation = new Simulation(options);
  return await simulation.run();
}

class Simulation implements World, FaultTargets {
  readonly clock = new VirtualClock();
  readonly trace: Trace;
  readonly delays: SeededRandom;
  readonly servers: readonly string[] = [
    ...scenario.mgs,
    ...scenario.mds,
    ...Array.from({ length: scenario.osts }, (_, index) => `oss${index}`),
  ];
  readonly clients: readonly string[] = scenario.clients;
  readonly targets: number = scenario.osts;
  readonly #seed: number;
  readonly #bug: Bug | undefined;
  readonly #store: MemoryStore;
  readonly #invariants: Invariants;
  readonly #network: SimulatedNetwork;
  readonly #disks: SimulatedTarget[];
  readonly #faults: FaultPlan;
  readonly #hosts = new Map<string, Host>();
  readonly #history = new History();
  readonly #contents = new Contents();
  readonly #chance: SeededRandom;
  readonly #failed = Promise.withResolvers<never>();
  readonly #workload: WorkloadContext;
  /** Hosts that do not reach the store, with who waits for it. */
  readonly #partedFromStore = new Map<string, PromiseWithResolvers<void>>();
  readonly #clusters = new Map<HostProcess, Cluster>();
  #unansweredCommits = 60;
  #failure: string | undefined;
  #turnsLeft: number;
  readonly #lanesPerClient: number;
  /** Of each client, how many have something to do. */
  readonly #lanes = new Map<HostProcess, number>();
  #nextId = 1;
  #faultsAreOn = false;

  constructor({ seed, bug, print = false }: RunOptions) {
    this.#seed = seed;
    this.#bug = bug === undefined ? undefined : bugs[bug];
    this.trace = new Trace({ print });
    let streams = 0;
    const stream = () => new SeededRandom(Math.imul(seed, 0x9e3779b1) + 7919 * ++streams);
    this.delays = stream();
    this.#chance = stream();
    this.#store = new MemoryStore(this.clock);
    this.#invariants = new Invariants(this.#store);
    const habits = {
      duplicates: this.#chance.below(2) * 40,
      bitFlips: this.#chance.below(3) === 0 ? 30 : 0,
    };
    this.#network = new SimulatedNetwork(this, stream(), habits);
    const Disk = this.#chance.below(2) === 0 ? SimulatedDisk : FileDisk;
    this.#disks = Array.from({ length: scenario.osts }, (_, index) => new Disk(index, stream()));
    this.#faults = new FaultPlan(stream(), this);
    this.#workload = this.#workloadContext(stream());
    const { operationsMin, operationsMax, lanesPerClientMax } = scenario;
    this.#lanesPerClient = 1 + this.#chance.below(lanesPerClientMax);
    this.#turnsLeft = operationsMin + this.#chance.below(operationsMax - operationsMin);
    this.#failed.promise.catch(() => {});
  }

  async run(): Promise<RunResult> {
    const onRejection = (event: PromiseRejectionEvent) => {
      event.preventDefault();
      this.#fail(`A promise was rejected and nobody saw it: ${show(event.reason)}`);
    };
    globalThis.addEventListener("unhandledrejection", onRejection);
    try {
      await this.clock.run(Promise.race([this.#scenario(), this.#failed.promise]));
    } catch (error) {
      this.#failure ??= show(error);
    } finally {
      globalThis.removeEventListener("unhandledrejection", onRejection);
      for (const { process } of this.#hosts.values()) process.kill();
    }
    const { hash, events } = this.trace;
    const [virtualMs, failure] = [this.clock.monotonicMs(), this.#failure];
    return { seed: this.#seed, hash, events, virtualMs, failure, lines: this.trace.lines() };
  }

  async #scenario(): Promise<void> {
    for (const name of this.servers) this.#start(name);
    await this.#until(() => this.servers.every((name) => this.#hosts.get(name)!.server), 30_000);
    // Until every server has been registered, and every mds has heard of it.
    await this.#sleep(3_000);
    for (const name of this.clients) this.#startClient(name);
    this.#faultsAreOn = true;
    await this.#until(() => this.#turnsLeft === 0, 180_000);
    this.#heal();
    await this.#until(() => this.#lanesUnderWay() === 0, operationsEndMs);
    await this.#judge();
  }

  /** Everything works from now on. */
  #heal(): void {
    this.note("heal");
    this.#faultsAreOn = false;
    this.#unansweredCommits = 0;
    this.#faults.stop();
    for (const host of this.#hosts.values()) host.process.goOn();
    for (const host of [...this.#partedFromStore.keys()]) this.#joinStore(host);
    for (const disk of this.#disks) disk.isFull = false;
    this.#network.heal();
    for (const name of this.servers) {
      if (this.#hosts.get(name)!.process.isDead) this.#start(name);
    }
  }

  async #judge(): Promise<void> {
    for (const [process, cluster] of this.#clusters) if (!process.isDead) await cluster.close();
    const environment = { clock: this.clock, random: this.#chance };
    const checked = { store: this.#store, environment: () => environment };
    const endMs = this.clock.monotonicMs() + leftoversEndMs;
    while ((await leftovers(checked)).length > 0 && this.clock.monotonicMs() < endMs) {
      await this.#sleep(500);
    }
    await this.#readAll();
    const verdict = checkHistory(this.#history);
    if (!verdict.fits) this.#fail(verdict.explanation);
    for (const name of this.servers.toReversed()) await this.#hosts.get(name)!.server?.close();
    const targets = [];
    for (const disk of this.#disks) targets.push({ disk: await disk.contents(environment) });
    await checkStore({ ...checked, targets }, (ino) => this.#contents.isTroubled(ino));
  }

  /** What a new client finds belongs to the history. */
  async #readAll(): Promise<void> {
    const process = this.#newProcess("reader");
    const cluster = this.#connect(process);
    await new Lane(this.#workload, process, cluster, "reader").readAll();
    await cluster.close();
  }

  // ── hosts ────────────────────────────────────────────────────────────────────────────────────

  #newProcess(name: string): HostProcess {
    const incarnation = (this.#hosts.get(name)?.process.incarnation ?? 0) + 1;
    const random = new SeededRandom(this.#chance.uint32());
    const clockOffsetMs = this.#chance.below(1_000) - 500;
    const transport = (process: HostProcess) => this.#network.transport(process);
    const process = new HostProcess(this, name, incarnation, { random, transport, clockOffsetMs });
    this.#hosts.set(name, { name, process, server: undefined });
    return process;
  }

  #start(name: string): void {
    const process = this.#newProcess(name);
    this.#network.revive(name);
    const host = this.#hosts.get(name)!;
    this.#startServer(name, process).then((server) => {
      if (!process.isDead) host.server = server;
    }, (error) => {
      if (process.isDead) return;
      if (!isRustreError(error)) return this.#fail(`${name} cannot start: ${show(error)}`);
      this.note(`${name} cannot start: ${error.code}`);
      this.kill(name, { power: false, downMs: 500 });
    });
  }

  async #startServer(name: string, process: HostProcess): Promise<Server> {
    const [store, storage] = [this.#storeOf(process), this.#storageOf(name, process)];
    return await startServer(name, process.environment, { store, storage });
  }

  #storageOf(name: string, process: HostProcess): TargetStorage | undefined {
    const disk = this.#diskOf(name);
    return disk?.storage(
      process,
      (objects) => this.#bug?.objects?.(objects, targetIndexOf(name), this.#chance) ?? objects,
    );
  }

  /** Of an oss. */
  #diskOf(name: string): SimulatedTarget | undefined {
    return name.startsWith("oss") ? this.#disks[targetIndexOf(name)] : undefined;
  }

  #storeOf(process: HostProcess): ProcessStore {
    const inner = this.#bug?.store?.(this.#store, process, this.#chance) ?? this.#store;
    return new ProcessStore({
      process,
      inner,
      random: this.#chance,
      whenReachable: ({ host }) => this.#partedFromStore.get(host)?.promise,
      unansweredCommits: () => this.#unansweredCommits,
      onCommit: (from, written) => {
        this.#guard(() => this.#invariants.checkCommit(from, written));
      },
    });
  }

  #connect(process: HostProcess): Cluster {
    const { environment } = process;
    const verifyChecksums = this.#bug?.verifyChecksums ?? true;
    return new Cluster({ mgs: mgsAddresses, environment, verifyChecksums });
  }

  #startClient(name: string): void {
    const process = this.#newProcess(name);
    this.#network.revive(name);
    const cluster = this.#connect(process);
    this.#clusters.set(process, cluster);
    this.#lanes.set(process, this.#lanesPerClient);
    for (let lane = 0; lane < this.#lanesPerClient; lane++) {
      const laneName = `${name}.${process.incarnation}.${lane}`;
      new Lane(this.#workload, process, cluster, laneName).run().then(
        () => this.#lanes.set(process, this.#lanes.get(process)! - 1),
        (error) => this.#fail(`${laneName}: ${show(error)}`),
      );
    }
  }

  /** What a dead client has under way does not end. */
  #lanesUnderWay(): number {
    let count = 0;
    for (const [process, lanes] of this.#lanes) if (!process.isDead) count += lanes;
    return count;
  }

  #workloadContext(random: SeededRandom): WorkloadContext {
    return {
      random,
      history: this.#history,
      contents: this.#contents,
      names: allNames.slice(0, 1 + random.below(allNames.length)),
      directories: allDirectories.slice(0, 1 + random.below(allDirectories.length)),
      recentFiles: [],
      dataWeight: [1, 3, 10][random.below(3)]!,
      thinkMs: [50, 300, 1_500][random.below(3)]!,
      nextId: () => this.#nextId++,
      takeTurn: () => this.#turnsLeft > 0 && this.#turnsLeft-- > 0,
      noteInode: (ino) => this.#guard(() => this.#invariants.checkNew(ino)),
      trace: (kind, host, what) => this.#note(kind, host, what),
      fail: (reason) => this.#fail(reason),
    };
  }

  // ── faults ───────────────────────────────────────────────────────────────────────────────────

  beforeStep(process: HostProcess): void {
    if (this.#faultsAreOn) this.#faults.step(process);
  }

  kill(name: string, { power, downMs }: { power: boolean; downMs: number }): void {
    const { process } = this.#hosts.get(name)!;
    if (process.isDead) return;
    process.kill();
    this.#network.kill(process, { dark: power });
    const isClient = this.clients.includes(name);
    if (power) this.#diskOf(name)?.losePower();
    const start = () => isClient ? this.#startClient(name) : this.#start(name);
    this.#after(downMs, () => {
      if (this.#hosts.get(name)!.process !== process) return;
      if (!isClient || this.#faultsAreOn) start();
    });
  }

  /** In good order, as an upgrade does it. */
  restart(name: string): void {
    const host = this.#hosts.get(name)!;
    const { process, server } = host;
    if (process.isDead || !server) return;
    host.server = undefined;
    server.close().then(() => {
      if (!process.isDead) this.kill(name, { power: false, downMs: 50 });
    }, (error) => this.#fail(`${name} cannot stop: ${show(error)}`));
  }

  hang(name: string, durationMs: number): void {
    const { process } = this.#hosts.get(name)!;
    process.hang();
    this.#after(durationMs, () => process.goOn());
  }

  part(
    one: string,
    other: string,
    { durationMs, broken }: { durationMs: number; broken: boolean },
  ): void {
    this.#network.part(one, other);
    this.#after(durationMs, () => this.#network.join(one, other, { broken }));
  }

  disconnect(one: string, other: string): void {
    this.#network.disconnect(one, other);
  }

  slow(one: string, other: string, durationMs: number): void {
    this.#network.setSlow(one, other, true);
    this.#after(durationMs, () => this.#network.setSlow(one, other, false));
  }

  partFromStore(host: string, durationMs: number): void {
    if (this.#partedFromStore.has(host)) return;
    this.#partedFromStore.set(host, Promise.withResolvers());
    this.#after(durationMs, () => this.#joinStore(host));
  }

  #joinStore(host: string): void {
    this.#partedFromStore.get(host)?.resolve();
    this.#partedFromStore.delete(host);
  }

  fillDisk(index: number, durationMs: number): void {
    this.#disks[index]!.isFull = true;
    this.#after(durationMs, () => this.#disks[index]!.isFull = false);
  }

  note(what: string): void {
    this.#note("fault", "-", what);
  }

  // ── time and failure ─────────────────────────────────────────────────────────────────────────

  #note(kind: EventKind, host: string, what: string): void {
    this.trace.add(this.clock.monotonicMs(), kind, host, what);
  }

  #guard(check: () => void): void {
    try {
      check();
    } catch (error) {
      this.#fail(messageOf(error));
    }
  }

  /** The first one counts. */
  #fail(reason: string): void {
    if (this.#failure !== undefined) return;
    this.#failure = reason;
    this.note(`failed: ${reason}`);
    this.#failed.reject(new Error(reason));
  }

  #after(delayMs: number, action: () => void): void {
    this.clock.setTimer(action, delayMs);
  }

  #sleep(delayMs: number): Promise<void> {
    return new Promise((resolve) => this.#after(delayMs, resolve));
  }

  async #until(condition: () => boolean, timeoutMs: number): Promise<void> {
    const endMs = this.clock.monotonicMs() + timeoutMs;
    while (!condition()) {
      if (this.clock.monotonicMs() > endMs) throw new Error(`It took over ${timeoutMs} ms`);
      await this.#sleep(50);
    }
  }
}

function show(error: unknown): string {
  return error instanceof Error ? error.stack ?? error.message : String(error);
}
