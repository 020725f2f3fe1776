// Workers that start, die, are replaced and stop, on threads that are none and a clock that jumps.

import assert from "node:assert/strict";
import { limits } from "../../../shared/limits.ts";
import { loggerOf } from "../../../shared/logging.ts";
import type { WorkerPlace } from "../../../shared/workers/peers.ts";
import {
  type FromWorker,
  type ToWorker,
  WorkerPool,
  type WorkerPoolOptions,
} from "../../../shared/workers/worker_pool.ts";
import { fails } from "../../support/rpc.ts";
import { VirtualClock } from "../../support/virtual_clock.ts";

/** A thread that says what a test makes it say. */
class FakeThread {
  readonly place: WorkerPlace;
  readonly startedMs: number;
  readonly told: ToWorker[] = [];
  readonly say: (message: FromWorker) => void;
  terminated = false;
  onStop = () => this.say({ type: "stopped" });

  constructor(place: WorkerPlace, startedMs: number, say: (message: FromWorker) => void) {
    this.place = place;
    this.startedMs = startedMs;
    this.say = say;
  }

  post(message: ToWorker): void {
    this.told.push(message);
    if (message.type === "stop") queueMicrotask(this.onStop);
  }

  terminate(): void {
    this.terminated = true;
  }

  ready(): void {
    this.say({ type: "ready", ready: `worker ${this.place.index}` });
  }

  die(): void {
    this.say({ type: "died", reason: "a bug" });
  }
}

interface Fixture {
  readonly clock: VirtualClock;
  readonly pool: WorkerPool;
  /** All that were ever started. */
  readonly threads: FakeThread[];
  readonly lines: string[];
  readonly ended: number[];
  /** The newest of a place. */
  thread(index: number): FakeThread;
  pass(delayMs: number): Promise<void>;
}

async function withPool(
  count: number,
  test: (fixture: Fixture) => Promise<void>,
  options: Partial<WorkerPoolOptions> = {},
): Promise<void> {
  const clock = new VirtualClock();
  const threads: FakeThread[] = [];
  const lines: string[] = [];
  const ended: number[] = [];
  const pool = new WorkerPool({
    clock,
    log: loggerOf("oss"),
    process: "p1",
    count,
    startThread: (place, receive) => {
      const thread = new FakeThread(place, clock.monotonicMs(), receive);
      threads.push(thread);
      return thread;
    },
    onEnd: (index) => ended.push(index),
    onLog: (role, line) => lines.push(`${role}: ${line}`),
    firstStopsLast: false,
    ...options,
  });
  const thread = (index: number) => threads.findLast(({ place }) => place.index === index)!;
  const pass = (delayMs: number) =>
    new Promise<void>((resolve) => void clock.setTimer(resolve, delayMs));
  await clock.run(test({ clock, pool, threads, lines, ended, thread, pass }));
}

async function started({ pool, threads }: Fixture): Promise<string> {
  const starting = pool.start();
  for (const thread of threads) thread.ready();
  return await starting;
}

Deno.test("WorkerPool says what worker 0 says, when all serve", async () => {
  await withPool(3, async (fixture) => {
    const { pool, thread, pass } = fixture;
    let ready: string | undefined;
    const starting = pool.start().then((text) => ready = text);
    thread(0).ready();
    thread(2).ready();
    await pass(1_000);
    assert.equal(ready, undefined);
    thread(1).ready();
    await starting;
    assert.equal(ready, "worker 0");
    await pool.stop();
  });
});

Deno.test("WorkerPool fails to start with the error of a worker, or with its bug", async () => {
  await withPool(2, async ({ pool, thread, threads, pass }) => {
    const starting = pool.start();
    thread(0).ready();
    thread(1).say({ type: "failed", code: "ENOENT", reason: "Cannot open it" });
    await assert.rejects(starting, fails("ENOENT", /Cannot open it/));
    await pass(10_000);
    assert.equal(threads.length, 2, "nothing is tried again");
    await pool.stop();
    assert(thread(0).terminated && thread(1).terminated);
  });
  await withPool(2, async ({ pool, thread }) => {
    const starting = pool.start();
    thread(0).die();
    await assert.rejects(starting, /A worker died at its start: a bug/);
    await pool.stop();
  });
});

Deno.test("WorkerPool gives a dead worker a successor of the next generation at once", async () => {
  await withPool(3, async (fixture) => {
    const { clock, pool, threads, thread, ended, pass } = fixture;
    await started(fixture);
    await pass(limits.workerSteadyMs);
    const victim = thread(1);
    victim.die();
    assert(victim.terminated, "what it has open must be closed");
    assert.deepEqual(ended, [1]);
    await pass(1);
    assert.equal(threads.length, 4);
    assert.deepEqual(thread(1).place, { process: "p1", index: 1, count: 3, generation: 2 });
    assert(clock.monotonicMs() - thread(1).startedMs <= 1);
    thread(1).ready();
    await pool.stop();
  });
});

Deno.test("WorkerPool ignores what a thread says that has been replaced", async () => {
  await withPool(2, async (fixture) => {
    const { pool, threads, thread, lines, pass } = fixture;
    await started(fixture);
    const victim = thread(1);
    victim.die();
    await pass(1);
    thread(1).ready();
    victim.die();
    victim.say({ type: "log", role: "oss", line: "from the grave" });
    await pass(10_000);
    assert.equal(threads.length, 3);
    assert.deepEqual(lines, []);
    await pool.stop();
  });
});

Deno.test("WorkerPool waits longer after each death in a row, and then gives up", async () => {
  await withPool(2, async (fixture) => {
    const { pool, threads, thread, pass } = fixture;
    await started(fixture);
    let failure: unknown;
    pool.failed.catch((error) => failure = error);
    const startsMs: number[] = [];
    while (failure === undefined) {
      startsMs.push(thread(1).startedMs);
      thread(1).die();
      await pass(limits.workerRestartMaxMs);
    }
    assert.equal(startsMs.length, limits.workerDeathsMax);
    assert.equal(threads.length, 2 + limits.workerDeathsMax - 1);
    fails("INTERNAL", /worker 1 died 8 times in a row, at last with: a bug/)(failure);
    assert(!thread(0).terminated, "the others serve until the process has stopped");
    await pool.stop();
  });
});

Deno.test("WorkerPool does not give up on deaths with long lives between them", async () => {
  await withPool(2, async (fixture) => {
    const { pool, thread, pass } = fixture;
    await started(fixture);
    pool.failed.catch(() => assert.fail("it gave up"));
    for (let round = 0; round < 3 * limits.workerDeathsMax; round++) {
      await pass(limits.workerSteadyMs);
      thread(1).die();
      await pass(1);
      thread(1).ready();
    }
    await pool.stop();
  });
});

Deno.test("WorkerPool tries again with a successor that cannot start", async () => {
  await withPool(2, async (fixture) => {
    const { pool, threads, thread, pass } = fixture;
    await started(fixture);
    thread(1).die();
    await pass(1);
    thread(1).say({ type: "failed", code: "EBUSY", reason: "Cannot listen" });
    await pass(limits.workerRestartMinMs);
    assert.equal(threads.length, 4);
    thread(1).ready();
    await pool.stop();
  });
});

Deno.test("WorkerPool passes messages to the other workers that serve", async () => {
  await withPool(3, async (fixture) => {
    const { pool, thread, pass } = fixture;
    await started(fixture);
    thread(2).die();
    await pass(1);
    const message = { type: "peer", name: "garbage", message: { cuts: true } } as const;
    thread(0).say(message);
    assert.deepEqual([0, 1, 2].map((index) => thread(index).told), [[], [message], []]);
    thread(2).ready();
    await pool.stop();
  });
});

Deno.test("WorkerPool stops all at once, or worker 0 last", async () => {
  for (const firstStopsLast of [false, true]) {
    await withPool(3, async (fixture) => {
      const { clock, pool, thread, pass } = fixture;
      await started(fixture);
      const stoppedMs: number[] = [];
      for (const index of [0, 1, 2]) {
        thread(index).onStop = async () => {
          await pass(1_000);
          stoppedMs[index] = clock.monotonicMs();
          thread(index).say({ type: "stopped" });
        };
      }
      await pool.stop();
      assert.deepEqual(stoppedMs, firstStopsLast ? [2_000, 1_000, 1_000] : [1_000, 1_000, 1_000]);
    }, { firstStopsLast });
  }
});

Deno.test("WorkerPool ends workers that do not stop, and starts none for those that die then", async () => {
  await withPool(3, async (fixture) => {
    const { clock, pool, threads, thread, pass } = fixture;
    await started(fixture);
    thread(0).onStop = () => {};
    thread(1).onStop = () => thread(1).die();
    const startMs = clock.monotonicMs();
    await pool.stop();
    assert.equal(clock.monotonicMs() - startMs, limits.workerStopMs);
    await pass(10_000);
    assert(threads.length === 3 && threads.every(({ terminated }) => terminated));
  });
});

Deno.test("WorkerPool takes no longer to stop where worker 0 is the last one", async () => {
  await withPool(2, async (fixture) => {
    const { clock, pool, thread } = fixture;
    await started(fixture);
    thread(0).onStop = () => {};
    thread(1).onStop = () => {};
    const startMs = clock.monotonicMs();
    await pool.stop();
    assert.equal(clock.monotonicMs() - startMs, limits.workerStopMs);
    assert(thread(0).terminated && thread(1).terminated);
  }, { firstStopsLast: true });
});

Deno.test("WorkerPool that stops while a successor is awaited starts it no more", async () => {
  await withPool(2, async (fixture) => {
    const { pool, threads, thread, pass } = fixture;
    await started(fixture);
    thread(1).die();
    await pool.stop();
    await pass(10_000);
    assert.equal(threads.length, 2);
  });
});
