// `rustre mgs`, `mds` and `oss`: one role in a process of its own.

import { Command, InvalidArgumentError, Option } from "commander";
import { targetIndexFlag, wholeNumber } from "../client/cli/arguments.ts";
import { parseAddress, parseAdvertised } from "../shared/address.ts";
import { UsageError } from "../shared/command_line.ts";
import { type Address, randomHex } from "../shared/environment.ts";
import { limits } from "../shared/limits.ts";
import { isSharedAmongThreads, isStoreUrl, storeUrlForms } from "../shared/store/url.ts";
import type { ProgramContext } from "./context.ts";
import { parsed, parsePath } from "./globals.ts";
import { type RoleOptions, startRole } from "./roles.ts";
import { type HostAndPort, runServer } from "./run_server.ts";

interface ServerFlags {
  readonly listen: Address;
  readonly advertise?: HostAndPort;
  readonly workers?: number;
}

interface StoreFlags extends ServerFlags {
  readonly store: string;
}

interface OssFlags extends ServerFlags {
  readonly index: number;
  readonly dir: string;
}

export function serverCommands(context: ProgramContext): Command[] {
  return [mgsCommand(context), mdsCommand(context), ossCommand(context)];
}

export function listenOption(defaultText: string): Option {
  return new Option("-l, --listen <HOST:PORT>", "address to listen on; port 0 picks a free one")
    .argParser(parsed((text) => parseAddress(text, { anyPort: true })))
    .default(parseAddress(defaultText), defaultText);
}

export function advertiseOption(): Option {
  return new Option("--advertise <HOST[:PORT]>", "address that others reach this server at")
    .argParser(parsed(parseAdvertised));
}

const storeText = "where the state is: sqlite:PATH, fdb:CLUSTER_FILE, or memory: to forget it";

function storeOption(): Option {
  return new Option("--store <URL>", storeText)
    .argParser(parseStoreUrl)
    .makeOptionMandatory();
}

export function parseStoreUrl(text: string): string {
  if (isStoreUrl(text)) return text;
  throw new InvalidArgumentError(`It must be ${storeUrlForms}.`);
}

function workersOption(): Option {
  return new Option(
    "--workers <COUNT>",
    `threads that serve (default: one for each core, at most ${limits.workersDefaultMax})`,
  )
    .argParser((text) => wholeNumber(text, { min: 1, max: limits.workersMax }));
}

function mgsCommand(context: ProgramContext): Command {
  return new Command("mgs")
    .description("run a management server: cluster map, registration, probes")
    .addOption(listenOption("0.0.0.0:9400"))
    .addOption(storeOption())
    .addOption(advertiseOption())
    .addOption(workersOption())
    .action((flags: StoreFlags, command: Command) => runOnStore(context, "mgs", flags, command));
}

function mdsCommand(context: ProgramContext): Command {
  return new Command("mds")
    .description("run a metadata server: names, attributes, layouts")
    .addOption(listenOption("0.0.0.0:9401"))
    .addOption(storeOption())
    .addOption(advertiseOption())
    .addOption(workersOption())
    .action((flags: StoreFlags, command: Command) => runOnStore(context, "mds", flags, command));
}

function runOnStore(
  context: ProgramContext,
  role: "mgs" | "mds",
  flags: StoreFlags,
  command: Command,
): Promise<void> {
  const workers = workersOnStore(flags);
  return run(context, workers, {
    ...baseOf(context, flags, command),
    role,
    store: flags.store,
    nodeId: randomHex(context.environment.random, 16),
  });
}

function workersOnStore({ store, workers }: StoreFlags): number {
  if (isSharedAmongThreads(store)) return workers ?? defaultWorkers();
  if (workers === undefined || workers === 1) return 1;
  const why = store === "memory:"
    ? "it is in the memory of one; use sqlite:PATH or --workers 1"
    : "only one thread of a process can; use --workers 1, and more processes";
  throw new UsageError(`Cannot share the store "${store}" among ${workers} workers: ${why}`);
}

function ossCommand(context: ProgramContext): Command {
  return new Command("oss")
    .description("run an object storage server: the bytes of files, in a directory")
    .addOption(listenOption("0.0.0.0:9402"))
    .addOption(
      new Option("-i, --index <INDEX>", "of the OST, its own in the cluster")
        .argParser(targetIndexFlag).default(0),
    )
    .requiredOption("-d, --dir <DIR>", "directory of the OST", parsePath)
    .addOption(advertiseOption())
    .addOption(workersOption())
    .action((flags: OssFlags, command: Command) =>
      run(context, flags.workers ?? defaultWorkers(), {
        ...baseOf(context, flags, command),
        role: "oss",
        targetIndex: flags.index,
        directory: flags.dir,
      })
    );
}

function baseOf(context: ProgramContext, { listen, advertise }: ServerFlags, command: Command) {
  const globals = context.globalsOf(command);
  return { globals, listen, ...(advertise ? { advertise } : {}) };
}

/** One worker is the main thread itself. */
function run(context: ProgramContext, workers: number, options: RoleOptions): Promise<void> {
  return runServer(context, async () => {
    if (workers === 1) return await startRole(options, context);
    const { startWorkers } = await import("./run_workers.ts");
    return await startWorkers(context, options, workers);
  });
}

function defaultWorkers(): number {
  return Math.min(navigator.hardwareConcurrency, limits.workersDefaultMax);
}
