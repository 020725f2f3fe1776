// One run of a program on a host: everything that wakes it comes through here, so that it can be
// killed or made to hang between any two steps. A killed one never runs again: what it waits for
// does not come.

import type { Clock, Environment, Random, Transport } from "../../shared/environment.ts";
import type { SeededRandom } from "../support/seeded_random.ts";
import type { VirtualClock } from "../support/virtual_clock.ts";
import type { EventKind, Trace } from "./trace.ts";

/** What all processes of a simulation share. */
export interface World {
  readonly clock: VirtualClock;
  readonly trace: Trace;
  /** How long things take. */
  readonly delays: SeededRandom;
  /** Called before each step of a process: faults happen here. */
  beforeStep(process: HostProcess): void;
}

export class HostProcess {
  readonly host: string;
  /** Counts the processes of a host. */
  readonly incarnation: number;
  readonly environment: Environment;
  readonly #world: World;
  #state: "running" | "hanging" | "dead" = "running";
  /** What arrived while it hung, in order. */
  readonly #held: (() => void)[] = [];

  constructor(
    world: World,
    host: string,
    incarnation: number,
    parts: {
      random: Random;
      transport: (process: HostProcess) => Transport;
      /** By how much its wall clock is off. */
      clockOffsetMs: number;
    },
  ) {
    this.#world = world;
    this.host = host;
    this.incarnation = incarnation;
    const clock = this.#clock(parts.clockOffsetMs);
    this.environment = { clock, random: parts.random, transport: parts.transport(this) };
  }

  get isDead(): boolean {
    return this.#state === "dead";
  }

  get isRunning(): boolean {
    return this.#state === "running";
  }

  kill(): void {
    this.#state = "dead";
    this.#held.length = 0;
  }

  /** It stands still, as with its whole host, until {@link goOn}. */
  hang(): void {
    if (this.#state === "running") this.#state = "hanging";
  }

  goOn(): void {
    if (this.#state !== "hanging") return;
    this.#state = "running";
    while (this.#held.length > 0 && this.isRunning) this.#held.shift()!();
  }

  /** A step of this process: `callback` runs now, when it goes on, or never. */
  step(kind: EventKind, what: string, callback: () => void): void {
    if (this.isDead) return;
    this.#world.beforeStep(this);
    const run = () => {
      const { clock, trace } = this.#world;
      trace.add(clock.monotonicMs(), kind, this.host, what);
      callback();
    };
    if (this.isRunning) run();
    else if (!this.isDead) this.#held.push(run);
  }

  /** Resolves after `delayMs`, in a step of its own. */
  after(delayMs: number, kind: EventKind, what: string): Promise<void> {
    return new Promise((resolve) => {
      if (delayMs === 0) return this.step(kind, what, resolve);
      this.#world.clock.setTimer(() => this.step(kind, what, resolve), delayMs);
    });
  }

  #clock(offsetMs: number): Clock {
    const { clock } = this.#world;
    return {
      nowMs: () => clock.nowMs() + offsetMs,
      monotonicMs: () => clock.monotonicMs(),
      setTimer: (callback, delayMs) => {
        let isSet = true;
        const cancel = clock.setTimer(
          () => this.step("timer", "", () => isSet && callback()),
          delayMs,
        );
        return () => {
          isSet = false;
          cancel();
        };
      },
    };
  }
}
