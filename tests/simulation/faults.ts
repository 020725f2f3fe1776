// What goes wrong in a simulated run, and when: after a seeded number of steps of any process, at
// whatever step that is.

import type { SeededRandom } from "../support/seeded_random.ts";
import type { HostProcess } from "./process.ts";

/** What faults can do; the simulation gives it. */
export interface FaultTargets {
  readonly servers: readonly string[];
  readonly clients: readonly string[];
  readonly targets: number;
  /** The process ends at once; it is started again after a while. */
  kill(host: string, options: { power: boolean; downMs: number }): void;
  restart(host: string): void;
  hang(host: string, durationMs: number): void;
  part(one: string, other: string, options: { durationMs: number; broken: boolean }): void;
  disconnect(one: string, other: string): void;
  slow(one: string, other: string, durationMs: number): void;
  partFromStore(host: string, durationMs: number): void;
  fillDisk(index: number, durationMs: number): void;
  note(what: string): void;
}

type Fault = (plan: FaultPlan, current: HostProcess) => void;

/** How often each kind comes, and what it is. */
const kinds: readonly (readonly [number, Fault])[] = [
  [6, (plan, current) => plan.killServer(current)],
  [6, (plan) => plan.cutPower()],
  [2, (plan, current) => plan.killClient(current)],
  [3, (plan) => plan.restart()],
  [4, (plan, current) => plan.hang(current)],
  [4, (plan) => plan.part()],
  [5, (plan, current) => plan.disconnect(current)],
  [2, (plan) => plan.slow()],
  [2, (plan) => plan.partFromStore()],
  [1, (plan) => plan.fillDisk()],
];

export class FaultPlan {
  readonly #random: SeededRandom;
  readonly #targets: FaultTargets;
  /** Steps until the next fault. */
  #stepsLeft: number;
  #faultsLeft: number;
  #stepsBetween: number;

  constructor(random: SeededRandom, targets: FaultTargets) {
    this.#random = random;
    this.#targets = targets;
    this.#faultsLeft = random.below(25);
    this.#stepsBetween = [60, 250, 600][random.below(3)]!;
    this.#stepsLeft = this.#gap();
  }

  /** Before each step of any process. */
  step(process: HostProcess): void {
    if (this.#faultsLeft === 0 || --this.#stepsLeft > 0) return;
    this.#faultsLeft--;
    this.#stepsLeft = this.#gap();
    let left = this.#below(kinds.reduce((sum, [weight]) => sum + weight, 0));
    for (const [weight, fault] of kinds) {
      if ((left -= weight) < 0) return fault(this, process);
    }
  }

  stop(): void {
    this.#faultsLeft = 0;
  }

  // ── kinds ────────────────────────────────────────────────────────────────────────────────────

  killServer(current: HostProcess): void {
    const host = this.#one(this.#targets.servers, current);
    const downMs = this.#below(3) === 0 ? 0 : this.#below(7_000);
    this.#targets.note(`kill ${host} for ${downMs}`);
    this.#targets.kill(host, { power: false, downMs });
  }

  cutPower(): void {
    const { targets } = this.#targets;
    const all = this.#below(6) === 0;
    const downMs = 200 + this.#below(4_000);
    for (let index = 0; index < targets; index++) {
      if (!all && index !== this.#below(targets)) continue;
      this.#targets.note(`cut the power of oss${index} for ${downMs}`);
      this.#targets.kill(`oss${index}`, { power: true, downMs });
    }
  }

  killClient(current: HostProcess): void {
    const host = this.#one(this.#targets.clients, current);
    this.#targets.note(`kill ${host}`);
    this.#targets.kill(host, { power: this.#below(2) === 0, downMs: this.#below(2_000) });
  }

  restart(): void {
    const host = this.#one(this.#targets.servers);
    this.#targets.note(`restart ${host}`);
    this.#targets.restart(host);
  }

  hang(current: HostProcess): void {
    const host = this.#one([...this.#targets.servers, ...this.#targets.clients], current);
    // Now and then a client hangs for longer than its session lasts.
    const durationMs = this.#duration(this.#below(4) === 0 ? 50_000 : 12_000);
    this.#targets.note(`hang ${host} for ${durationMs}`);
    this.#targets.hang(host, durationMs);
  }

  part(): void {
    const [one, other] = this.#two();
    const options = { durationMs: this.#duration(10_000), broken: this.#below(2) === 0 };
    this.#targets.note(`part ${one} and ${other} for ${options.durationMs}`);
    this.#targets.part(one, other, options);
  }

  disconnect(current: HostProcess): void {
    const [, other] = this.#two();
    const one = this.#one(this.#targets.servers, current);
    this.#targets.note(`disconnect ${one} and ${other}`);
    this.#targets.disconnect(one, other);
  }

  slow(): void {
    const [one, other] = this.#two();
    this.#targets.note(`slow ${one} and ${other}`);
    this.#targets.slow(one, other, this.#duration(10_000));
  }

  partFromStore(): void {
    const host = this.#one(this.#targets.servers.filter((each) => !each.startsWith("oss")));
    this.#targets.note(`part ${host} from the store`);
    this.#targets.partFromStore(host, this.#duration(8_000));
  }

  fillDisk(): void {
    const index = this.#below(this.#targets.targets);
    this.#targets.note(`fill the disk of oss${index}`);
    this.#targets.fillDisk(index, this.#duration(5_000));
  }

  // ── chance ───────────────────────────────────────────────────────────────────────────────────

  #below(bound: number): number {
    return this.#random.below(bound);
  }

  #gap(): number {
    return 1 + this.#below(2 * this.#stepsBetween);
  }

  /** Mostly short. */
  #duration(mostMs: number): number {
    return 1 + this.#below(this.#below(2) === 0 ? mostMs : mostMs / 10);
  }

  /** Often the one whose step it is: there it hurts. */
  #one(hosts: readonly string[], current?: HostProcess): string {
    if (current && hosts.includes(current.host) && this.#below(2) === 0) return current.host;
    return hosts[this.#below(hosts.length)]!;
  }

  /** Two hosts, one of them a server. */
  #two(): [string, string] {
    const { servers, clients } = this.#targets;
    const one = this.#one(servers);
    const others = [...servers, ...clients].filter((each) => each !== one);
    return [one, this.#one(others)];
  }
}
