// deno-lint-ignore-file no-console -- its lines are its result
// What all benchmarks share: the line that a measurement prints, a cluster of real processes to
// measure, and a number of operations in flight.

import { type RustreProcess, startRustre } from "../tests/support/processes.ts";
import { Cluster, type ClusterOptions as ClientOptions, parseAddress } from "../client/mod.ts";
import type { Address } from "../shared/environment.ts";

export interface Measurement {
  /** `area.what`. */
  readonly bench: string;
  readonly value: number;
  readonly unit: string;
  /** What the machine did in the same run, where there is such a limit. */
  readonly limit?: number | undefined;
  readonly target?: number | undefined;
  /** What the target is of; the value by default. */
  readonly of?: "value" | "ratio";
  /** A value below the target is the good one. */
  readonly lowerIsBetter?: boolean;
  readonly [extra: string]: unknown;
}

export interface Options {
  /** Also the runs that take minutes. */
  readonly large: boolean;
  /** The URL of the store to measure; sqlite in a directory of its own by default. */
  readonly store?: string;
  /** Whether figures whose names begin so are asked for. */
  readonly wants: (...names: string[]) => boolean;
}

/** Prints a measurement; tells whether its target holds. */
export function report(measurement: Measurement): boolean {
  const { bench, value, unit, limit, target, of = "value", lowerIsBetter, ...extra } = measurement;
  const ratio = limit === undefined ? null : round(value / limit);
  const judged = of === "ratio" ? value / (limit ?? NaN) : value;
  const ok = target === undefined || (lowerIsBetter ? judged <= target : judged >= target);
  const line = {
    bench,
    value: round(value),
    unit,
    limit: limit === undefined ? null : round(limit),
  };
  const rest = { ratio, target: target ?? null, of, ok, ...extra };
  console.log(JSON.stringify({ ...line, ...rest }));
  return ok;
}

function round(value: number): number {
  return value >= 100 ? Math.round(value) : Number(value.toPrecision(4));
}

/** Runs `count` operations with `inFlight` under way; returns how many were done in a second. */
export async function operationsPerSecond(
  count: number,
  inFlight: number,
  operation: (index: number) => Promise<unknown>,
): Promise<number> {
  let next = 0;
  const startMs = performance.now();
  await Promise.all(Array.from({ length: inFlight }, async () => {
    while (next < count) await operation(next++);
  }));
  return count / ((performance.now() - startMs) / 1000);
}

export interface BenchCluster extends AsyncDisposable {
  readonly mgs: Address;
  readonly directory: string;
  /** Resident memory now of the largest server process, in bytes. */
  serverMemoryBytes(): number;
  readonly processes: readonly { readonly role: string; readonly pid: number }[];
  connect(options?: Partial<ClientOptions>): Cluster;
}

export interface ClusterOptions {
  readonly osts?: number;
  /** The store of a cluster in one process. What was made there stays, under a name of its own. */
  readonly store?: string;
  /** mgs, mds and each oss in a process of its own, as over several hosts; else one for all. */
  readonly separate?: boolean;
  /** Threads of each separate mgs, mds and oss. */
  readonly workers?: Readonly<Partial<Record<"mgs" | "mds" | "oss", number>>>;
}

/** A cluster in other processes, on the sqlite store by default, in a temporary directory. */
export async function startCluster(options: ClusterOptions = {}): Promise<BenchCluster> {
  await using started = new AsyncDisposableStack();
  const { path: directory } = started.use(await makeDirectory());
  const servers = options.separate
    ? await startSeparate(directory, options, started)
    : [await startUp(directory, options, started)];
  const mgs = parseAddress(/mgs=(\S+)/.exec(servers[0]?.ready ?? "")?.[1] ?? "");
  const all = started.move();
  return {
    mgs,
    directory,
    serverMemoryBytes: () => Math.max(...servers.map(({ pid }) => residentBytes(pid))),
    processes: servers.map(({ ready, pid }) => ({ role: ready.split("=")[0]!, pid })),
    connect: (options) => new Cluster({ ...options, mgs: [mgs] }),
    [Symbol.asyncDispose]: () => all.disposeAsync(),
  };
}

async function startUp(
  directory: string,
  { osts = 4, store }: ClusterOptions,
  started: AsyncDisposableStack,
): Promise<RustreProcess> {
  const flags = ["--dir", directory, "--osts", String(osts), "--listen", "127.0.0.1:0"];
  if (store !== undefined) flags.push("--store", store);
  return started.use(await startRustre([...globalFlags(directory), "up", ...flags]));
}

/** A store that outlives the run keeps each cluster under its name. */
function globalFlags(directory: string): string[] {
  return ["--log-level", "warn", "--cluster-name", directory.split("/").at(-1)!];
}

/** A directory that goes with all that is in it. */
export interface BenchDirectory extends AsyncDisposable {
  readonly path: string;
}

/**
 * A directory far from what was deleted lately: before it makes an inode, ext4 without a journal looks
 * at each one near by that was deleted in the last five minutes, which can take ten times what is
 * measured here.
 */
export async function makeDirectory(): Promise<BenchDirectory> {
  const parent = await Deno.makeTempDir({ prefix: "rustre-bench-" });
  // To ext4 each directory in it is the beginning of a tree of its own, and its place depends on the
  // name. Other file systems do not know the attribute, nor need it.
  await new Deno.Command("chattr", { args: ["+T", parent] }).output().catch(() => undefined);
  return {
    path: await Deno.makeTempDir({ dir: parent }),
    [Symbol.asyncDispose]: () => Deno.remove(parent, { recursive: true }),
  };
}

/** The mgs first. */
async function startSeparate(
  directory: string,
  { osts = 4, workers = {}, store: url = `sqlite:${directory}/meta.db` }: ClusterOptions,
  started: AsyncDisposableStack,
): Promise<RustreProcess[]> {
  const start = async (role: "mgs" | "mds" | "oss", ...args: string[]) => {
    const threads = workers[role] === undefined ? [] : ["--workers", String(workers[role])];
    const flags = [role, "--listen", "127.0.0.1:0", ...args, ...threads];
    return started.use(await startRustre([...globalFlags(directory), ...flags]));
  };
  const store = ["--store", url];
  const mgs = await start("mgs", ...store);
  const address = ["--mgs", /mgs=(\S+)/.exec(mgs.ready)?.[1] ?? ""];
  const servers = [mgs];
  // After the OSTs, so that the first file is striped over all of them.
  for (let index = 0; index < osts; index++) {
    const place = ["--index", String(index), "--dir", `${directory}/ost${index}`];
    servers.push(await start("oss", ...address, ...place));
  }
  servers.push(await start("mds", ...address, ...store));
  return servers;
}

export function median(values: number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? NaN;
}

/** The most resident memory that a process had so far, from /proc; 0 where it has ended. */
export function peakBytes(pid: number): number {
  try {
    const status = Deno.readTextFileSync(`/proc/${pid}/status`);
    return Number(/^VmHWM:\s+(\d+) kB$/m.exec(status)?.[1] ?? 0) * 1024;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return 0;
    throw error;
  }
}

/** Resident memory now, from /proc. */
function residentBytes(pid: number): number {
  const status = Deno.readTextFileSync(`/proc/${pid}/status`);
  return Number(/^VmRSS:\s+(\d+) kB$/m.exec(status)?.[1] ?? NaN) * 1024;
}

/** Processor time, in microseconds: in the program itself, and in the system on its behalf. */
export interface ProcessorTime {
  readonly user: number;
  readonly system: number;
}

/** What a process has used so far, from /proc. */
function processorTimeOf(pid: number | "self"): ProcessorTime {
  // What follows the command's name, which may have any character: field 3 is the first.
  const fields = Deno.readTextFileSync(`/proc/${pid}/stat`).split(") ").at(-1)!.split(" ");
  const [user, system] = [fields[11], fields[12]].map((ticks) => Number(ticks) * clockTickUs);
  return { user: user!, system: system! };
}

/** Of every Linux. */
const clockTickUs = 10_000;

/**
 * Where the time of some work goes: the processor time of each role and of this process, for each of
 * its `units`.
 */
export class Profile {
  readonly #cluster: BenchCluster;
  readonly #used = new Map<string, ProcessorTime>();
  #units = 0;

  constructor(cluster: BenchCluster) {
    this.#cluster = cluster;
  }

  async of<T>(units: number, action: () => Promise<T>): Promise<T> {
    const before = this.#now();
    const result = await action();
    for (const [role, after] of this.#now()) {
      add(this.#used, role, {
        user: after.user - before.get(role)!.user,
        system: after.system - before.get(role)!.system,
      });
    }
    this.#units += units;
    return result;
  }

  /** By role, the client among them. */
  processorMicroseconds(): Record<string, ProcessorTime> {
    const perUnit = (microseconds: number) => Math.round(microseconds / this.#units);
    const roles = [...this.#used].map(([role, { user, system }]) => {
      return [role, { user: perUnit(user), system: perUnit(system) }] as const;
    });
    return Object.fromEntries(roles);
  }

  #now(): Map<string, ProcessorTime> {
    const used = new Map([["client", processorTimeOf("self")]]);
    for (const { role, pid } of this.#cluster.processes) add(used, role, processorTimeOf(pid));
    return used;
  }
}

function add(used: Map<string, ProcessorTime>, role: string, more: ProcessorTime): void {
  const { user, system } = used.get(role) ?? { user: 0, system: 0 };
  used.set(role, { user: user + more.user, system: system + more.system });
}
