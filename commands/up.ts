// `rustre up`: a whole cluster in one process, with its state under one directory.

import { Command } from "commander";
import { wholeNumber } from "../client/cli/arguments.ts";
import { formatAddress, isWildcard } from "../shared/address.ts";
import type { Address } from "../shared/environment.ts";
import { loggerOf } from "../shared/logging.ts";
import type { ProgramContext } from "./context.ts";
import {
  type CommonOptions,
  commonOptions,
  type HostAndPort,
  runServer,
  type StartedServer,
  unlessStopped,
} from "./run_server.ts";
import { ownIds, running } from "./roles.ts";
import { parsePath } from "./globals.ts";
import { advertiseOption, listenOption, parseStoreUrl } from "./servers.ts";
import { osts, UpDirectory } from "./up_directory.ts";

interface UpFlags {
  readonly dir: string;
  readonly osts?: number;
  readonly listen: Address;
  readonly store?: string;
  readonly advertise?: HostAndPort;
}

export function upCommand(context: ProgramContext): Command {
  return new Command("up")
    .description("run a whole cluster in this process: mgs, mds and OSTs")
    .requiredOption("-d, --dir <DIR>", "where its state is", parsePath)
    .option(
      "--osts <COUNT>",
      "number of OSTs (default: those in DIR, at first 4)",
      (text) => wholeNumber(text, osts),
    )
    .addOption(listenOption("127.0.0.1:9400"))
    .option("--store <URL>", "where the metadata is (default: sqlite:DIR/meta.db)", parseStoreUrl)
    .addOption(advertiseOption())
    .action((flags: UpFlags, command: Command) =>
      runServer(context, () => startCluster(context, flags, command))
    );
}

async function startCluster(
  context: ProgramContext,
  flags: UpFlags,
  command: Command,
): Promise<StartedServer> {
  const { environment, signal } = context;
  const { openStore } = await import("../shared/store/open.ts");
  const { startMgs } = await import("../mgs/start.ts");
  const globals = context.globalsOf(command);
  // Undone in reverse order: the mgs outlives the servers, which tell it that they leave.
  await using started = new AsyncDisposableStack();
  const directory = await UpDirectory.open(flags.dir, environment.random);
  started.defer(() => directory.close());
  const targetCount = await directory.targetCount(flags.osts);
  const onWait = (reason: string) => loggerOf("mgs").warn("Waiting for the store", { reason });
  const url = flags.store ?? directory.storeUrl;
  const opening = openStore(url, environment.clock, { onWait, signal });
  const store = await unlessStopped(opening, signal);
  started.defer(() => store.close());
  const mgs = started.use(
    await startMgs({
      ...commonOptions(context, globals, flags.advertise),
      store,
      listen: flags.listen,
      nodeId: directory.state.mgsNodeId,
      log: loggerOf("mgs"),
    }),
  );
  const host = flags.advertise && { host: flags.advertise.host, port: undefined };
  const common = {
    ...commonOptions(context, globals, host),
    mgs: [reachableHere(mgs.listening)],
    listen: { host: mgs.listening.host, port: 0 },
  };
  await startOsts(common, { directory, targetCount, started });
  // After the OSTs, so that its first map has them all, and the first file is striped over all.
  const { startMds } = await import("../mds/start.ts");
  const mds = started.use(
    await startMds({
      ...common,
      store,
      nodeId: directory.state.mdsNodeId,
      rootOwner: ownIds(),
      log: loggerOf("mds"),
    }),
  );
  await unlessStopped(mds.registered, signal);
  return running(`mgs=${formatAddress(mgs.address)} mds=1 osts=${targetCount}`, started);
}

interface Registering extends AsyncDisposable {
  readonly registered: Promise<void>;
}

interface ClusterParts {
  readonly directory: UpDirectory;
  readonly targetCount: number;
  readonly started: AsyncDisposableStack;
}

/** All at once, until they are registered; those that started are stopped where another one fails. */
async function startOsts(
  common: CommonOptions & { readonly listen: Address },
  { directory, targetCount, started }: ClusterParts,
): Promise<void> {
  const { startOss } = await import("../oss/start.ts");
  const starting: Promise<Registering>[] = [];
  for (let targetIndex = 0; targetIndex < targetCount; targetIndex++) {
    starting.push(startOss({
      ...common,
      storage: directory.pathOfTarget(targetIndex),
      targetIndex,
      log: loggerOf("oss"),
    }));
  }
  const servers: Registering[] = [];
  const failures: unknown[] = [];
  for (const outcome of await Promise.allSettled(starting)) {
    if (outcome.status === "fulfilled") servers.push(outcome.value);
    else failures.push(outcome.reason);
  }
  started.defer(async () => {
    await Promise.all(servers.map((server) => server[Symbol.asyncDispose]()));
  });
  if (failures.length > 0) throw failures[0];
  await unlessStopped(Promise.all(servers.map((server) => server.registered)), common.signal);
}

/** Where this process reaches what it listens on itself. */
function reachableHere({ host, port }: Address): Address {
  if (!isWildcard(host)) return { host, port };
  return { host: host === "::" ? "::1" : "127.0.0.1", port };
}
