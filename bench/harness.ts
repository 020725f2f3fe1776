// deno-lint-ignore-file no-console -- its lines are its result
// What all benchmarks share: the line that a measurement prints, a cluster of real processes to
// measure, and a number of operations in flight.

import { startRustre } from "../tests/support/processes.ts";
import { Cluster, parseAddress } from "../client/mod.ts";
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
  /** Peak resident memory of the server process, in bytes. */
  serverMemoryBytes(): number;
  connect(): Cluster;
}

/** A cluster in one other process, on the sqlite store, in a temporary directory. */
export async function startCluster(options: { osts?: number } = {}): Promise<BenchCluster> {
  const directory = await Deno.makeTempDir({ prefix: "rustre-bench-" });
  const osts = String(options.osts ?? 4);
  const flags = ["--dir", directory, "--osts", osts, "--listen", "127.0.0.1:0"];
  const server = await startRustre(["--log-level", "warn", "up", ...flags]);
  const mgs = parseAddress(/mgs=(\S+)/.exec(server.ready)?.[1] ?? "");
  return {
    mgs,
    directory,
    serverMemoryBytes: () => residentBytes(server.pid),
    connect: () => new Cluster({ mgs: [mgs] }),
    [Symbol.asyncDispose]: async () => {
      await server.stop();
      await Deno.remove(directory, { recursive: true });
    },
  };
}

/** Resident memory now, from /proc. */
export function residentBytes(pid: number): number {
  const status = Deno.readTextFileSync(`/proc/${pid}/status`);
  return Number(/^VmRSS:\s+(\d+) kB$/m.exec(status)?.[1] ?? NaN) * 1024;
}
