// The script of every worker: a thread that serves one role beside others that do the same. Its
// first message says which; run_workers.ts sends it.

import { fired } from "../shared/deadline.ts";
import { isRustreError, messageOf } from "../shared/errors.ts";
import { configureLog, type LogFormat, loggerOf, type LogLevelName } from "../shared/logging.ts";
import { systemEnvironment } from "../shared/platform.ts";
import type {
  PeerListener,
  PeerMessages,
  Peers,
  WorkerPlace,
  WorkerSelf,
} from "../shared/workers/peers.ts";
import type { FromWorker, ToWorker } from "../shared/workers/worker_pool.ts";
import type { RoleOptions } from "./roles.ts";
import type { StartedServer } from "./run_server.ts";

export interface StartWorker {
  readonly type: "start";
  readonly place: WorkerPlace;
  readonly counters: SharedArrayBuffer;
  readonly role: RoleOptions;
  readonly log: { readonly level: LogLevelName; readonly format: LogFormat };
}

/** What the platform gives a worker; its types clash with those of the main thread. */
interface WorkerScope {
  postMessage(message: FromWorker): void;
  onmessage: (event: { readonly data: StartWorker | ToWorker }) => void;
  close(): void;
}

const scope = globalThis as unknown as WorkerScope;
const stop = new AbortController();
const listeners = new Map<keyof PeerMessages, PeerListener<keyof PeerMessages>>();

const peers: Peers = {
  tell: (name, message) => scope.postMessage({ type: "peer", name, message }),
  on: (name, listener) => void listeners.set(name, listener as PeerListener<keyof PeerMessages>),
};

async function serve({ place, counters, role, log }: StartWorker): Promise<void> {
  configureLog(log, (role, line) => scope.postMessage({ type: "log", role, line }));
  const server = await start(role, { place, counters, peers });
  if (!server) return;
  scope.postMessage({ type: "ready", ready: server.ready });
  await fired(stop.signal);
  try {
    await server.close();
  } catch (error) {
    if (!isRustreError(error)) throw error;
    loggerOf(role.role).warn("Cannot stop in good order", { reason: error.message });
  }
  end({ type: "stopped" });
}

/** Where it fails, or is told to stop meanwhile, it has said so and ended. */
async function start(role: RoleOptions, self: WorkerSelf): Promise<StartedServer | undefined> {
  const { startRole } = await import("./roles.ts");
  try {
    const environment = systemEnvironment(role.globals);
    return await startRole(role, { environment, signal: stop.signal }, self);
  } catch (error) {
    if (!isRustreError(error)) throw error;
    const { code, message: reason } = error;
    end(stop.signal.aborted ? { type: "stopped" } : { type: "failed", code, reason });
    return undefined;
  }
}

/** Says why, and ends this thread: the platform closes all that it has open. */
function end(last: FromWorker): void {
  scope.postMessage(last);
  scope.close();
}

function onBug(event: Event, error: unknown): void {
  event.preventDefault();
  const reason = error instanceof Error ? error.stack ?? error.message : messageOf(error);
  end({ type: "died", reason });
}

globalThis.addEventListener("error", (event) => onBug(event, event.error));
globalThis.addEventListener("unhandledrejection", (event) => onBug(event, event.reason));
scope.onmessage = ({ data }) => {
  switch (data.type) {
    case "start":
      return void serve(data);
    case "stop":
      return stop.abort();
    case "peer":
      return listeners.get(data.name)?.(data.message);
  }
};
