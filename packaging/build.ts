// deno-lint-ignore-file no-console -- it tells people what it made
// `deno task build`: makes dist/rustre, for the platform it runs on.
//
//   deno task build [--compiled | --self-extracting] [--output FILE]
//
// Without a choice it compiles where Deno's base runtime can be had, from DENORT_BIN or by download.

import { mkdir, mkdtemp, rename, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, resolve } from "node:path";
import { parseArgs } from "node:util";
import type { BuildInfo } from "../shared/build_info.ts";
import { UsageError } from "../shared/command_line.ts";
import { makeCompiled, NoBaseRuntime } from "./compile.ts";
import { makeSelfExtracting } from "./self_extracting.ts";
import { smokeTest } from "./smoke.ts";
import { RunError } from "./run.ts";
import { commitOf, root, stageSources } from "./stage.ts";

export type Kind = Exclude<BuildInfo["kind"], "checkout">;

export interface Built {
  readonly kind: Kind;
  /** Why it is of this kind. */
  readonly reason: string;
}

/** Makes `output`, of the wanted kind if there is one. What was there stays until it is tested. */
export async function build(output: string, wanted?: Kind): Promise<Built> {
  const untested = `${output}.untested`;
  await mkdir(dirname(output), { recursive: true });
  // deno compile overwrites nothing that it has not made.
  await rm(untested, { force: true });
  try {
    const built = await make(untested, wanted);
    await smokeTest(untested).catch((cause) => {
      throw new Error(`The ${built.kind} does not work`, { cause });
    });
    await rename(untested, output);
    return built;
  } finally {
    await rm(untested, { force: true });
  }
}

async function make(output: string, wanted: Kind | undefined): Promise<Built> {
  const asked = "as the command line asks";
  if (wanted === "self-extracting executable") {
    return await makeOne(output, wanted, makeSelfExtracting, asked);
  }
  try {
    const reason = wanted ? asked : "Deno's base runtime is there";
    return await makeOne(output, "compiled executable", makeCompiled, reason);
  } catch (error) {
    if (!(error instanceof NoBaseRuntime) || wanted) throw error;
    const reason = `deno compile has no base runtime here: ${error.message}`;
    return await makeOne(output, "self-extracting executable", makeSelfExtracting, reason);
  }
}

async function makeOne(
  output: string,
  kind: Kind,
  from: (staged: string, output: string) => Promise<void>,
  reason: string,
): Promise<Built> {
  const staged = await mkdtemp(`${tmpdir()}/rustre-build-`);
  try {
    await stageSources(staged, { kind, commit: await commitOf() });
    await from(staged, output);
  } finally {
    await rm(staged, { recursive: true, force: true });
  }
  return { kind, reason };
}

interface BuildFlags {
  readonly output: string;
  readonly wanted: Kind | undefined;
}

/** Throws a {@link UsageError} where they are wrong. */
export function readBuildFlags(args: string[]): BuildFlags {
  const { output, compiled, "self-extracting": selfExtracting } = parseFlags(args);
  if (compiled && selfExtracting) {
    throw new UsageError("--compiled and --self-extracting exclude each other");
  }
  const other = selfExtracting ? "self-extracting executable" : undefined;
  return { output: resolve(output), wanted: compiled ? "compiled executable" : other };
}

function parseFlags(args: string[]) {
  const options = {
    output: { type: "string", default: `${root}dist/rustre` },
    compiled: { type: "boolean", default: false },
    "self-extracting": { type: "boolean", default: false },
  } as const;
  try {
    return parseArgs({ args, options }).values;
  } catch (error) {
    if (!(error instanceof TypeError)) throw error;
    throw new UsageError(error.message, { cause: error });
  }
}

/** Runs a task to its end; says without a stack what people can mend. */
export async function runTask(task: () => Promise<void>): Promise<void> {
  try {
    await task();
  } catch (error) {
    const isExpected = error instanceof UsageError || error instanceof RunError ||
      error instanceof NoBaseRuntime;
    if (!isExpected) throw error;
    console.error(error.message);
    Deno.exit(error instanceof UsageError ? 2 : 1);
  }
}

async function buildTask(): Promise<void> {
  const { output, wanted } = readBuildFlags(Deno.args);
  const { kind, reason } = await build(output, wanted);
  const megabytes = ((await stat(output)).size / 1e6).toFixed(1);
  console.log(`Made ${output}, a ${kind} (${reason}), ${megabytes} MB; it passed the smoke test`);
}

if (import.meta.main) await runTask(buildTask);
