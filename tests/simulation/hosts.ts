// The hosts of a simulated run: their processes with what each has below it, and all that can happen
// to them.

import { Cluster } from "../../client/mod.ts";
import type { TargetStorage } from "../../oss/object_store.ts";
import { isRustreError } from "../../shared/errors.ts";
import { MemoryStore } from "../../shared/store/memory.ts";
import type { Key } from "../../shared/store/store.ts";
import { SeededRandom } from "../support/seeded_random.ts";
import { VirtualClock } from "../support/virtual_clock.ts";
import type { Bug } from "./bugs.ts";
import { SimulatedDisk, type SimulatedTarget } from "./disk.ts";
import type { FaultTargets } from "./faults.ts";
import { FileDisk } from "./file_disk.ts";
import { SimulatedNetwork } from "./network.ts";
import { HostProcess, type World } from "./process.ts";
import { mgsAddresses, mgsHosts, type Server, startServer, targetIndexOf } from "./servers.ts";
import { ProcessStore } from "./store.ts";
import type { EventKind, Trace } from "./trace.ts";

/** The standard scenario. */
const scenario = {
  mgs: mgsHosts,
  mds: ["mds0", "mds1"],
  osts: 3,
  clients: ["client0", "client1", "client2"],
} as const;

/** Of how many commits one ends without an answer, as long as things go wrong. */
const unansweredCommits = 60;

export interface HostsOptions {
  readonly trace: Trace;
  readonly bug: Bug | undefined;
  /** Another stream of chance each time. */
  readonly stream: () => SeededRandom;
  /** Hosts that do something besides the clients, and can meet what clients meet. */
  readonly others: readonly string[];
  /** Before each step of any process. */
  readonly beforeStep: (process: HostProcess) => void;
  /** A client's host is up: what it does. */
  readonly onClient: (name: string, process: HostProcess) => void;
  readonly onCommit: (process: HostProcess, written: ReadonlyMap<Key, Uint8Array>) => void;
  readonly fail: (reason: string) => void;
}

interface Host {
  readonly name: string;
  process: HostProcess;
  server: Server | undefined;
}

export class Hosts implements World, FaultTargets {
  readonly clock = new VirtualClock();
  readonly trace: Trace;
  readonly delays: SeededRandom;
  readonly servers: readonly string[] = [
    ...scenario.mgs,
    ...scenario.mds,
    ...Array.from({ length: scenario.osts }, (_, index) => `oss${index}`),
  ];
  readonly clients: readonly string[];
  readonly targets: number = scenario.osts;
  readonly store = new MemoryStore(this.clock);
  readonly disks: readonly SimulatedTarget[];
  readonly #options: HostsOptions;
  readonly #network: SimulatedNetwork;
  readonly #chance: SeededRandom;
  readonly #hosts = new Map<string, Host>();
  /** Hosts that do not reach the store, with who waits for it. */
  readonly #partedFromStore = new Map<string, PromiseWithResolvers<void>>();
  /** Whether things go wrong, and clients that died are started again. */
  #isTroubled = true;

  constructor(options: HostsOptions) {
    const { trace, stream, others } = options;
    this.#options = options;
    this.trace = trace;
    this.clients = [...scenario.clients, ...others];
    this.delays = stream();
    this.#chance = stream();
    const habits = {
      duplicates: this.#chance.below(2) * 40,
      bitFlips: this.#chance.below(3) === 0 ? 30 : 0,
    };
    this.#network = new SimulatedNetwork(this, stream(), habits);
    const Disk = this.#chance.below(2) === 0 ? SimulatedDisk : FileDisk;
    this.disks = Array.from({ length: scenario.osts }, (_, index) => new Disk(index, stream()));
  }

  beforeStep(process: HostProcess): void {
    this.#options.beforeStep(process);
  }

  // ── processes ────────────────────────────────────────────────────────────────────────────────

  get areServersUp(): boolean {
    return this.servers.every((name) => this.#hosts.get(name)?.server);
  }

  newProcess(name: string): HostProcess {
    const incarnation = (this.#hosts.get(name)?.process.incarnation ?? 0) + 1;
    const random = new SeededRandom(this.#chance.uint32());
    const clockOffsetMs = this.#chance.below(1_000) - 500;
    const transport = (process: HostProcess) => this.#network.transport(process);
    const process = new HostProcess(this, name, incarnation, { random, transport, clockOffsetMs });
    this.#hosts.set(name, { name, process, server: undefined });
    return process;
  }

  startServer(name: string): void {
    const process = this.newProcess(name);
    this.#network.revive(name);
    const host = this.#hosts.get(name)!;
    this.#startServer(name, process).then((server) => {
      if (!process.isDead) host.server = server;
    }, (error) => {
      if (process.isDead) return;
      if (!isRustreError(error)) return this.#options.fail(`${name} cannot start: ${show(error)}`);
      this.note(`${name} cannot start: ${error.code}`);
      this.kill(name, { power: false, downMs: 500 });
    });
  }

  async #startServer(name: string, process: HostProcess): Promise<Server> {
    const [store, storage] = [this.storeOf(process), this.#storageOf(name, process)];
    return await startServer(name, process.environment, { store, storage });
  }

  startClient(name: string): void {
    const process = this.newProcess(name);
    this.#network.revive(name);
    this.#options.onClient(name, process);
  }

  connect({ environment }: HostProcess): Cluster {
    const verifyChecksums = this.#options.bug?.verifyChecksums ?? true;
    return new Cluster({ mgs: mgsAddresses, environment, verifyChecksums });
  }

  #storageOf(name: string, process: HostProcess): TargetStorage | undefined {
    const disk = this.#diskOf(name);
    const { bug } = this.#options;
    return disk?.storage(
      process,
      (objects) => bug?.objects?.(objects, targetIndexOf(name), this.#chance) ?? objects,
    );
  }

  /** Of an oss. */
  #diskOf(name: string): SimulatedTarget | undefined {
    return name.startsWith("oss") ? this.disks[targetIndexOf(name)] : undefined;
  }

  storeOf(process: HostProcess): ProcessStore {
    const { bug, onCommit } = this.#options;
    return new ProcessStore({
      process,
      inner: bug?.store?.(this.store, process, this.#chance) ?? this.store,
      random: this.#chance,
      whenReachable: ({ host }) => this.#partedFromStore.get(host)?.promise,
      unansweredCommits: () => this.#isTroubled ? unansweredCommits : 0,
      onCommit,
    });
  }

  async closeServers(): Promise<void> {
    for (const name of this.servers.toReversed()) await this.#hosts.get(name)!.server?.close();
  }

  killAll(): void {
    for (const { process } of this.#hosts.values()) process.kill();
  }

  // ── what happens to them ─────────────────────────────────────────────────────────────────────

  kill(name: string, { power, downMs }: { power: boolean; downMs: number }): void {
    const { process } = this.#hosts.get(name)!;
    if (process.isDead) return;
    process.kill();
    this.#network.kill(process, { dark: power });
    const isClient = this.clients.includes(name);
    if (power) this.#diskOf(name)?.losePower();
    this.#after(downMs, () => {
      if (this.#hosts.get(name)!.process !== process) return;
      if (!isClient) this.startServer(name);
      else if (this.#isTroubled) this.startClient(name);
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
    }, (error) => this.#options.fail(`${name} cannot stop: ${show(error)}`));
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
    this.disks[index]!.isFull = true;
    this.#after(durationMs, () => this.disks[index]!.isFull = false);
  }

  /** Everything works from now on. */
  heal(): void {
    this.note("heal");
    this.#isTroubled = false;
    for (const { process } of this.#hosts.values()) process.goOn();
    for (const host of [...this.#partedFromStore.keys()]) this.#joinStore(host);
    for (const disk of this.disks) disk.isFull = false;
    this.#network.heal();
    for (const name of this.servers) {
      if (this.#hosts.get(name)!.process.isDead) this.startServer(name);
    }
  }

  // ── trace and time ───────────────────────────────────────────────────────────────────────────

  note(what: string): void {
    this.traceOf("fault", "-", what);
  }

  traceOf(kind: EventKind, host: string, what: string): void {
    this.trace.add(this.clock.monotonicMs(), kind, host, what);
  }

  sleep(delayMs: number): Promise<void> {
    return new Promise((resolve) => this.#after(delayMs, resolve));
  }

  #after(delayMs: number, action: () => void): void {
    this.clock.setTimer(action, delayMs);
  }
}

export function show(error: unknown): string {
  return error instanceof Error ? error.stack ?? error.message : String(error);
}
