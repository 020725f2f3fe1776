import assert from "node:assert/strict";
import { interrupted, withDeadline, withSignal } from "../../shared/deadline.ts";
import { sleep } from "../../shared/environment.ts";
import { isRustreError, RustreError } from "../../shared/errors.ts";
import { countedSignal } from "../support/counted_signal.ts";
import { VirtualClock } from "../support/virtual_clock.ts";

Deno.test("withDeadline() gives what the task gives, and leaves neither timer nor listener", async () => {
  const clock = new VirtualClock();
  const { signal, count } = countedSignal();
  const task = async (stop: AbortSignal) => {
    assert.equal(count.listeners, 1);
    await sleep(clock, 50, stop);
    return "done";
  };
  assert.equal(await clock.run(withDeadline(clock, 100, task, signal)), "done");
  assert.equal(count.listeners, 0);
  assert.equal(clock.timerCount, 0);
});

Deno.test("withDeadline() fires TIMED_OUT after its time", async () => {
  const clock = new VirtualClock();
  const { signal, count } = countedSignal();
  const task = (stop: AbortSignal) => sleep(clock, 1_000, stop);
  await assert.rejects(
    clock.run(withDeadline(clock, 100, task, signal)),
    (error) => isRustreError(error, "TIMED_OUT"),
  );
  assert.equal(clock.monotonicMs(), 100);
  assert.equal(count.listeners, 0);
  assert.equal(clock.timerCount, 0);
});

Deno.test("withDeadline() fires with the signal's reason when that fires, or has fired", async () => {
  const clock = new VirtualClock();
  const stop = new AbortController();
  clock.setTimer(() => stop.abort(new Error("enough")), 30);
  const task = (signal: AbortSignal) => sleep(clock, 1_000, signal);
  for (const atMs of [30, 30]) {
    await assert.rejects(clock.run(withDeadline(clock, 100, task, stop.signal)), /enough/);
    assert.equal(clock.monotonicMs(), atMs);
  }
  assert.equal(clock.timerCount, 0);
});

Deno.test("withSignal() gives the promise's outcome and leaves the signal", async () => {
  const { signal, count } = countedSignal();
  assert.equal(await withSignal(Promise.resolve(1), signal), 1);
  await assert.rejects(withSignal(Promise.reject(new Error("no")), signal), /no/);
  assert.equal(count.listeners, 0);
});

Deno.test("withSignal() rejects when the signal fires; a later failure of the promise is nobody's", async () => {
  const stop = new AbortController();
  let fail = (_: Error) => {};
  const promise = new Promise<void>((_, reject) => fail = reject);
  const waiting = withSignal(promise, stop.signal);
  stop.abort();
  await assert.rejects(waiting, (error) => isRustreError(error, "INTERRUPTED"));
  await assert.rejects(
    withSignal(promise, stop.signal),
    (error) => isRustreError(error, "INTERRUPTED"),
  );
  // An unhandled rejection would fail this test.
  fail(new Error("late"));
  await new Promise((resolve) => setTimeout(resolve, 0));
});

Deno.test("interrupted() keeps a reason that is an operating error, and names what was interrupted", () => {
  const full = new RustreError("ENOSPC", "Full");
  assert.equal(interrupted(AbortSignal.abort(full)), full);
  const error = interrupted(AbortSignal.abort("why"), "stat");
  assert.equal(error.code, "INTERRUPTED");
  assert.equal(error.message, "Interrupted stat");
  assert.equal(error.cause, "why");
});
