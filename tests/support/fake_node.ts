// A node that answers probes and nothing else, under whatever name a test gives it.

import type { Address, Environment } from "../../shared/environment.ts";
import { RustreError } from "../../shared/errors.ts";
import { loggerOf } from "../../shared/logging.ts";
import { mdsService } from "../../shared/protocol/mds.ts";
import type { Registration } from "../../shared/protocol/mgs.ts";
import { type RpcServer, serve } from "../../shared/rpc/server.ts";
import type { Handlers } from "../../shared/rpc/service.ts";

export interface FakeNode extends AsyncDisposable {
  readonly registration: Registration;
  /** Probes answered so far. */
  probes: number;
}

/** An mds that says to a probe that it is `answersAs`, by default what it is. */
export async function startFakeMds(
  environment: Environment,
  clusterId: string,
  options: { listen: Address; nodeId: string; answersAs?: string },
): Promise<FakeNode> {
  const { nodeId, answersAs = nodeId } = options;
  const listener = await environment.transport.listen(options.listen);
  const refuse = () => Promise.reject(new RustreError("EPERM", "Only probes are answered here"));
  const handlers = Object.fromEntries(
    Object.keys(mdsService.methods).map((name) => [name, refuse]),
  ) as unknown as Handlers<typeof mdsService>;
  const identity = { role: "mds", clusterId, clusterName: "test", nodeId } as const;
  const log = loggerOf("mds");
  const server: RpcServer = serve({
    environment,
    listener,
    service: mdsService,
    handlers: {
      ...handlers,
      probe: () => {
        node.probes++;
        return Promise.resolve({ nodeId: answersAs });
      },
    },
    identity,
    log,
  });
  const node: FakeNode = {
    registration: {
      role: "mds",
      nodeId,
      address: listener.address,
      hostName: options.listen.host,
      version: "1",
    },
    probes: 0,
    [Symbol.asyncDispose]: () => server.close(),
  };
  return node;
}
