import assert from "node:assert/strict";
import { SharedCounters } from "../../../shared/workers/shared_counters.ts";

const usage = (of: number) => ({
  capacityBytes: 1e15,
  freeBytes: 5e14 + of,
  usedBytes: 1e12 * of,
  objects: of,
  corruptBlocks: 10 * of,
  repairedBlocks: 100 * of,
});

Deno.test("SharedCounters adds up what workers have, and takes the file system's space from one", () => {
  const main = new SharedCounters(3);
  const workers = Array.from({ length: 3 }, () => new SharedCounters(3, main.buffer));
  workers.forEach((counters, index) => counters.setUsage(index, usage(index + 1)));
  workers[1]!.setUsage(1, usage(20));
  assert.deepEqual(workers[2]!.totalUsage(usage(3)), { ...usage(24), freeBytes: 5e14 + 3 });
});

Deno.test("SharedCounters shows the ports that workers and the main thread set", () => {
  const main = new SharedCounters(3);
  const worker = new SharedCounters(3, main.buffer);
  assert.deepEqual(worker.ports(), [0, 0, 0]);
  main.setPort(2, 65_535);
  worker.setPort(0, 1024);
  worker.setUsage(1, usage(7));
  assert.deepEqual(main.ports(), [1024, 0, 65_535]);
  main.setPort(0, 0);
  assert.deepEqual(worker.ports(), [0, 0, 65_535]);
});
