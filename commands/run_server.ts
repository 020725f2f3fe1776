// The life of a server process: start, say that it is ready, serve until a signal, stop.

import type { Address, Environment } from "../shared/environment.ts";
import { type Advertise, advertiser } from "../shared/advertise.ts";
import type { Globals } from "../shared/command_line.ts";
import { fired, withDeadline } from "../shared/deadline.ts";
import { isRustreError, RustreError } from "../shared/errors.ts";
import { limits } from "../shared/limits.ts";
import { loggerOf } from "../shared/logging.ts";
import { externalAddresses, localAddressTowards, systemHostName } from "../shared/platform.ts";
import { version } from "../shared/version.ts";
import { asUsageError } from "./configuration_errors.ts";
import type { ProgramContext } from "./context.ts";
import { notifyServiceManager } from "./service_manager.ts";

export interface HostAndPort {
  readonly host: string;
  readonly port: number | undefined;
}

/** What all servers are started with. */
export interface CommonOptions {
  readonly environment: Environment;
  readonly clusterName: string;
  readonly mgs: readonly Address[];
  readonly advertise: Advertise;
  readonly hostName: string;
  readonly version: string;
  readonly signal: AbortSignal;
}

export function commonOptions(
  context: Pick<ProgramContext, "environment" | "signal">,
  globals: Globals,
  advertised: HostAndPort | undefined,
): CommonOptions {
  const { environment, signal } = context;
  const towards = (address: Address) =>
    withDeadline(
      environment.clock,
      limits.connectTimeoutMs,
      (deadline) => localAddressTowards(address, deadline),
      signal,
    );
  return {
    environment,
    clusterName: globals.clusterName,
    mgs: globals.mgs,
    advertise: advertiser(advertised, { towards, external: externalAddresses }),
    hostName: systemHostName(),
    version,
    signal,
  };
}

export interface StartedServer {
  /** Behind the word "ready". */
  readonly ready: string;
  /** Rejects where the server cannot go on; never resolves. */
  readonly failed?: Promise<never>;
  close(): Promise<void>;
}

/** Starts, serves until the signal fires, and stops. A signal during the start is a clean stop. */
export async function runServer(
  context: ProgramContext,
  start: () => Promise<StartedServer>,
): Promise<void> {
  using _ = reopenLogs(context);
  let server: StartedServer;
  try {
    await notifyServiceManager("STATUS=Starting; it waits for an mgs however long that takes");
    server = await start();
  } catch (error) {
    if (context.signal.aborted) return;
    throw asUsageError(error);
  }
  try {
    await Promise.race([sayReady(context, server.ready), server.failed ?? never]);
  } finally {
    await stop(context, server);
  }
}

const never = new Promise<never>(() => {});

/** SIGHUP: whoever rotates the logs has moved them. */
function reopenLogs({ output }: ProgramContext): Disposable {
  if (Deno.build.os === "windows") return { [Symbol.dispose]: () => {} };
  const reopen = () => output?.reopen();
  Deno.addSignalListener("SIGHUP", reopen);
  return { [Symbol.dispose]: () => Deno.removeSignalListener("SIGHUP", reopen) };
}

/** Resolves when the signal fires; rejects where whoever waits for the line never gets it. */
async function sayReady({ output, signal }: ProgramContext, ready: string): Promise<void> {
  const stopped = fired(signal);
  // Nobody may be reading yet, and a signal must end the server even then.
  await Promise.race([output?.print(`ready ${ready}`), stopped]);
  if (!signal.aborted) await notifyServiceManager(`READY=1\nSTATUS=Serving ${ready}`);
  await stopped;
}

/** Takes limits.stopMs at most: what is not done by then ends with the process. */
async function stop(context: ProgramContext, server: StartedServer): Promise<void> {
  const { environment, setExitCode } = context;
  await notifyServiceManager("STOPPING=1\nSTATUS=Stopping");
  const late = Promise.withResolvers<never>();
  const cancel = environment.clock.setTimer(() => {
    late.reject(new RustreError("TIMED_OUT", `not done within ${limits.stopMs} ms`));
  }, limits.stopMs);
  try {
    await Promise.race([server.close(), late.promise]);
  } catch (error) {
    if (!isRustreError(error)) throw error;
    loggerOf("process").error("Cannot stop in good order", { reason: error.message });
    setExitCode(1);
  } finally {
    cancel();
  }
}

/** `promise`, unless the process is told to stop first. */
export function unlessStopped<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  const stopped = fired(signal).then(() => {
    throw new RustreError("INTERRUPTED", "Interrupted");
  });
  return Promise.race([promise, stopped]);
}
