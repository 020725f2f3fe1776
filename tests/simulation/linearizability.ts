// Whether what clients were told fits one order of their operations, each at some moment between its
// begin and its end. One whose outcome nobody knows may have happened from its begin on, or never.
//
// The search goes along the history with all states that the file system may be in (Wing and Gong
// 1993, with Lowe's memory of what was seen): an operation is put in its place when the end of one
// demands it, and no earlier.

import { isDeepStrictEqual } from "node:util";
import {
  emptyState,
  keyOf,
  perform,
  type State,
  withoutHandle,
} from "../support/model_file_system.ts";
import type { Operation, Outcome } from "../support/operations.ts";

interface Call {
  readonly operation: Operation;
  readonly client: string;
  /** `undefined`: nobody knows. */
  outcome: Outcome | undefined;
}

type HistoryEvent = { readonly kind: "begin" | "end"; readonly call: Call };

/** Outcomes that depend on what the model does not have: they are believed, and had no effect. */
const believed: ReadonlyMap<Operation["op"], readonly string[]> = new Map([
  // Somebody has the file open for writing, or had when he died.
  ["truncate", ["EBUSY"]],
  // The client's session ended, and what was pending or open with it.
  ["commit", ["ENOENT"]],
  ["commitWrite", ["EBADF", "ENOENT"]],
]);

/** What clients did, in the order in which it began and ended. */
export class History {
  readonly #events: HistoryEvent[] = [];

  /** Returns what is to be called with the outcome; never where nobody knows it. */
  begin(client: string, operation: Operation): (outcome: Outcome) => void {
    const call: Call = { operation, client, outcome: undefined };
    this.#events.push({ kind: "begin", call });
    return (outcome) => {
      call.outcome = outcome;
      this.#events.push({ kind: "end", call });
    };
  }

  get events(): readonly HistoryEvent[] {
    return this.#events;
  }
}

/** One way in which the file system may have come here. */
interface Configuration {
  readonly state: State;
  /** Of the calls under way, those that have happened. */
  readonly done: ReadonlySet<Call>;
}

export type Verdict =
  | { readonly fits: true; readonly configurations: number }
  | { readonly fits: false; readonly explanation: string };

/** With more ways than this the rest of a history is believed. */
const configurationsMax = 20_000;

export function checkHistory(history: History): Verdict {
  const search = new Search(history);
  for (const { kind, call } of history.events) {
    if (kind === "begin") search.begin(call);
    else if (!search.end(call)) {
      return { fits: false, explanation: search.explain(call) };
    }
    if (search.isTooLarge) break;
  }
  return { fits: true, configurations: search.most };
}

class Search {
  #configurations: Configuration[] = [{ state: emptyState, done: new Set() }];
  readonly #underWay = new Set<Call>();
  readonly #numbers = new WeakMap<State, number>();
  readonly #numbersOfKeys = new Map<string, number>();
  most = 1;
  /** Some states from before the call that does not fit. */
  #before: readonly Configuration[] = [];

  /** Calls after which nobody refers to a handle any more. */
  readonly #lastUses: ReadonlyMap<Call, number>;

  constructor(history: History) {
    this.#lastUses = lastUsesOf(history);
  }

  get isTooLarge(): boolean {
    return this.most > configurationsMax;
  }

  begin(call: Call): void {
    // Nobody ever refers to what it gave.
    if (!call.outcome && seenByNobody.includes(call.operation.op)) return;
    this.#underWay.add(call);
    if (!changesNothing(call)) return;
    this.#configurations = this.#configurations.map((each) => this.#withReads(each));
  }

  /** Whether there is a way in which the call has happened by now. */
  end(call: Call): boolean {
    this.#before = this.#configurations;
    const found = new Map<string, Configuration>();
    const seen = new Set<string>();
    for (const each of this.#configurations) this.#search(each, call, found, seen);
    this.#underWay.delete(call);
    this.#configurations = [...found.values()];
    this.most = Math.max(this.most, found.size);
    return found.size > 0;
  }

  explain(call: Call): string {
    const ways = this.#before.slice(0, 3).map(({ state }) => {
      const { outcome } = perform(state, call.operation);
      return `${JSON.stringify(outcome)} in ${keyOf(state)}`;
    });
    const others = [...this.#underWay].map((each) => show(each));
    return `${show(call)} fits no order of the operations; it would have given ` +
      `${ways.join(" or ")}; meanwhile: ${others.join(", ") || "nothing"}`;
  }

  #search(
    from: Configuration,
    call: Call,
    found: Map<string, Configuration>,
    seen: Set<string>,
  ): void {
    const key = this.#keyOf(from);
    if (seen.has(key) || found.size > configurationsMax) return;
    seen.add(key);
    if (from.done.has(call)) {
      const done = new Set(from.done);
      done.delete(call);
      const handle = this.#lastUses.get(call);
      const state = handle === undefined ? from.state : withoutHandle(from.state, handle);
      const left = { state, done };
      found.set(this.#keyOf(left), left);
      return;
    }
    for (const next of this.#underWay) {
      if (from.done.has(next)) continue;
      const state = happen(from.state, next);
      if (!state) continue;
      const done = new Set(from.done).add(next);
      this.#search(this.#withReads({ state, done }), call, found, seen);
    }
  }

  /** What changes nothing may as well happen as soon as its outcome is right. */
  #withReads(configuration: Configuration): Configuration {
    let { done } = configuration;
    for (const call of this.#underWay) {
      if (!changesNothing(call) || done.has(call)) continue;
      if (happen(configuration.state, call)) done = new Set(done).add(call);
    }
    return done === configuration.done ? configuration : { state: configuration.state, done };
  }

  #keyOf({ state, done }: Configuration): string {
    let key = `${this.#numberOf(state)}`;
    let number = 0;
    for (const call of this.#underWay) {
      if (done.has(call)) key += `,${number}`;
      number++;
    }
    return key;
  }

  /** The same for states that are the same: their keys are long, and looked up often. */
  #numberOf(state: State): number {
    const known = this.#numbers.get(state);
    if (known !== undefined) return known;
    const key = keyOf(state);
    const number = this.#numbersOfKeys.get(key) ?? this.#numbersOfKeys.size;
    this.#numbersOfKeys.set(key, number);
    this.#numbers.set(state, number);
    return number;
  }
}

function lastUsesOf({ events }: History): Map<Call, number> {
  const last = new Map<number, Call>();
  const endless = new Set<number>();
  for (const { kind, call } of events) {
    const handle = handleOf(call.operation);
    if (handle === undefined) continue;
    if (kind === "end") last.set(handle, call);
    else if (!call.outcome) endless.add(handle);
  }
  const ended = [...last].filter(([handle]) => !endless.has(handle));
  return new Map(ended.map(([handle, call]) => [call, handle]));
}

function handleOf(operation: Operation): number | undefined {
  if ("of" in operation) return operation.of;
  return operation.op === "begin" || operation.op === "openWrite" ? operation.id : undefined;
}

/** The state after the call, where it gives what it gave; `undefined` where it cannot happen here. */
function happen(state: State, { operation, outcome }: Call): State | undefined {
  if (outcome && isBelieved(operation, outcome)) return state;
  const step = perform(state, operation);
  if (!outcome) return step.state === state ? undefined : step.state;
  return isDeepStrictEqual(step.outcome, outcome) ? step.state : undefined;
}

function isBelieved({ op }: Operation, outcome: Outcome): boolean {
  if (outcome === "done" || !("error" in outcome)) return false;
  return believed.get(op)?.includes(outcome.error) ?? false;
}

const reads: readonly Operation["op"][] = ["stat", "open", "readdir", "readlink"];

/** Operations that others notice only when they have succeeded. */
const seenByNobody: readonly Operation["op"][] = [...reads, "begin", "openWrite"];

function changesNothing({ operation, outcome }: Call): boolean {
  if (!outcome) return false;
  return reads.includes(operation.op) || (outcome !== "done" && "error" in outcome);
}

function show({ client, operation, outcome }: Call): string {
  const result = outcome ? JSON.stringify(outcome) : "no outcome";
  return `${client} ${JSON.stringify(operation)} with ${result}`;
}
