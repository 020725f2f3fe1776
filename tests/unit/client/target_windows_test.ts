import assert from "node:assert/strict";
import { setImmediate } from "node:timers";
import { TargetWindows } from "../../../client/target_windows.ts";
import { limits } from "../../../shared/limits.ts";

const { transferBytes, targetWindowBytes, targetWindowRequestBytes } = limits;
const fit = targetWindowBytes / transferBytes;

/** `count` items of a lane; each waits for its gate. */
function lane(targetIndex: number, count: number, lengthBytes = transferBytes) {
  const items = Array.from({ length: count }, (_, index) => {
    return { targetIndex, index, lengthBytes, gate: Promise.withResolvers<void>() };
  });
  return { targetIndex, items };
}

type Item = ReturnType<typeof lane>["items"][number];

/** A task that notes what has begun. */
function noting() {
  const begun: string[] = [];
  const task = ({ targetIndex, index, gate }: Item) => {
    begun.push(`${targetIndex}.${index}`);
    return gate.promise;
  };
  return { begun, task };
}

/** Everything that waits for nothing has happened. */
function turns(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

Deno.test("TargetWindows begins as much at each OST as it has room for, in order", async () => {
  const windows = new TargetWindows(targetWindowBytes);
  const [slow, fast] = [lane(1, 2 * fit), lane(2, 2 * fit)];
  const { begun, task } = noting();
  const running = windows.each([slow, fast], undefined, task);
  await turns();
  assert.equal(begun.length, 2 * fit);
  for (const { gate } of fast.items) gate.resolve();
  await turns();
  const ofFast = begun.filter((name) => name.startsWith("2."));
  assert.deepEqual(ofFast, fast.items.map(({ index }) => `2.${index}`), "the fast one goes on");
  assert.equal(begun.length, 3 * fit, "the slow one has what it had");
  assert.deepEqual([windows.inUseBytes(1), windows.inUseBytes(2)], [targetWindowBytes, 0]);
  for (const { gate } of slow.items) gate.resolve();
  await running;
  assert.equal(windows.inUseBytes(1), 0);
});

Deno.test("TargetWindows is shared by all who use an OST", async () => {
  const windows = new TargetWindows(targetWindowBytes);
  const [first, second] = [lane(1, fit), lane(1, 1)];
  const { begun, task } = noting();
  const running = [first, second].map((each) => windows.each([each], undefined, task));
  await turns();
  assert.equal(begun.length, fit);
  first.items[0]!.gate.resolve();
  await turns();
  assert.equal(begun.length, fit + 1);
  for (const { gate } of [...first.items, ...second.items]) gate.resolve();
  await Promise.all(running);
});

Deno.test("TargetWindows counts a small request as a part of the window", async () => {
  const windows = new TargetWindows(targetWindowBytes);
  const most = targetWindowBytes / targetWindowRequestBytes;
  const small = lane(1, 2 * most, 1);
  const { begun, task } = noting();
  const running = windows.each([small], undefined, task);
  await turns();
  assert.equal(begun.length, most);
  for (const { gate } of small.items) gate.resolve();
  await running;
});

Deno.test("TargetWindows begins nothing after a failure, waits for the rest, and frees all", async () => {
  const windows = new TargetWindows(targetWindowBytes);
  const [bad, other] = [lane(1, 2 * fit), lane(2, 2 * fit)];
  const { begun, task } = noting();
  let ended = false;
  const running = windows.each([bad, other], undefined, task).finally(() => ended = true);
  running.catch(() => {});
  await turns();
  bad.items[1]!.gate.reject(new Error("first"));
  bad.items[2]!.gate.reject(new Error("second"));
  await turns();
  assert.equal(ended, false, "tasks are under way");
  assert.equal(begun.length, 2 * fit);
  for (const { gate } of [...bad.items, ...other.items]) gate.resolve();
  await assert.rejects(running, /first/);
  assert.equal(begun.length, 2 * fit);
  assert.deepEqual([windows.inUseBytes(1), windows.inUseBytes(2)], [0, 0]);
});

Deno.test("TargetWindows begins nothing after the signal", async () => {
  const windows = new TargetWindows(targetWindowBytes);
  const stop = new AbortController();
  const waiting = lane(1, fit + 1);
  const { begun, task } = noting();
  const running = windows.each([waiting], stop.signal, task);
  running.catch(() => {});
  await turns();
  stop.abort();
  for (const { gate } of waiting.items) gate.resolve();
  await assert.rejects(running, { code: "INTERRUPTED" });
  assert.equal(begun.length, fit);
  assert.equal(windows.inUseBytes(1), 0);
  await assert.rejects(windows.each([lane(1, 1)], stop.signal, task), { code: "INTERRUPTED" });
  assert.equal(begun.length, fit);
  await windows.each([], stop.signal, task);
});

Deno.test("TargetWindows begins no more at all OSTs than it has room for, and no OST takes all", async () => {
  const windows = new TargetWindows(targetWindowBytes, 2 * targetWindowBytes);
  const [hangs, ...others] = [1, 2, 3].map((targetIndex) => lane(targetIndex, 2 * fit));
  const { begun, task } = noting();
  const running = windows.each([hangs!, ...others], undefined, task);
  await turns();
  assert.equal(begun.length, 2 * fit);
  for (const { gate } of others.flatMap(({ items }) => items)) gate.resolve();
  await turns();
  const ofOthers = begun.filter((name) => !name.startsWith("1."));
  assert.equal(ofOthers.length, 4 * fit, "the others are done");
  assert.equal(begun.length, 5 * fit, "the one that hangs has its window");
  for (const { gate } of hangs!.items) gate.resolve();
  await running;
  assert.equal(begun.length, 6 * fit);
  assert.deepEqual([1, 2, 3].map((targetIndex) => windows.inUseBytes(targetIndex)), [0, 0, 0]);
});

Deno.test("TargetWindows frees what waited for room among all OSTs when it fails", async () => {
  const windows = new TargetWindows(targetWindowBytes, targetWindowBytes);
  const [first, second] = [lane(1, 2 * fit), lane(2, fit)];
  const { begun, task } = noting();
  const running = windows.each([first, second], undefined, task);
  running.catch(() => {});
  await turns();
  assert.equal(begun.length, fit);
  first.items[0]!.gate.reject(new Error("first"));
  for (const { gate } of [...first.items, ...second.items]) gate.resolve();
  await assert.rejects(running, /first/);
  assert.deepEqual([windows.inUseBytes(1), windows.inUseBytes(2)], [0, 0]);
  const again = [lane(1, fit), lane(2, fit)];
  for (const { gate } of again.flatMap(({ items }) => items)) gate.resolve();
  await windows.each(again, undefined, task);
});
