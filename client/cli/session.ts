// One run of a client command: the cluster, as whom it is used, where results and messages go.

import type { Command } from "commander";
import type { CommandContext } from "../../shared/command_line.ts";
import type { Address, Environment } from "../../shared/environment.ts";
import { isRustreError } from "../../shared/errors.ts";
import { limits } from "../../shared/limits.ts";
import type { Caller } from "../../shared/model.ts";
import type { Cluster, FileSystem } from "../mod.ts";
import { Output } from "./output.ts";

export interface ClientSession {
  readonly cluster: Cluster;
  readonly fileSystem: FileSystem;
  readonly environment: Environment;
  /** Fires when the user interrupts. */
  readonly signal: AbortSignal;
  readonly json: boolean;
  readonly output: Output;
  /** Says what failed and lets the command go on with the rest; it then ends with exit status 1. */
  failed(error: unknown): void;
  /** Runs `task` for one operand after the other; those that fail are said. */
  each<T>(operands: Iterable<T>, task: (operand: T) => Promise<void>): Promise<void>;
}

/** What a command is to do, once its operands and flags are known to make sense. */
export interface Job {
  /** Which cluster, where the operands say so. */
  readonly mgs?: readonly Address[] | undefined;
  run(session: ClientSession): Promise<void>;
}

export async function runJob(
  context: CommandContext,
  command: Command,
  job: Job,
): Promise<void> {
  const { Cluster } = await import("../mod.ts");
  const { environment, signal } = context;
  const globals = context.globalsOf(command);
  await using cluster = new Cluster({ mgs: job.mgs ?? globals.mgs, environment });
  // Where nobody answers, that is said once and not for each operand.
  await cluster.map(signal);
  const output = new Output(Deno.stdout);
  const failed = (error: unknown) => {
    if (signal.aborted || !isRustreError(error)) throw error;
    output.message(error.message);
    context.setExitCode(1);
  };
  const session: ClientSession = {
    cluster,
    fileSystem: cluster.fileSystem(await ownCaller()),
    environment,
    signal,
    json: globals.json,
    output,
    failed,
    async each(operands, task) {
      for (const operand of operands) await task(operand).catch(failed);
    },
  };
  try {
    await job.run(session);
  } finally {
    await output.flush();
  }
  signal.throwIfAborted();
}

/** The user who runs this process. */
async function ownCaller(): Promise<Caller> {
  const nobody = 65_534;
  const caller = { uid: Deno.uid() ?? nobody, gid: Deno.gid() ?? nobody };
  return { ...caller, groups: await supplementaryGroups() };
}

async function supplementaryGroups(): Promise<number[]> {
  let status: string;
  try {
    status = await Deno.readTextFile("/proc/self/status");
  } catch {
    // Not a Linux: the first group has to do.
    return [];
  }
  const line = /^Groups:(.*)$/m.exec(status)?.[1] ?? "";
  return line.trim().split(/\s+/).filter((text) => text !== "").map(Number)
    .slice(0, limits.groupsMax);
}
