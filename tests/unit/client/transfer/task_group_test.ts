import assert from "node:assert/strict";
import { TaskGroup } from "../../../../client/transfer/task_group.ts";
import { Semaphore } from "../../../../shared/semaphore.ts";

Deno.test("TaskGroup runs as many tasks at once as there are slots", async () => {
  const group = new TaskGroup(new Semaphore(2));
  const gates = [0, 1, 2].map(() => Promise.withResolvers<void>());
  const started: number[] = [];
  const task = (index: number) => () => {
    started.push(index);
    return gates[index]!.promise;
  };
  await group.start(task(0));
  await group.start(task(1));
  const third = group.start(task(2));
  await Promise.resolve();
  assert.deepEqual(started, [0, 1]);
  gates[1]!.resolve();
  await third;
  assert.deepEqual(started, [0, 1, 2]);
  gates[0]!.resolve();
  gates[2]!.resolve();
  await group.done();
});

Deno.test("TaskGroup gives the first error to done() and to the next start()", async () => {
  const slots = new Semaphore(1);
  const group = new TaskGroup(slots);
  await group.start(() => Promise.reject(new Error("first")));
  await assert.rejects(group.start(() => Promise.resolve()), /first/);
  await assert.rejects(group.done(), /first/);
  assert.equal(slots.inUse, 0);
});

Deno.test("TaskGroup.startOrRun() runs a task itself when no slot is free", async () => {
  const slots = new Semaphore(1);
  const group = new TaskGroup(slots);
  const order: string[] = [];
  await group.startOrRun(async () => {
    await group.startOrRun(() => {
      order.push("inner");
      return Promise.resolve();
    });
    order.push("outer");
  });
  await group.done();
  assert.deepEqual(order, ["inner", "outer"]);
});

Deno.test("TaskGroup's tasks have ended when it is disposed of", async () => {
  const gate = Promise.withResolvers<void>();
  let ended = false;
  const disposed = (async () => {
    await using group = new TaskGroup(new Semaphore(1));
    await group.start(async () => {
      await gate.promise;
      ended = true;
    });
  })();
  gate.resolve();
  await disposed;
  assert.equal(ended, true);
});

Deno.test("TaskGroup.start() rejects when the signal fires while it waits", async () => {
  const slots = new Semaphore(1);
  await slots.acquire();
  const stop = new AbortController();
  const waiting = new TaskGroup(slots, stop.signal).start(() => Promise.resolve());
  stop.abort(new Error("stop"));
  await assert.rejects(waiting, /stop/);
});
