// One simulated run: a cluster with its clients, its faults and its judgement, all from one seed.

import type { Cluster } from "../../client/mod.ts";
import { messageOf } from "../../shared/errors.ts";
import { SeededRandom } from "../support/seeded_random.ts";
import { type Bug, bugs } from "./bugs.ts";
import { Contents } from "./contents.ts";
import { FaultPlan } from "./faults.ts";
import { checkingHost, FsckRuns } from "./fsck_runs.ts";
import { Hosts, show } from "./hosts.ts";
import { Invariants } from "./invariants.ts";
import { judge } from "./judgement.ts";
import { History } from "./linearizability.ts";
import type { HostProcess } from "./process.ts";
import { Trace } from "./trace.ts";
import { allDirectories, allNames, Lane, type WorkloadContext } from "./workload.ts";

/** How much the clients of a run do. */
const scenario = {
  /** Each does one thing after the other. */
  lanesPerClientMax: 2,
  operationsMin: 60,
  operationsMax: 160,
} as const;

/** The cluster is checked while it is used in one of so many runs. */
const runsForOneThatChecks = 4;

/** Virtual time in which everything has to come to an end once nothing fails any more. */
const operationsEndMs = 60_000;

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

export async function runSeed(options: RunOptions): Promise<RunResult> {
  const simulation = new Simulation(options);
  return await simulation.run();
}

class Simulation {
  readonly #seed: number;
  readonly #bug: Bug | undefined;
  readonly #hosts: Hosts;
  readonly #trace: Trace;
  readonly #invariants: Invariants;
  readonly #faults: FaultPlan;
  readonly #history = new History();
  readonly #contents = new Contents();
  readonly #failed = Promise.withResolvers<never>();
  readonly #workload: WorkloadContext;
  readonly #fsckRuns: FsckRuns;
  readonly #clusters = new Map<HostProcess, Cluster>();
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
    this.#trace = new Trace({ print });
    let streams = 0;
    const stream = () => new SeededRandom(Math.imul(seed, 0x9e3779b1) + 7919 * ++streams);
    const chance = stream();
    this.#hosts = new Hosts({
      ...{ trace: this.#trace, bug: this.#bug, stream },
      others: chance.below(runsForOneThatChecks) === 0 ? [checkingHost] : [],
      beforeStep: (process) => this.#faultsAreOn && this.#faults.step(process),
      onClient: (name, process) => this.#runClient(name, process),
      onCommit: (from, written) => {
        this.#guard(() => this.#invariants.checkCommit(from, written));
      },
      fail: (reason) => this.#fail(reason),
    });
    this.#invariants = new Invariants(this.#hosts.store);
    this.#faults = new FaultPlan(stream(), this.#hosts);
    this.#workload = this.#workloadContext(stream());
    this.#fsckRuns = new FsckRuns(this.#hosts, stream(), (reason) => this.#fail(reason));
    const { operationsMin, operationsMax, lanesPerClientMax } = scenario;
    this.#lanesPerClient = 1 + chance.below(lanesPerClientMax);
    this.#turnsLeft = operationsMin + chance.below(operationsMax - operationsMin);
    this.#failed.promise.catch(() => {});
  }

  async run(): Promise<RunResult> {
    const onRejection = (event: PromiseRejectionEvent) => {
      event.preventDefault();
      this.#fail(`A promise was rejected and nobody saw it: ${show(event.reason)}`);
    };
    globalThis.addEventListener("unhandledrejection", onRejection);
    const { clock } = this.#hosts;
    try {
      await clock.run(Promise.race([this.#scenario(), this.#failed.promise]));
    } catch (error) {
      this.#failure ??= show(error);
    } finally {
      globalThis.removeEventListener("unhandledrejection", onRejection);
      this.#hosts.killAll();
    }
    const { hash, events } = this.#trace;
    const [virtualMs, failure] = [clock.monotonicMs(), this.#failure];
    return { seed: this.#seed, hash, events, virtualMs, failure, lines: this.#trace.lines() };
  }

  async #scenario(): Promise<void> {
    const hosts = this.#hosts;
    for (const name of hosts.servers) hosts.startServer(name);
    await this.#until(() => hosts.areServersUp, 30_000);
    // Until every server has been registered, and every mds has heard of it.
    await hosts.sleep(3_000);
    for (const name of hosts.clients) hosts.startClient(name);
    this.#faultsAreOn = true;
    await this.#until(() => this.#turnsLeft === 0, 180_000);
    this.#faultsAreOn = false;
    this.#faults.stop();
    hosts.heal();
    await this.#until(() => this.#lanesUnderWay() === 0, operationsEndMs);
    this.#fsckRuns.stop();
    for (const [process, cluster] of this.#clusters) if (!process.isDead) await cluster.close();
    await judge({
      ...{ hosts, bug: this.#bug, workload: this.#workload },
      ...{ history: this.#history, contents: this.#contents },
    });
  }

  // ── clients ──────────────────────────────────────────────────────────────────────────────────

  #runClient(name: string, process: HostProcess): void {
    if (name === checkingHost) return this.#fsckRuns.start(process);
    const cluster = this.#hosts.connect(process);
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
      trace: (kind, host, what) => this.#hosts.traceOf(kind, host, what),
      fail: (reason) => this.#fail(reason),
    };
  }

  // ── time and failure ─────────────────────────────────────────────────────────────────────────

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
    this.#hosts.note(`failed: ${reason}`);
    this.#failed.reject(new Error(reason));
  }

  async #until(condition: () => boolean, timeoutMs: number): Promise<void> {
    const { clock } = this.#hosts;
    const endMs = clock.monotonicMs() + timeoutMs;
    while (!condition()) {
      if (clock.monotonicMs() > endMs) throw new Error(`It took over ${timeoutMs} ms`);
      await this.#hosts.sleep(50);
    }
  }
}
