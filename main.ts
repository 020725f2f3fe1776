// rustre: one program for every role. Runs the command line and turns its outcome into an exit
// status: 0 done, 1 failed, 2 wrong usage or configuration, 130 interrupted.

import { CommanderError } from "commander";
import { globalsOf } from "./commands/globals.ts";
import type { ProgramContext } from "./commands/context.ts";
import { buildProgram } from "./commands/program.ts";
import { UsageError } from "./shared/command_line.ts";
import { isRustreError } from "./shared/errors.ts";
import { systemEnvironment } from "./shared/platform.ts";

const exitInterrupted = 130;

/** Runs a command line to its end; gives the exit status. */
export async function main(args: readonly string[]): Promise<number> {
  const stop = new AbortController();
  let exitCode = 0;
  const context: ProgramContext = {
    environment: systemEnvironment(),
    signal: stop.signal,
    globalsOf,
    setExitCode: (code) => exitCode = code,
    output: undefined,
  };
  handleSignals(stop);
  handleBugs(context);
  try {
    const program = buildProgram(context).hook("preAction", (_program, command) => {
      const { dataPath } = globalsOf(command);
      context.environment = systemEnvironment({ dataPath });
    });
    await program.parseAsync(args, { from: "user" });
  } catch (error) {
    exitCode = report(error, stop.signal);
  }
  await context.output?.flush();
  return exitCode;
}

/** The first signal asks for a clean end, the second one gets an end. */
function handleSignals(stop: AbortController): void {
  const onSignal = () => {
    if (stop.signal.aborted) Deno.exit(exitInterrupted);
    stop.abort();
  };
  Deno.addSignalListener("SIGINT", onSignal);
  Deno.addSignalListener("SIGTERM", onSignal);
}

/** An error that nobody caught is a bug: loud, and the end, but not before the log is written. */
function handleBugs(context: ProgramContext): void {
  const onBug = async (event: Event, error: unknown) => {
    event.preventDefault();
    printBug(error);
    await context.output?.flush();
    Deno.exit(1);
  };
  globalThis.addEventListener("error", (event) => onBug(event, event.error));
  globalThis.addEventListener("unhandledrejection", (event) => onBug(event, event.reason));
}

/** Says what went wrong and gives the exit status for it. */
function report(error: unknown, signal: AbortSignal): number {
  // The parser has said what it had to say.
  if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2;
  if (signal.aborted) return exitInterrupted;
  // What failed first; that the cleaning up failed too mostly follows from it.
  if (error instanceof SuppressedError) return report(error.suppressed, signal);
  if (error instanceof UsageError) return fail(error.message, 2);
  if (isRustreError(error)) return fail(error.message, 1);
  // Whoever read our results has read enough, as `head` does.
  if (error instanceof Deno.errors.BrokenPipe) return 1;
  printBug(error);
  return 1;
}

function fail(message: string, exitCode: number): number {
  printError(`rustre: ${message}`);
  return exitCode;
}

function printBug(error: unknown): void {
  const stack = error instanceof Error ? error.stack ?? error.message : String(error);
  printError(`rustre: a bug: ${stack}`);
}

function printError(text: string): void {
  try {
    Deno.stderr.writeSync(new TextEncoder().encode(text + "\n"));
  } catch {
    // Nobody reads standard error; the exit status still tells.
  }
}

if (import.meta.main) Deno.exit(await main(Deno.args));
