// Starts one role in this thread, be it the main one or a worker. Everything that says what to start
// can be sent to a worker.

import { formatAddress } from "../shared/address.ts";
import type { Globals } from "../shared/command_line.ts";
import type { Address } from "../shared/environment.ts";
import { loggerOf } from "../shared/logging.ts";
import type { WorkerSelf } from "../shared/workers/peers.ts";
import type { ProgramContext } from "./context.ts";
import {
  commonOptions,
  type HostAndPort,
  type StartedServer,
  unlessStopped,
} from "./run_server.ts";

interface RoleBase {
  readonly globals: Globals;
  readonly listen: Address;
  readonly advertise?: HostAndPort;
}

interface StoreRole extends RoleBase {
  readonly role: "mgs" | "mds";
  readonly store: string;
  readonly nodeId: string;
}

interface OssRole extends RoleBase {
  readonly role: "oss";
  readonly targetIndex: number;
  readonly directory: string;
}

export type RoleOptions = StoreRole | OssRole;

export type RoleContext = Pick<ProgramContext, "environment" | "signal">;

/** Resolves when the role serves and, where it speaks for its process, is in the cluster map. */
export async function startRole(
  options: RoleOptions,
  context: RoleContext,
  worker?: WorkerSelf,
): Promise<StartedServer> {
  await using started = new AsyncDisposableStack();
  const ready = options.role === "oss"
    ? await startOss(options, context, started, worker)
    : await startOnStore(options, context, started, worker);
  return running(ready, started);
}

/** On a store that is opened for it, and closed after it. */
async function startOnStore(
  options: StoreRole,
  context: RoleContext,
  started: AsyncDisposableStack,
  worker: WorkerSelf | undefined,
): Promise<string> {
  const { openStore } = await import("../shared/store/open.ts");
  const { globals, role, listen, nodeId, advertise } = options;
  const handles = worker?.place.count;
  const log = loggerOf(role);
  const onWait = (reason: string) => log.warn("Waiting for the store", { reason });
  const { environment, signal } = context;
  const opening = openStore(options.store, environment.clock, { handles, onWait, signal });
  const store = await unlessStopped(opening, signal);
  started.defer(() => store.close());
  const common = { ...commonOptions(context, globals, advertise), store, listen, nodeId, worker };
  if (role === "mgs") {
    const { startMgs } = await import("../mgs/start.ts");
    const mgs = started.use(await startMgs({ ...common, log }));
    return `mgs=${formatAddress(mgs.address)}`;
  }
  const { startMds } = await import("../mds/start.ts");
  const mds = await startMds({ ...common, rootOwner: ownIds(), log });
  started.use(mds);
  await unlessStopped(mds.registered, context.signal);
  return `mds=${formatAddress(mds.address)}`;
}

async function startOss(
  options: OssRole,
  context: RoleContext,
  started: AsyncDisposableStack,
  worker: WorkerSelf | undefined,
): Promise<string> {
  const { startOss } = await import("../oss/start.ts");
  const common = ossOptions(options, context);
  const oss = started.use(await startOss({ ...common, storage: options.directory, worker }));
  await unlessStopped(oss.registered, context.signal);
  return `oss=${formatAddress(oss.address)}`;
}

/** What the main thread does before the workers of an oss start, and undoes after them. */
export async function prepareWorkers(
  options: RoleOptions,
  context: RoleContext,
): Promise<AsyncDisposable> {
  if (options.role !== "oss") return new AsyncDisposableStack();
  const { prepareStorage } = await import("../oss/worker_storage.ts");
  return await prepareStorage(ossOptions(options, context), options.directory);
}

function ossOptions(
  { globals, advertise, listen, targetIndex }: OssRole,
  context: RoleContext,
) {
  const common = commonOptions(context, globals, advertise);
  return { ...common, listen, targetIndex, log: loggerOf("oss") };
}

/** Who owns the root of a new file system: whoever runs the server. */
export function ownIds(): { uid: number; gid: number } {
  return { uid: Deno.uid() ?? 0, gid: Deno.gid() ?? 0 };
}

export function running(ready: string, started: AsyncDisposableStack): StartedServer {
  const owned = started.move();
  return { ready, close: () => owned.disposeAsync() };
}
