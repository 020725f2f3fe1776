// Serves a role with several workers: threads of this process, each with a listener of its own on
// the same port, among which the kernel spreads the connections.

import { type Address, type Environment, randomHex } from "../shared/environment.ts";
import { loggerOf } from "../shared/logging.ts";
import { type FromWorker, WorkerPool, type WorkerThread } from "../shared/workers/worker_pool.ts";
import { SharedCounters } from "../shared/workers/shared_counters.ts";
import type { ProgramContext } from "./context.ts";
import { prepareWorkers, type RoleOptions, running } from "./roles.ts";
import { type StartedServer, unlessStopped } from "./run_server.ts";
import type { StartWorker } from "./worker.ts";

/** Resolves when all of them serve. */
export async function startWorkers(
  context: ProgramContext,
  options: RoleOptions,
  count: number,
): Promise<StartedServer> {
  const { environment, signal, output } = context;
  await using started = new AsyncDisposableStack();
  started.use(await prepareWorkers(options, context));
  const role = { ...options, listen: await freePort(environment, options) };
  const { logLevel = "info", logFormat } = options.globals;
  const log = { level: logLevel, format: logFormat };
  const counters = new SharedCounters(count);
  const pool = new WorkerPool({
    clock: environment.clock,
    log: loggerOf(options.role),
    process: randomHex(environment.random, 8),
    count,
    startThread: (place, receive) =>
      startThread({ type: "start", place, counters: counters.buffer, role, log }, receive),
    onEnd: (index) => counters.setPort(index, 0),
    onLog: (role, line) => output?.write(role, line),
    // An mgs that probes would put the server into the map again that worker 0 has taken out.
    firstStopsLast: options.role === "mgs",
  });
  started.defer(() => pool.stop());
  const ready = await unlessStopped(Promise.race([pool.start(), pool.failed]), signal);
  return { ...running(ready, started), failed: pool.failed };
}

/**
 * The address, with a port where any will do. Workers share their port with whoever does so too, as
 * another server that is started by mistake: that it is free is found out by not sharing it once.
 */
async function freePort(
  { transport }: Environment,
  { listen }: RoleOptions,
): Promise<Address> {
  const listener = await transport.listen(listen);
  const { port } = listener.address;
  listener.close();
  return { host: listen.host, port };
}

function startThread(
  start: StartWorker,
  receive: (message: FromWorker) => void,
): WorkerThread {
  const { index, generation } = start.place;
  const name = `${start.role.role}-${index}.${generation}`;
  const worker = new Worker(import.meta.resolve("./worker.ts"), { type: "module", name });
  worker.onmessage = ({ data }) => receive(data);
  // What the worker could not say itself, as that its script cannot be loaded.
  worker.onerror = (event) => {
    event.preventDefault();
    receive({ type: "died", reason: event.message });
  };
  worker.postMessage(start);
  return {
    post: (message) => worker.postMessage(message),
    terminate: () => worker.terminate(),
  };
}
