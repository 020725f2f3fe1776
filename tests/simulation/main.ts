// deno-lint-ignore-file no-console -- a command
// deno task sim: runs seeds of the simulator and says which fail. See docs/decisions/0022-simulator.md.

import { bugs } from "./bugs.ts";
import { replayLine, SimulationPool } from "./pool.ts";
import { type RunResult, runSeed } from "./simulation.ts";
import { taskFlags } from "../support/task_flags.ts";

const usage = `deno task sim [--seeds N] [--seed S] [--bug NAME] [--trace FILE]

  --seeds N     run N seeds, from S or from one by chance, on all cores
  --seed S      alone: run this seed
  --bug NAME    with a bug that is put in; --bug list names them
  --trace FILE  write what happened in the one seed that is run`;

const { values } = taskFlags({
  options: {
    seeds: { type: "string" },
    seed: { type: "string" },
    bug: { type: "string" },
    trace: { type: "string" },
    help: { type: "boolean", default: false },
  },
});

if (values.help || (values.seeds === undefined && values.seed === undefined && !values.bug)) {
  console.log(usage);
} else if (values.bug !== undefined && !(values.bug in bugs)) {
  for (const [name, { what }] of Object.entries(bugs)) console.log(`${name}: ${what}`);
  Deno.exitCode = values.bug === "list" ? 0 : 2;
} else if (values.seed !== undefined && values.seeds === undefined) {
  await runOne(numberOf("--seed", values.seed));
} else {
  await runMany(numberOf("--seeds", values.seeds ?? "500"));
}

async function runOne(seed: number): Promise<void> {
  const { bug, trace } = values;
  const result = await runSeed({ seed, bug, print: trace !== undefined });
  if (trace !== undefined) await Deno.writeTextFile(trace, result.lines.join("\n") + "\n");
  const seconds = (result.virtualMs / 1000).toFixed(1);
  console.log(`seed ${seed}: trace ${result.hash}, ${result.events} events in ${seconds} s`);
  if (result.failure !== undefined) report(result, result.failure);
}

async function runMany(count: number): Promise<void> {
  const first = values.seed === undefined
    ? crypto.getRandomValues(new Uint32Array(1))[0]! >>> 1
    : numberOf("--seed", values.seed);
  const { bug } = values;
  const startedMs = performance.now();
  let [ran, failed] = [0, 0];
  using pool = new SimulationPool(navigator.hardwareConcurrency);
  console.log(`${count} seeds from ${first} on`);
  await pool.runSeeds({ first, count, bug }, (result) => {
    ran++;
    if (result.failure === undefined) return "go on";
    failed++;
    report(result, result.failure);
    return bug === undefined ? "go on" : "enough";
  });
  const seconds = (performance.now() - startedMs) / 1000;
  const rate = (ran / seconds).toFixed(1);
  console.log(`${ran} seeds in ${seconds.toFixed(1)} s, ${rate} in a second: ${failed} failed`);
}

/** One line, which runs it again. */
function report({ seed }: RunResult, failure: string): void {
  console.log(`${replayLine({ seed, bug: values.bug })}  # ${failure.split("\n").join(" ")}`);
  Deno.exitCode = 1;
}

function numberOf(flag: string, value: string): number {
  const number = Number(value);
  if (Number.isSafeInteger(number) && number >= 0) return number;
  console.error(`${flag} takes a whole number, not "${value}"`);
  Deno.exit(2);
}
