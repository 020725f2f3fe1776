import assert from "node:assert/strict";
import { DurableDirectory, SharedSync } from "../../../oss/shared_sync.ts";

/** A sync whose runs end when the test says so. */
class ManualSync {
  readonly runs: PromiseWithResolvers<void>[] = [];
  readonly run = (): Promise<void> => {
    const run = Promise.withResolvers<void>();
    this.runs.push(run);
    return run.promise;
  };

  async end(index: number, error?: Error): Promise<void> {
    if (error) this.runs[index]!.reject(error);
    else this.runs[index]!.resolve();
    await turns();
  }
}

async function turns(): Promise<void> {
  for (let step = 0; step < 10; step++) await Promise.resolve();
}

Deno.test("SharedSync.request() has one run for all who ask at the same time", async () => {
  const manual = new ManualSync();
  const sync = new SharedSync(manual.run);
  // As requests that arrive together: each gets there on its own.
  const requests = Array.from({ length: 5 }, async () => {
    await undefined;
    await sync.request();
  });
  await turns();
  assert.equal(manual.runs.length, 1);
  await manual.end(0);
  await Promise.all(requests);
  assert.equal(manual.runs.length, 1);
});

Deno.test("SharedSync.request() shares the next run while one is under way", async () => {
  const manual = new ManualSync();
  const sync = new SharedSync(manual.run);
  const first = sync.request();
  await turns();
  const shared = [sync.request(), sync.request(), sync.request()];
  let ended = 0;
  for (const each of shared) each.then(() => ended++);
  assert.equal(manual.runs.length, 1);
  await manual.end(0);
  await first;
  assert.equal(manual.runs.length, 2);
  assert.equal(ended, 0, "a request must not be answered by a run that began before it");
  const third = sync.request();
  await turns();
  await manual.end(1);
  await Promise.all(shared);
  assert.equal(manual.runs.length, 3);
  await manual.end(2);
  await third;
});

Deno.test("SharedSync.request() fails for good after a failure", async () => {
  const manual = new ManualSync();
  const sync = new SharedSync(manual.run);
  const first = sync.request();
  await turns();
  const second = sync.request();
  const outcomes = Promise.allSettled([first, second]);
  await manual.end(0, new Error("EIO"));
  for (const outcome of await outcomes) assert.equal(outcome.status, "rejected");
  await assert.rejects(sync.request(), /EIO/);
  assert.equal(manual.runs.length, 1, "a later run could succeed although bytes are lost");
});

Deno.test("SharedSync.pause() keeps a run and what it waits for apart", async () => {
  const manual = new ManualSync();
  const sync = new SharedSync(manual.run);
  const first = sync.request();
  await turns();
  const other = Promise.withResolvers<void>();
  let isPaused = false;
  const paused = sync.pause(other.promise).then(() => isPaused = true);
  await turns();
  assert.equal(isPaused, false, "a run is under way");
  const second = sync.request();
  await manual.end(0);
  await Promise.all([first, paused]);
  assert.equal(manual.runs.length, 1);
  other.resolve();
  await turns();
  assert.equal(manual.runs.length, 2);
  await manual.end(1);
  await second;
  // What fails meanwhile fails those who wait.
  const failing = Promise.withResolvers<void>();
  await sync.pause(failing.promise);
  const third = assert.rejects(sync.request(), /gone/);
  await turns();
  sync.fail(new Error("gone"));
  failing.resolve();
  await third;
  assert.equal(manual.runs.length, 2);
});

Deno.test("DurableDirectory.makeDurable() syncs a directory of which nothing is known", async () => {
  let syncs = 0;
  const directory = new DurableDirectory(() => Promise.resolve(void syncs++));
  await directory.makeDurable();
  assert.equal(syncs, 1);
  await directory.makeDurable();
  assert.equal(syncs, 1, "nothing changed");
  directory.changed();
  await directory.makeDurable();
  assert.equal(syncs, 2);
});

Deno.test("DurableDirectory.makeDurable() syncs again for a change during a sync", async () => {
  const manual = new ManualSync();
  const directory = new DurableDirectory(manual.run);
  const first = directory.makeDurable();
  await turns();
  directory.changed();
  const second = directory.makeDurable();
  await manual.end(0);
  await first;
  assert.equal(manual.runs.length, 2);
  const third = directory.makeDurable();
  await manual.end(1);
  await second;
  // The change came before the second run began; the third request still waits for its own.
  await manual.end(2);
  await third;
  await directory.makeDurable();
  assert.equal(manual.runs.length, 3);
});
