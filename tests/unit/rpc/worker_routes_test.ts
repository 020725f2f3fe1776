// Calls to an oss of several workers: each goes to the one that has the object, also after workers
// were replaced.

import assert from "node:assert/strict";
import { OssWorker } from "../../../oss/worker.ts";
import type { Environment } from "../../../shared/environment.ts";
import { RustreError } from "../../../shared/errors.ts";
import { objectId } from "../../../shared/layout.ts";
import { limits } from "../../../shared/limits.ts";
import { loggerOf } from "../../../shared/logging.ts";
import { type Endpoint, RpcClient } from "../../../shared/rpc/client.ts";
import { ossService } from "../../../shared/protocol/oss.ts";
import { type RpcServer, serve } from "../../../shared/rpc/server.ts";
import type { Handlers } from "../../../shared/rpc/service.ts";
import { inodesOf, workerOf } from "../../../shared/rpc/worker_routes.ts";
import { noUsage } from "../../../shared/usage.ts";
import { clusterId, fails, inVirtualTime } from "../../support/rpc.ts";
import { WorkerHub } from "../../support/worker_hub.ts";
import { ossExamples } from "./examples.ts";

const listen = { host: "127.0.0.1", port: 9402 };
const endpoint: Endpoint = { address: listen, role: "oss", targetIndex: 3 };

/** An oss whose objects all have as many bytes as their worker's index says. */
class FakeOss implements AsyncDisposable {
  readonly environment: Environment;
  readonly rpc: RpcClient;
  /** Of calls that a worker carried out: which, and of which inode. */
  readonly served: [worker: number, ino: number][] = [];
  hub!: WorkerHub;
  readonly #running: { worker: OssWorker; server: RpcServer }[] = [];

  private constructor(environment: Environment) {
    this.environment = environment;
    this.rpc = new RpcClient({ environment, caller: "client" });
  }

  static async start(environment: Environment, workers: number): Promise<FakeOss> {
    const oss = new FakeOss(environment);
    await oss.startAll(workers);
    return oss;
  }

  async startAll(workers: number): Promise<void> {
    this.hub = new WorkerHub(workers);
    for (let index = 0; index < workers; index++) await this.startWorker(index);
  }

  async startWorker(index: number): Promise<void> {
    const { environment } = this;
    const worker = new OssWorker(environment.transport, this.hub.worker(index));
    const listener = await worker.listen(listen);
    const identity = { role: "oss", clusterId, clusterName: "test", targetIndex: 3 } as const;
    const server = serve({
      environment,
      listener,
      service: ossService,
      handlers: worker.guard(this.#handlersOf(index)),
      identity: { ...identity, nodeId: "a".repeat(32), workerPorts: worker.ports },
      log: loggerOf("oss"),
    });
    worker.start(environment.clock, () => noUsage);
    this.#running[index] = { worker, server };
  }

  #handlersOf(index: number): Handlers<typeof ossService> {
    const refuse = () => Promise.reject(new RustreError("EPERM", "Not here"));
    const none = Object.keys(ossService.methods).map((name) => [name, refuse]);
    const handlers = Object.fromEntries(none) as unknown as Handlers<typeof ossService>;
    return {
      ...handlers,
      statObject: ({ object }) => {
        this.served.push([index, inodesOf({ object })[0]!]);
        return Promise.resolve({ lengthBytes: index });
      },
      scrubObjects: () => Promise.resolve({ objects: index, bytes: 0, damaged: [] }),
    };
  }

  async endWorker(index: number): Promise<void> {
    const running = this.#running[index];
    if (!running) return;
    await running.server.close();
    await running.worker[Symbol.asyncDispose]();
  }

  async endAll(): Promise<void> {
    for (const index of this.#running.keys()) await this.endWorker(index);
  }

  async stat(ino: number): Promise<number> {
    const request = { object: objectId(ino, 0) };
    const { lengthBytes } = await this.rpc.call(endpoint, ossService, "statObject", request);
    return lengthBytes;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.rpc.close();
    await this.endAll();
  }
}

async function withOss(workers: number, test: (oss: FakeOss) => Promise<void>): Promise<void> {
  await inVirtualTime(async (environment) => {
    await using oss = await FakeOss.start(environment, workers);
    await test(oss);
  });
}

const manyInodes = Array.from({ length: 50 }, (_, index) => 1 + index * 7919);

Deno.test("each call goes to the worker that has the inode, at the first try", async () => {
  for (const workers of [1, 2, 3, 5]) {
    await withOss(workers, async (oss) => {
      const answers = await Promise.all(manyInodes.map((ino) => oss.stat(ino)));
      assert.deepEqual(answers, manyInodes.map((ino) => workerOf(ino, workers)));
      assert.equal(oss.served.length, manyInodes.length);
      const connections = 1 + workers * limits.connectionsPerServerMax;
      assert(oss.rpc.connectionCount <= connections, `${oss.rpc.connectionCount} connections`);
    });
  }
});

Deno.test("an oss that names no workers is called at its own port", async () => {
  await inVirtualTime(async (environment) => {
    const listener = await environment.transport.listen(listen);
    const refuse = () => Promise.reject(new RustreError("EPERM", "Not here"));
    const none = Object.keys(ossService.methods).map((name) => [name, refuse]);
    await using _server = serve({
      environment,
      listener,
      service: ossService,
      handlers: Object.fromEntries(none) as unknown as Handlers<typeof ossService>,
      identity: {
        role: "oss",
        clusterId,
        clusterName: "test",
        targetIndex: 3,
        nodeId: "a".repeat(32),
      },
      log: loggerOf("oss"),
    });
    await using rpc = new RpcClient({ environment, caller: "client" });
    const request = { object: objectId(5, 0) };
    await assert.rejects(rpc.call(endpoint, ossService, "statObject", request), fails("EPERM"));
    assert.equal(await rpc.workerCount(endpoint), 1);
    assert.equal(rpc.connectionCount, 1);
  });
});

Deno.test("a worker that was replaced is found at its new port by the next call", async () => {
  await withOss(3, async (oss) => {
    for (const ino of [3, 4, 5]) await oss.stat(ino);
    await oss.endWorker(1);
    await oss.startWorker(1);
    assert.deepEqual(await Promise.all([3, 4, 5, 7].map((ino) => oss.stat(ino))), [0, 1, 2, 1]);
  });
});

Deno.test("calls to a worker that is being replaced are UNREACHABLE until it is there", async () => {
  await withOss(3, async (oss) => {
    assert.equal(await oss.stat(4), 1);
    await oss.endWorker(1);
    oss.hub.counters.setPort(1, 0);
    await assert.rejects(oss.stat(4), fails("UNREACHABLE"));
    await assert.rejects(oss.stat(4), fails("UNREACHABLE", /worker 1 .* is starting/));
    assert.equal(await oss.stat(3), 0);
    await oss.startWorker(1);
    assert.equal(await oss.stat(4), 1);
  });
});

Deno.test("after a restart with another number of workers calls find the right ones", async () => {
  await withOss(3, async (oss) => {
    await Promise.all(manyInodes.map((ino) => oss.stat(ino)));
    for (const workers of [2, 5, 3]) {
      await oss.endAll();
      await oss.startAll(workers);
      const answers = await Promise.all(manyInodes.map((ino) => oss.stat(ino)));
      assert.deepEqual(answers, manyInodes.map((ino) => workerOf(ino, workers)));
    }
  });
});

Deno.test("a call that reaches the wrong worker is refused there and done by the right one", async () => {
  await withOss(2, async (oss) => {
    // The hello names the ports in the wrong order, as one from before a restart would.
    const [first = 0, second = 0] = oss.hub.counters.ports();
    oss.hub.counters.setPort(0, second);
    oss.hub.counters.setPort(1, first);
    await assert.rejects(
      oss.stat(4),
      fails("WRONG_WORKER", /inode 4: its objects are with worker 0 of 2, this is worker 1/),
    );
    assert.deepEqual(oss.served, []);
    oss.hub.counters.setPort(0, first);
    oss.hub.counters.setPort(1, second);
    assert.equal(await oss.stat(4), 0);
    assert.deepEqual(oss.served, [[0, 4]]);
  });
});

Deno.test("what concerns all objects is asked of each worker", async () => {
  await withOss(3, async (oss) => {
    const workers = await oss.rpc.workerCount(endpoint);
    assert.equal(workers, 3);
    const answers: number[] = [];
    for (let worker = 0; worker < workers; worker++) {
      const request = { bytesMax: 1 };
      const reply = await oss.rpc.call(endpoint, ossService, "scrubObjects", request, { worker });
      answers.push(reply.objects);
    }
    assert.deepEqual(answers, [0, 1, 2]);
  });
});

Deno.test("a client that is closed opens no connection for a call that was waiting", async () => {
  await withOss(2, async (oss) => {
    const refused = assert.rejects(oss.stat(4), fails("SHUTTING_DOWN"));
    await oss.rpc.close();
    await refused;
    assert.equal(oss.rpc.connectionCount, 0);
    await assert.rejects(oss.rpc.workerCount(endpoint), fails("SHUTTING_DOWN"));
  });
});

Deno.test("inodesOf() finds the inodes in every request to an oss that names objects", () => {
  const withoutObjects = ["probe", "scrubObjects", "listObjects"];
  let checked = 0;
  for (const [name, example] of Object.entries(ossExamples)) {
    assert.equal(inodesOf(example.request).length > 0, !withoutObjects.includes(name), name);
    checked++;
  }
  assert.equal(checked, Object.keys(ossService.methods).length);
  assert.deepEqual(inodesOf({ object: objectId(2 ** 52 + 1, 7) }), [2 ** 52 + 1]);
  assert.deepEqual(inodesOf({ objects: [objectId(5, 0), objectId(8, 1)] }), [5, 8]);
  assert.deepEqual(inodesOf({ inodes: [1, 2] }), [1, 2]);
});
