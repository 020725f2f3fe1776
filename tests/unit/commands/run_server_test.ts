// The end of a server's life, on a clock that jumps.

import assert from "node:assert/strict";
import type { ProgramContext } from "../../../commands/context.ts";
import { runServer } from "../../../commands/run_server.ts";
import { RustreError } from "../../../shared/errors.ts";
import { limits } from "../../../shared/limits.ts";
import { VirtualClock } from "../../support/virtual_clock.ts";

interface Run {
  readonly clock: VirtualClock;
  readonly stop: AbortController;
  readonly context: ProgramContext;
  readonly exitCodes: number[];
  readonly printed: string[];
}

function newRun(): Run {
  const clock = new VirtualClock();
  const stop = new AbortController();
  const exitCodes: number[] = [];
  const printed: string[] = [];
  const context = {
    environment: { clock },
    signal: stop.signal,
    setExitCode: (code: number) => exitCodes.push(code),
    output: {
      print(line: string) {
        printed.push(line);
        stop.abort();
        return Promise.resolve();
      },
    },
  } as unknown as ProgramContext;
  return { clock, stop, context, exitCodes, printed };
}

Deno.test("runServer() says that it is ready, and stops when it is told to", async () => {
  const { clock, context, exitCodes, printed } = newRun();
  let closed = 0;
  const close = () => Promise.resolve(void closed++);
  await clock.run(runServer(context, () => Promise.resolve({ ready: "mgs=a:1", close })));
  assert.deepEqual([printed, closed, exitCodes], [["ready mgs=a:1"], 1, []]);
  assert.equal(clock.timerCount, 0);
});

Deno.test("runServer() waits for a server that does not stop for 10 s, and then has failed", async () => {
  const { clock, context, exitCodes } = newRun();
  const close = () => new Promise<void>(() => {});
  await clock.run(runServer(context, () => Promise.resolve({ ready: "mgs=a:1", close })));
  assert.equal(clock.monotonicMs(), limits.stopMs);
  assert.deepEqual(exitCodes, [1]);
});

Deno.test("runServer() has failed where its server cannot stop in good order", async () => {
  const { clock, context, exitCodes } = newRun();
  const close = () => Promise.reject(new RustreError("EIO", "Cannot write"));
  await clock.run(runServer(context, () => Promise.resolve({ ready: "mgs=a:1", close })));
  assert.deepEqual(exitCodes, [1]);
});

Deno.test("runServer() tells errors of the configuration from others", async () => {
  for (const [code, name] of [["EINVAL", "UsageError"], ["EIO", "RustreError"]] as const) {
    const { context } = newRun();
    const start = () => Promise.reject(new RustreError(code, "Cannot start"));
    await assert.rejects(runServer(context, start), { name, message: "Cannot start" });
  }
});
