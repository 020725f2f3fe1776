// The clock of a process that can be stopped with SIGSTOP and continued.

import type { Clock } from "../../shared/environment.ts";

export interface PausableClock {
  readonly clock: Clock;
  /** While it is paused no timer fires; those that were due do when it goes on. */
  pause(paused: boolean): void;
}

export function pausableClock(clock: Clock): PausableClock {
  let paused = false;
  const held: (() => void)[] = [];
  return {
    clock: {
      nowMs: () => clock.nowMs(),
      monotonicMs: () => clock.monotonicMs(),
      setTimer: (callback, delayMs) =>
        clock.setTimer(() => paused ? held.push(callback) : callback(), delayMs),
    },
    pause(value) {
      paused = value;
      if (!paused) { for (const callback of held.splice(0)) callback(); }
    },
  };
}
