// `rustre mgs`, `mds` and `oss`: one role in a process of its own.

import { Command, InvalidArgumentError, Option } from "commander";
import { formatAddress, parseAddress, parseHostAndPort } from "../shared/address.ts";
import { type Address, randomHex } from "../shared/environment.ts";
import { limits } from "../shared/limits.ts";
import { loggerOf } from "../shared/logging.ts";
import { parsed } from "./globals.ts";
import type { ProgramContext } from "./context.ts";
import {
  type CommonOptions,
  commonOptions,
  type HostAndPort,
  runServer,
  unlessStopped,
} from "./run_server.ts";
import type { Store } from "../shared/store/store.ts";

interface ServerFlags {
  readonly listen: Address;
  readonly advertise?: HostAndPort;
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
    .argParser(parsed(parseHostAndPort));
}

function storeOption(): Option {
  return new Option("--store <URL>", "where the state is: sqlite:PATH, or memory: to forget it")
    .makeOptionMandatory();
}

function mgsCommand(context: ProgramContext): Command {
  return new Command("mgs")
    .description("run a management server: cluster map, registration, probes")
    .addOption(listenOption("0.0.0.0:9400"))
    .addOption(storeOption())
    .addOption(advertiseOption())
    .action((flags: StoreFlags, command: Command) =>
      runOnStore(context, flags, command, async (options) => {
        const { startMgs } = await import("../mgs/start.ts");
        const server = await startMgs({ ...options, log: loggerOf("mgs") });
        return { server, ready: `mgs=${formatAddress(server.address)}` };
      })
    );
}

function mdsCommand(context: ProgramContext): Command {
  return new Command("mds")
    .description("run a metadata server: names, attributes, layouts")
    .addOption(listenOption("0.0.0.0:9401"))
    .addOption(storeOption())
    .addOption(advertiseOption())
    .action((flags: StoreFlags, command: Command) =>
      runOnStore(context, flags, command, async (options) => {
        const { startMds } = await import("../mds/start.ts");
        const server = await startMds({ ...options, rootOwner: ownIds(), log: loggerOf("mds") });
        return {
          server,
          registered: server.registered,
          ready: `mds=${formatAddress(server.address)}`,
        };
      })
    );
}

interface StoreServerOptions extends CommonOptions {
  readonly store: Store;
  readonly listen: Address;
  readonly nodeId: string;
}

interface StoreServer {
  readonly server: AsyncDisposable;
  /** Where the server is not in the map yet: resolves when it is. */
  readonly registered?: Promise<void>;
  readonly ready: string;
}

/** Runs a server on a store that is opened for it, and closed after it. */
function runOnStore(
  context: ProgramContext,
  flags: StoreFlags,
  command: Command,
  start: (options: StoreServerOptions) => Promise<StoreServer>,
): Promise<void> {
  return runServer(context, async () => {
    const { openStore } = await import("../shared/store/open.ts");
    const { environment, signal } = context;
    await using started = new AsyncDisposableStack();
    const store = await openStore(flags.store, environment.clock);
    started.defer(() => store.close());
    const { server, registered, ready } = await start({
      ...commonOptions(context, context.globalsOf(command), flags.advertise),
      store,
      listen: flags.listen,
      nodeId: randomHex(environment.random, 16),
    });
    started.use(server);
    if (registered) await unlessStopped(registered, signal);
    return running(ready, started);
  });
}

function ossCommand(context: ProgramContext): Command {
  return new Command("oss")
    .description("run an object storage server: the bytes of files, in a directory")
    .addOption(listenOption("0.0.0.0:9402"))
    .addOption(
      new Option("-i, --index <INDEX>", "of the OST, its own in the cluster")
        .argParser(parseIndex).default(0),
    )
    .requiredOption("-d, --dir <DIR>", "directory of the OST")
    .addOption(advertiseOption())
    .action((flags: OssFlags, command: Command) =>
      runServer(context, async () => {
        const { startOss } = await import("../oss/start.ts");
        const common = commonOptions(context, context.globalsOf(command), flags.advertise);
        await using started = new AsyncDisposableStack();
        const oss = started.use(
          await startOss({
            ...common,
            listen: flags.listen,
            targetIndex: flags.index,
            storage: flags.dir,
            log: loggerOf("oss"),
          }),
        );
        await unlessStopped(oss.registered, context.signal);
        return running(`oss=${formatAddress(oss.address)}`, started);
      })
    );
}

/** Who owns the root of a new file system: whoever runs the server. */
export function ownIds(): { uid: number; gid: number } {
  return { uid: Deno.uid() ?? 0, gid: Deno.gid() ?? 0 };
}

export function running(ready: string, started: AsyncDisposableStack) {
  const owned = started.move();
  return { ready, close: () => owned.disposeAsync() };
}

function parseIndex(text: string): number {
  const index = Number(text);
  if (/^[0-9]+$/.test(text) && index <= limits.targetIndexMax) return index;
  throw new InvalidArgumentError(`It must be a number from 0 to ${limits.targetIndexMax}.`);
}
