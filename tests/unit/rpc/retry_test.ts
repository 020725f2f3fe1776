import assert from "node:assert/strict";
import { sleep } from "../../../shared/environment.ts";
import { errorCodes, isRustreError, RustreError } from "../../../shared/errors.ts";
import { limits } from "../../../shared/limits.ts";
import { retrying, type RetryOptions } from "../../../shared/rpc/retry.ts";
import { SeededRandom } from "../../support/seeded_random.ts";
import { VirtualClock } from "../../support/virtual_clock.ts";

const busy = () => new RustreError("OVERLOADED", "Busy");
const stale = () => new RustreError("STALE_MAP", "Old");

/** Runs `retrying` in virtual time and counts what it does. */
class Trial {
  readonly clock = new VirtualClock();
  readonly attemptsMs: number[] = [];
  readonly refreshesMs: number[] = [];
  readonly remainingMs: number[] = [];

  run<T>(
    attempt: (tryNumber: number) => Promise<T> | T,
    options: Partial<RetryOptions> = {},
  ): Promise<T> {
    const environment = { clock: this.clock, random: new SeededRandom(7) };
    const refreshMap = () => {
      this.refreshesMs.push(this.clock.monotonicMs());
      return Promise.resolve();
    };
    return this.clock.run(
      retrying(
        { environment, timeoutMs: 15_000, refreshMap, ...options },
        async (tryNumber, remainingMs) => {
          assert.equal(tryNumber, this.attemptsMs.length);
          this.attemptsMs.push(this.clock.monotonicMs());
          this.remainingMs.push(remainingMs);
          return await attempt(tryNumber);
        },
      ),
    );
  }

  assertAtRest(): void {
    assert.equal(this.clock.timerCount, 0);
  }
}

Deno.test("retrying() gives the first success and does no more", async () => {
  const trial = new Trial();
  const result = await trial.run((tryNumber) => {
    if (tryNumber < 3) throw busy();
    return `try ${tryNumber}`;
  });
  assert.equal(result, "try 3");
  assert.equal(trial.attemptsMs.length, 4);
  trial.assertAtRest();
});

for (const { code, kind } of errorCodes()) {
  Deno.test(`retrying() tries again after ${code} where its table says so: ${kind.retry}`, async () => {
    const trial = new Trial();
    const outcome = trial.run((tryNumber) => {
      if (tryNumber === 0) throw new RustreError(code, "No");
      return "mended";
    });
    if (kind.retry === "never") {
      await assert.rejects(outcome, (error) => isRustreError(error, code));
    } else assert.equal(await outcome, "mended");
    assert.equal(trial.attemptsMs.length, kind.retry === "never" ? 1 : 2);
  });
}

Deno.test("retrying() does not try again after a bug", async () => {
  const trial = new Trial();
  const bug = new TypeError("x is undefined");
  await assert.rejects(
    trial.run(() => {
      throw bug;
    }),
    bug,
  );
  assert.equal(trial.attemptsMs.length, 1);
});

Deno.test("retrying() waits longer each time, up to limits.retryDelayMaxMs, never the same", async () => {
  const trial = new Trial();
  await assert.rejects(trial.run(() => {
    throw busy();
  }, { timeoutMs: 60_000 }));
  const delaysMs = trial.attemptsMs.slice(1).map((atMs, index) => atMs - trial.attemptsMs[index]!);
  for (const [index, delayMs] of delaysMs.entries()) {
    const ceilingMs = Math.min(limits.retryDelayMinMs * 2 ** index, limits.retryDelayMaxMs);
    assert(delayMs >= ceilingMs / 2 && delayMs <= ceilingMs, `${delayMs} of ${ceilingMs}`);
  }
  assert(
    new Set(delaysMs.slice(-20)).size > 10,
    "clients that failed together do not come together",
  );
});

Deno.test("retrying() ends with the last error before its time is over", async () => {
  const trial = new Trial();
  await assert.rejects(
    trial.run((tryNumber) => {
      throw new RustreError("OVERLOADED", `No ${tryNumber}`);
    }),
    (error) =>
      isRustreError(error, "OVERLOADED") &&
      error.message === `No ${trial.attemptsMs.length - 1}`,
  );
  assert(trial.clock.monotonicMs() < 15_000);
  assert(trial.clock.monotonicMs() > 15_000 - 2 * limits.retryDelayMaxMs);
  trial.assertAtRest();
});

Deno.test("retrying() tells each attempt how much time is left", async () => {
  const trial = new Trial();
  await assert.rejects(trial.run(async () => {
    await sleep(trial.clock, 4_000);
    throw busy();
  }));
  assert.equal(trial.attemptsMs.length, 4);
  for (const [index, atMs] of trial.attemptsMs.entries()) {
    assert.equal(trial.remainingMs[index], 15_000 - atMs);
  }
});

Deno.test("retrying() with no time at all tries once", async () => {
  const trial = new Trial();
  await assert.rejects(
    trial.run(() => {
      throw busy();
    }, { timeoutMs: 0 }),
    (error) => isRustreError(error, "OVERLOADED"),
  );
  assert.equal(trial.attemptsMs.length, 1);
});

// ── the map ────────────────────────────────────────────────────────────────────────────────────

const refreshing = [
  ...["STALE_MAP", "WRONG_TARGET"],
  ...["UNREACHABLE", "CONNECTION_LOST", "TIMED_OUT", "SHUTTING_DOWN", "TARGET_DOWN"],
];

for (const { code, kind } of errorCodes()) {
  if (kind.retry === "never") continue;
  const expected = refreshing.includes(code);
  Deno.test(`retrying() ${expected ? "fetches" : "does not fetch"} a map after ${code}`, async () => {
    const trial = new Trial();
    await trial.run((tryNumber) => {
      if (tryNumber === 0) throw new RustreError(code, "No");
    });
    assert.equal(trial.refreshesMs.length, expected ? 1 : 0);
    // After the pause, so that it is as new as can be.
    if (expected) assert.equal(trial.refreshesMs[0], trial.attemptsMs[1]);
  });
}

Deno.test("retrying() goes on with the map it has where a newer one cannot be had", async () => {
  const trial = new Trial();
  const result = await trial.run((tryNumber) => {
    if (tryNumber < 2) throw stale();
    return tryNumber;
  }, { refreshMap: () => Promise.reject(new RustreError("UNREACHABLE", "No mgs")) });
  assert.equal(result, 2);
});

Deno.test("retrying() does not hide a bug in what fetches the map", async () => {
  const trial = new Trial();
  await assert.rejects(
    trial.run(() => {
      throw stale();
    }, { refreshMap: () => Promise.reject(new TypeError("a bug")) }),
    /a bug/,
  );
});

Deno.test("retrying() ends in time where fetching the map hangs, with the error of the attempt", async () => {
  const trial = new Trial();
  await assert.rejects(
    trial.run(() => {
      throw stale();
    }, { refreshMap: () => new Promise(() => {}) }),
    (error) => isRustreError(error, "STALE_MAP"),
  );
  assert(trial.clock.monotonicMs() <= 15_000);
  trial.assertAtRest();
});

// ── the signal ─────────────────────────────────────────────────────────────────────────────────

Deno.test("retrying() does not begin when its signal has fired", async () => {
  const trial = new Trial();
  await assert.rejects(
    trial.run(() => "done", { signal: AbortSignal.abort() }),
    (error) => isRustreError(error, "INTERRUPTED"),
  );
  assert.equal(trial.attemptsMs.length, 0);
});

for (const where of ["an attempt", "a pause", "the map is fetched"] as const) {
  Deno.test(`retrying() is INTERRUPTED at once by a signal during ${where}`, async () => {
    const trial = new Trial();
    const stop = new AbortController();
    const { clock } = trial;
    clock.setTimer(() => stop.abort(), where === "a pause" ? 2_005 : 2_000);
    const attempt = async () => {
      await sleep(clock, where === "an attempt" ? 500 : where === "a pause" ? 2_000 : 100);
      throw stale();
    };
    const refreshMap = () =>
      where === "the map is fetched" ? new Promise(() => {}) : Promise.resolve();
    await assert.rejects(
      trial.run(attempt, { signal: stop.signal, refreshMap }),
      (error) => isRustreError(error, "INTERRUPTED"),
    );
    const endMs = { "an attempt": 2_500, "a pause": 2_005, "the map is fetched": 2_000 }[where];
    assert(clock.monotonicMs() <= endMs, `${clock.monotonicMs()}`);
    trial.assertAtRest();
  });
}

Deno.test("retrying() gives the reason of a signal where that is an operating error", async () => {
  const trial = new Trial();
  const stop = new AbortController();
  trial.clock.setTimer(() => stop.abort(new RustreError("ENOSPC", "Full")), 300);
  await assert.rejects(
    trial.run(() => {
      throw busy();
    }, { signal: stop.signal }),
    (error) => isRustreError(error, "ENOSPC"),
  );
});

Deno.test("retrying() keeps an error that says what happened, also when its signal has fired", async () => {
  const trial = new Trial();
  const stop = new AbortController();
  await assert.rejects(
    trial.run(() => {
      stop.abort();
      throw new RustreError("EEXIST", "There");
    }, { signal: stop.signal }),
    (error) => isRustreError(error, "EEXIST"),
  );
});
