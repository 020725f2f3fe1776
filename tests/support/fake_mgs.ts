// An mgs whose answers a test decides, on a network in memory, with what its caller needs.

import { RustreError } from "../../shared/errors.ts";
import type { Logger } from "../../shared/logging.ts";
import { loggerOf } from "../../shared/logging.ts";
import type { ClusterMap } from "../../shared/model.ts";
import { RpcClient } from "../../shared/rpc/client.ts";
import { mgsService } from "../../shared/protocol/mgs.ts";
import { type RpcServer, serve } from "../../shared/rpc/server.ts";
import type { Handlers } from "../../shared/rpc/service.ts";
import { MemoryNetwork } from "./memory_network.ts";
import { SeededRandom } from "./seeded_random.ts";
import { VirtualClock } from "./virtual_clock.ts";

export const clusterId = "c".repeat(32);

export function mapOf(epoch: number, mgsHosts: readonly string[] = ["mgs0"]): ClusterMap {
  const mgs = mgsHosts.map((host) => ({
    nodeId: "0".repeat(32),
    address: { host, port: 9400 },
    hostName: host,
    version: "1",
    state: "up" as const,
  }));
  return { clusterId, clusterName: "test", epoch, mgs, mds: [], targets: [] };
}

/** What a log got, as "level message". */
export class RecordedLog {
  readonly lines: string[] = [];
  readonly logger: Logger;

  constructor() {
    const record = (level: string) => (message: string) =>
      void this.lines.push(`${level} ${message}`);
    const methods = {
      debug: () => {},
      info: record("info"),
      warn: record("warn"),
      error: record("error"),
    };
    this.logger = methods as unknown as Logger;
  }
}

export class FakeWorld {
  readonly clock = new VirtualClock();
  readonly network = new MemoryNetwork();
  readonly log = new RecordedLog();
  readonly #random = new SeededRandom(1);
  readonly #open: AsyncDisposable[] = [];

  environment(host: string) {
    return { clock: this.clock, random: this.#random, transport: this.network.transport(host) };
  }

  rpc(): RpcClient {
    const rpc = new RpcClient({ environment: this.environment("node"), caller: "mds" });
    this.#open.push(rpc);
    return rpc;
  }

  /** Methods that are not given are refused. */
  async startMgs(
    handlers: Partial<Handlers<typeof mgsService>>,
    { host = "mgs0", id = clusterId } = {},
  ): Promise<RpcServer> {
    const environment = this.environment(host);
    const refuse = () => Promise.reject(new RustreError("EPERM", "Not in this test"));
    const server = serve({
      environment,
      listener: await environment.transport.listen({ host, port: 9400 }),
      service: mgsService,
      handlers: {
        probe: refuse,
        register: refuse,
        unregister: refuse,
        getMap: refuse,
        status: refuse,
        reaches: refuse,
        raiseEpoch: refuse,
        ...handlers,
      },
      identity: { role: "mgs", clusterId: id, clusterName: "test", nodeId: "0".repeat(32) },
      log: loggerOf("mgs"),
    });
    this.#open.push(server);
    return server;
  }

  /** Closed at the end of the test, the last one first. */
  use<T extends AsyncDisposable>(open: T): T {
    this.#open.push(open);
    return open;
  }

  sleep(delayMs: number): Promise<void> {
    return new Promise((resolve) => this.clock.setTimer(resolve, delayMs));
  }

  async run(test: () => Promise<void>): Promise<void> {
    await this.clock.run((async () => {
      try {
        await test();
      } finally {
        for (const each of this.#open.reverse()) await each[Symbol.asyncDispose]();
      }
    })());
  }
}
