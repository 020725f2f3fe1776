// deno-lint-ignore-file no-console -- its lines are its result
// `deno task bench [NAME…] [--large]`: runs the benchmarks whose names start with one of NAME, all by
// default; one JSON line per measurement. Exit status 1 where a target is missed.

import type { Options } from "./harness.ts";
import { io } from "./io.ts";
import { metadata } from "./meta.ts";

const benchmarks: Record<string, (options: Options) => Promise<boolean>> = {
  meta: metadata,
  io,
};

const names = Deno.args.filter((arg) => !arg.startsWith("--"));
const flags = Deno.args.filter((arg) => arg.startsWith("--"));
const unknown = [
  ...flags.filter((flag) => flag !== "--large"),
  ...names.filter((name) => !(name.split(".")[0]! in benchmarks)),
];
if (unknown.length > 0) {
  console.error(`Cannot run ${unknown.join(" ")}: the benchmarks are ${Object.keys(benchmarks)}`);
  Deno.exit(2);
}
/** One of a name's begin is enough: "io" asks for "io.put", "io.put.2" for "io.put". */
const wants = (...benches: string[]) =>
  names.length === 0 ||
  names.some((name) => benches.some((bench) => bench.startsWith(name) || name.startsWith(bench)));
const areas = new Set(names.map((name) => name.split(".")[0]!));
let ok = true;
for (const [area, run] of Object.entries(benchmarks)) {
  if (areas.size > 0 && !areas.has(area)) continue;
  ok = await run({ large: flags.includes("--large"), wants }) && ok;
}
if (!ok) Deno.exit(1);
