// What an oss does where it is one of several workers.

import assert from "node:assert/strict";
import { OssWorker } from "../../../oss/worker.ts";
import type { Connection, Transport } from "../../../shared/environment.ts";
import { objectId } from "../../../shared/layout.ts";
import { limits } from "../../../shared/limits.ts";
import type { ossService } from "../../../shared/protocol/oss.ts";
import type { Handlers } from "../../../shared/rpc/service.ts";
import { noUsage } from "../../../shared/usage.ts";
import { fails, inVirtualTime } from "../../support/rpc.ts";
import { WorkerHub } from "../../support/worker_hub.ts";

const shared = { host: "127.0.0.1", port: 9402 };
const { signal } = new AbortController();

function workersOf(transport: Transport, count: number): { hub: WorkerHub; workers: OssWorker[] } {
  const hub = new WorkerHub(count);
  const workers = Array.from({ length: count }, (_, index) => index)
    .map((index) => new OssWorker(transport, hub.worker(index)));
  return { hub, workers };
}

/** Connects, and gives what the listener accepted. */
async function accepted(
  transport: Transport,
  port: number,
  accept: () => Promise<Connection | null>,
): Promise<Connection | null> {
  const [connection] = await Promise.all([
    accept(),
    transport.connect({ host: shared.host, port }, { signal }),
  ]);
  return connection;
}

Deno.test("a worker accepts on the shared port and on its own, and from both at once", async () => {
  await inVirtualTime(async ({ clock, transport }) => {
    const { hub, workers: [worker] } = workersOf(transport, 1);
    const listener = await worker!.listen(shared);
    assert.deepEqual(listener.address, shared);
    assert.deepEqual(hub.counters.ports(), [0], "not before it serves");
    worker!.start(clock, () => noUsage);
    const [own = 0] = hub.counters.ports();
    assert.notEqual(own, 0);
    const accept = () => listener.accept();
    for (const port of [own, shared.port, shared.port, own]) {
      assert(await accepted(transport, port, accept));
    }
    const both = [own, shared.port].map((port) =>
      transport.connect({ host: shared.host, port }, { signal })
    );
    await Promise.all(both);
    assert(await listener.accept());
    assert(await listener.accept());
    await worker![Symbol.asyncDispose]();
    listener.close();
  });
});

Deno.test("a worker that stops listening ends its accept, and drops what nobody took", async () => {
  await inVirtualTime(async ({ clock, transport }) => {
    const { hub, workers: [worker] } = workersOf(transport, 1);
    const listener = await worker!.listen(shared);
    worker!.start(clock, () => noUsage);
    const waiting = listener.accept();
    await transport.connect(shared, { signal });
    assert(await waiting);
    // One on each, of which the next accept takes the first.
    const late = await Promise.all(
      [shared.port, hub.counters.ports()[0]!].map((port) =>
        transport.connect({ host: shared.host, port }, { signal })
      ),
    );
    assert(await listener.accept());
    listener.close();
    const ends = await Promise.race(late.map((each) => each.read(new Uint8Array(1))));
    assert.equal(ends, null);
    await worker![Symbol.asyncDispose]();
  });
});

Deno.test("a worker refuses objects of others before anything is done, and has its own", async () => {
  await inVirtualTime(async ({ transport }) => {
    const { workers } = workersOf(transport, 3);
    const done: unknown[] = [];
    const handle = (request: unknown) => {
      done.push(request);
      return Promise.resolve({});
    };
    const names = ["probe", "statObject", "syncObjects", "destroyInodes", "scrubObjects"];
    const all = Object.fromEntries(names.map((name) => [name, handle]));
    const guarded = workers[1]!.guard(all as unknown as Handlers<typeof ossService>);
    const handlers = guarded as unknown as Record<string, (request: unknown) => Promise<unknown>>;
    const own = [
      ["probe", {}],
      ["scrubObjects", { bytesMax: 1 }],
      ["statObject", { object: objectId(4, 9) }],
      ["syncObjects", { objects: [objectId(4, 0), objectId(7, 3)] }],
      ["syncObjects", { objects: [] }],
      ["destroyInodes", { inodes: [1, 4, 7] }],
    ] as const;
    for (const [name, request] of own) await handlers[name]!(request);
    assert.deepEqual(done, own.map(([, request]) => request));
    const foreign = [
      ["statObject", { object: objectId(5, 4) }],
      ["syncObjects", { objects: [objectId(4, 0), objectId(6, 0)] }],
      ["destroyInodes", { inodes: [1, 2, 4] }],
    ] as const;
    for (const [name, request] of foreign) {
      await assert.rejects(handlers[name]!(request), fails("WRONG_WORKER", new RegExp(name)));
    }
    assert.equal(done.length, own.length);
  });
});

Deno.test("a worker tells the usage of all, of which its own is of now", async () => {
  await inVirtualTime(async ({ clock, transport }) => {
    const { workers } = workersOf(transport, 2);
    const used = [10, 200];
    const usageOf = (index: number) => ({ ...noUsage, usedBytes: used[index]!, freeBytes: 7 });
    const listeners = await Promise.all(workers.map((worker) => worker.listen(shared)));
    for (const [index, worker] of workers.entries()) worker.start(clock, () => usageOf(index));
    assert.equal(workers[0]!.totalUsage(usageOf(0)).usedBytes, 210);
    used[0] = 11;
    used[1] = 300;
    assert.equal(workers[0]!.totalUsage(usageOf(0)).usedBytes, 211);
    await new Promise<void>((resolve) => void clock.setTimer(resolve, 2 * limits.probeIntervalMs));
    assert.deepEqual(workers[0]!.totalUsage(usageOf(0)), { ...usageOf(0), usedBytes: 311 });
    for (const worker of workers) await worker[Symbol.asyncDispose]();
    for (const listener of listeners) listener.close();
  });
});
