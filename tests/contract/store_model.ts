// Random interleaved transactions against a serial model: what commits must read as if it had run
// alone at its commit, and everything a transaction reads must be of the moment of its first read.

import { strict as assert } from "node:assert";
import fc from "fast-check";
import { isRustreError } from "../../shared/errors.ts";
import type { OpenTransaction, Store } from "../../shared/store/store.ts";
import { everything, integer, integerOf, type StorePromise } from "./store.ts";
import { checkProperty } from "../support/seed.ts";

const transactionsAtOnce = 4;

const keys = ["a", "b", "b\x00", "c", "d", "e"];
const bounds = ["", ...keys, "\xff"];

type Step =
  | { readonly kind: "get"; readonly key: string; readonly snapshot: boolean }
  | {
    readonly kind: "getRange";
    readonly begin: string;
    readonly end: string;
    readonly limit: number;
    readonly reverse: boolean;
    readonly snapshot: boolean;
  }
  | { readonly kind: "set" | "add"; readonly key: string; readonly number: number }
  | { readonly kind: "delete"; readonly key: string }
  | { readonly kind: "deleteRange"; readonly begin: string; readonly end: string }
  | { readonly kind: "commit" | "cancel" };

type Turn = { readonly who: number; readonly step: Step };

const key = fc.constantFrom(...keys);
const span = fc.tuple(fc.nat(bounds.length - 1), fc.nat(bounds.length - 1)).map(([one, two]) => ({
  begin: bounds[Math.min(one, two)]!,
  end: bounds[Math.max(one, two)]!,
}));
const number = fc.integer({ min: -5, max: 5 });

const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 4, arbitrary: fc.record({ kind: fc.constant("get"), key, snapshot: fc.boolean() }) },
  {
    weight: 3,
    arbitrary: fc.tuple(span, fc.integer({ min: 1, max: 7 }), fc.boolean(), fc.boolean()).map(
      ([{ begin, end }, limit, reverse, snapshot]) => (
        { kind: "getRange", begin, end, limit, reverse, snapshot }
      ),
    ),
  },
  { weight: 4, arbitrary: fc.record({ kind: fc.constant("set"), key, number }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant("add"), key, number }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant("delete"), key }) },
  {
    weight: 1,
    arbitrary: span.map(({ begin, end }) => ({ kind: "deleteRange", begin, end })),
  },
  { weight: 3, arbitrary: fc.constant({ kind: "commit" }) },
  { weight: 1, arbitrary: fc.constant({ kind: "cancel" }) },
) as fc.Arbitrary<Step>;

const history: fc.Arbitrary<Turn[]> = fc.array(
  fc.record({ who: fc.nat(transactionsAtOnce - 1), step }),
  { minLength: 10, maxLength: 120 },
);

type State = ReadonlyMap<string, bigint>;
/** What a read returned, as text that can be compared. */
type Seen = string;

interface Running {
  readonly transaction: OpenTransaction;
  readonly steps: { readonly step: Step; readonly seen?: Seen }[];
  /** The states since its first read, with which all that it has read agrees. */
  moments: State[];
  /** Whether anything was committed since its first read. */
  overtaken: boolean;
  failed: boolean;
}

export const modelPromises: StorePromise[] = [
  {
    name: "random interleaved transactions are serializable and read one moment each",
    concurrent: true,
    async test({ store, other }) {
      const property = fc.asyncProperty(history, async (turns) => {
        const clearing = store.begin();
        clearing.deleteRange(everything);
        await clearing.commit();
        await playHistory([store, other], turns);
      });
      await checkProperty(property, { runs: 300 });
    },
  },
];

async function playHistory(stores: readonly Store[], turns: readonly Turn[]): Promise<void> {
  let committed: State = new Map();
  const running = new Map<number, Running>();
  for (const { who, step } of turns) {
    let one = running.get(who);
    if (one === undefined) {
      const transaction = stores[who % stores.length]!.begin();
      one = { transaction, steps: [], moments: [], overtaken: false, failed: false };
      running.set(who, one);
    }
    if (step.kind === "cancel") {
      await one.transaction.cancel();
      running.delete(who);
    } else if (step.kind === "commit") {
      running.delete(who);
      const after = await playCommit(one, committed);
      if (after === undefined) continue;
      committed = after;
      for (const each of running.values()) {
        if (each.moments.length === 0) continue;
        each.moments.push(committed);
        each.overtaken = true;
      }
    } else if (!one.failed) {
      await playStep(one, step, committed);
    }
  }
  for (const { transaction } of running.values()) await transaction.cancel();
  const check = stores[0]!.begin();
  const rows = await check.getRange(everything, { limit: 100 });
  await check.commit();
  assert.equal(
    showRows(rows.map(({ key, value }) => [key, integerOf(value)!])),
    showState(committed),
  );
}

async function playStep(one: Running, step: Step, committed: State): Promise<void> {
  const reads = step.kind === "get" || step.kind === "getRange";
  if (!reads) {
    runOnEngine(one.transaction, step);
    one.steps.push({ step });
    return;
  }
  if (one.moments.length === 0) one.moments.push(committed);
  try {
    const seen = await readFromEngine(one.transaction, step);
    one.moments = one.moments.filter((moment) => expectedRead(one, step, moment) === seen);
    assert.ok(one.moments.length > 0, `read ${seen}, which is of another moment than before`);
    one.steps.push({ step, seen });
  } catch (error) {
    if (!isRustreError(error, "CONFLICT")) throw error;
    assert.ok(one.overtaken, "a conflict with nobody");
    one.failed = true;
  }
}

/** The state after the commit; undefined when it was refused. */
async function playCommit(one: Running, committed: State): Promise<State | undefined> {
  try {
    await one.transaction.commit();
  } catch (error) {
    if (!isRustreError(error, "CONFLICT")) throw error;
    assert.ok(one.overtaken, "a conflict with nobody");
    return undefined;
  }
  assert.ok(!one.failed, "a transaction committed after a failed read");
  // Without writes it counts as of the moment of its reads, not of its commit.
  if (!one.steps.some(({ step }) => writes(step))) return undefined;
  const state = new Map(committed);
  for (const { step, seen } of one.steps) {
    if (seen === undefined) applyToModel(state, step);
    else if (!("snapshot" in step && step.snapshot)) {
      assert.equal(seen, readFromModel(state, step), "not as if it had run alone at its commit");
    }
  }
  return state;
}

function expectedRead(one: Running, read: Step, base: State): Seen {
  const state = new Map(base);
  for (const { step, seen } of one.steps) if (seen === undefined) applyToModel(state, step);
  return readFromModel(state, read);
}

function writes(step: Step): boolean {
  if (step.kind === "deleteRange") return step.begin < step.end;
  return step.kind === "set" || step.kind === "add" || step.kind === "delete";
}

function runOnEngine(transaction: OpenTransaction, step: Step): void {
  if (step.kind === "set") transaction.set(step.key, integer(BigInt(step.number)));
  else if (step.kind === "add") transaction.add(step.key, BigInt(step.number));
  else if (step.kind === "delete") transaction.delete(step.key);
  else if (step.kind === "deleteRange") transaction.deleteRange(step);
}

function applyToModel(state: Map<string, bigint>, step: Step): void {
  if (step.kind === "set") state.set(step.key, BigInt(step.number));
  else if (step.kind === "add") {
    state.set(step.key, (state.get(step.key) ?? 0n) + BigInt(step.number));
  } else if (step.kind === "delete") state.delete(step.key);
  else if (step.kind === "deleteRange") {
    for (const key of [...state.keys()]) if (key >= step.begin && key < step.end) state.delete(key);
  }
}

async function readFromEngine(transaction: OpenTransaction, step: Step): Promise<Seen> {
  if (step.kind === "get") return String(integerOf(await transaction.get(step.key, step)));
  assert.ok(step.kind === "getRange");
  const rows = await transaction.getRange(step, step);
  return showRows(rows.map(({ key, value }) => [key, integerOf(value)!]));
}

function readFromModel(state: State, step: Step): Seen {
  if (step.kind === "get") return String(state.get(step.key));
  assert.ok(step.kind === "getRange");
  const rows = [...state].filter(([key]) => key >= step.begin && key < step.end);
  rows.sort(([left], [right]) => (left < right) !== step.reverse ? -1 : 1);
  return showRows(rows.slice(0, step.limit));
}

function showState(state: State): Seen {
  return showRows([...state].sort(([left], [right]) => left < right ? -1 : 1));
}

function showRows(rows: readonly (readonly [string, bigint])[]): Seen {
  return rows.map(([key, value]) => `${JSON.stringify(key)}=${value}`).join(" ");
}
