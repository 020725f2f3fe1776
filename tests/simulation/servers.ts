// Starts the servers of a simulated cluster, each with what its process gives it.

import { startMds } from "../../mds/start.ts";
import { startMgs } from "../../mgs/start.ts";
import type { TargetStorage } from "../../oss/object_store.ts";
import { startOss } from "../../oss/start.ts";
import { assert } from "../../shared/assert.ts";
import type { Environment } from "../../shared/environment.ts";
import { loggerOf } from "../../shared/logging.ts";
import type { Store } from "../../shared/store/store.ts";

export interface Server {
  close(): Promise<void>;
}

export const mgsHosts = ["mgs0", "mgs1"] as const;
const ports = { mgs: 9400, mds: 9500, oss: 9600 };
export const mgsAddresses = mgsHosts.map((host) => ({ host, port: ports.mgs }));

/** `name`: its role and number, which is also that of its host. */
export async function startServer(
  name: string,
  environment: Environment,
  { store, storage }: { store: Store; storage: TargetStorage | undefined },
): Promise<Server> {
  const role = name.slice(0, 3) as keyof typeof ports;
  const common = {
    environment,
    listen: { host: name, port: ports[role] },
    advertise: (listening: { host: string; port: number }) => Promise.resolve(listening),
    nodeId: nodeIdOf(name),
    hostName: name,
    version: "simulated",
    log: loggerOf(role),
  };
  const clusterName = "test";
  if (role === "mgs") return await startMgs({ ...common, store, clusterName });
  if (role === "mds") {
    const rootOwner = { uid: 0, gid: 0 };
    return await startMds({ ...common, store, clusterName, mgs: mgsAddresses, rootOwner });
  }
  assert(storage, "an oss has a disk");
  const targetIndex = targetIndexOf(name);
  return await startOss({ ...common, mgs: mgsAddresses, storage, targetIndex });
}

export function targetIndexOf(name: string): number {
  return Number(name.slice(3));
}

function nodeIdOf(name: string): string {
  return Array.from(new TextEncoder().encode(name), (byte) => byte.toString(16)).join("")
    .padEnd(32, "0");
}
