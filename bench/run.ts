// deno-lint-ignore-file no-console -- its lines are its result
// `deno task bench [NAME…] [--large] [--store URL]`: runs the benchmarks whose names start with one of
// NAME, all by default; one JSON line per measurement. Exit status 1 where a target is missed. With a
// store, which should be a scratch one, only what depends on it is measured.

import { highAvailability } from "./ha.ts";
import type { Options } from "./harness.ts";
import { io } from "./io.ts";
import { metadata } from "./meta.ts";
import { taskFlags } from "../tests/support/task_flags.ts";

const benchmarks: Record<string, (options: Options) => Promise<boolean>> = {
  meta: metadata,
  io,
  ha: highAvailability,
};

const { values: flags, positionals } = taskFlags({
  allowPositionals: true,
  options: { large: { type: "boolean", default: false }, store: { type: "string" } },
});
const { store, large } = flags;
const names = store !== undefined && positionals.length === 0 ? ["meta"] : positionals;
const unknown = names.filter((name) => !(name.split(".")[0]! in benchmarks));
if (unknown.length > 0) {
  console.error(
    `Cannot run ${unknown.join(" ")}: the benchmarks are ${Object.keys(benchmarks).join(", ")}`,
  );
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
  ok = await run({ large, wants, ...(store === undefined ? {} : { store }) }) && ok;
}
if (!ok) Deno.exit(1);
