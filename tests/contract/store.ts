// The promises of shared/store/store.ts, one test each, for any engine. What it takes to run them
// on an engine is storeContract(); the promises themselves are in the files store_*.ts.

import { strict as assert } from "node:assert";
import type { Clock } from "../../shared/environment.ts";
import { RustreError } from "../../shared/errors.ts";
import type { ErrorCode } from "../../shared/errors.ts";
import { systemEnvironment } from "../../shared/platform.ts";
import type { OpenTransaction, Store } from "../../shared/store/store.ts";
import { transact, type TransactionContext } from "../../shared/store/transact.ts";
import { conflictPromises } from "./store_conflicts.ts";
import { limitPromises } from "./store_limits.ts";
import { modelPromises } from "./store_model.ts";
import { persistencePromises } from "./store_persistence.ts";
import { readingPromises } from "./store_reading.ts";

/** Opens the store that lives in `directory`, which begins empty. */
export type OpenEngine = (directory: string, clock: Clock) => Promise<Store>;

export interface EngineFeatures {
  /** What was committed is there after closing and opening again, also for other processes. */
  readonly persistent: boolean;
  /** It sees what an addition is added to. */
  readonly seesAdditions?: boolean;
  /** What every test begins and ends with. */
  readonly before?: () => Promise<void>;
  readonly after?: () => Promise<void>;
}

/** What a promise is tested with. */
export interface Fixture {
  readonly store: Store;
  /** Where concurrent transactions come from: the same store, or another handle of its file. */
  readonly other: Store;
  readonly context: TransactionContext;
  readonly clock: AdjustableClock;
  /** Another handle of the same store; closed with the fixture. */
  open(): Promise<Store>;
}

export interface StorePromise {
  readonly name: string;
  readonly test: (fixture: Fixture) => Promise<void>;
  /** Whether it is about concurrent transactions, so that it must hold between processes too. */
  readonly concurrent?: boolean;
  /** Whether it asks for an engine that keeps its data. */
  readonly persistent?: boolean;
  /** Whether it asks for an engine that sees what an addition is added to. */
  readonly seesAdditions?: boolean;
}

/** Registers a test for each promise. */
export function storeContract(
  engineName: string,
  open: OpenEngine,
  features: EngineFeatures,
): void {
  const promises = [
    ...readingPromises,
    ...conflictPromises,
    ...limitPromises,
    ...modelPromises,
    ...persistencePromises,
  ];
  for (const promise of promises) {
    if (promise.persistent && !features.persistent) continue;
    if (promise.seesAdditions && features.seesAdditions === false) continue;
    const run = async (twoHandles: boolean) => {
      await features.before?.();
      try {
        await withFixture(open, twoHandles, promise.test);
      } finally {
        await features.after?.();
      }
    };
    Deno.test(`${engineName}: ${promise.name}`, () => run(false));
    if (!promise.concurrent || !features.persistent) continue;
    Deno.test(`${engineName}, two handles: ${promise.name}`, () => run(true));
  }
}

async function withFixture(
  openEngine: OpenEngine,
  twoHandles: boolean,
  test: StorePromise["test"],
): Promise<void> {
  const directory = await Deno.makeTempDir({ prefix: "rustre-store-" });
  const clock = new AdjustableClock();
  const opened: Store[] = [];
  const open = async () => {
    const store = await openEngine(directory, clock);
    opened.push(store);
    return store;
  };
  try {
    const store = await open();
    const other = twoHandles ? await open() : store;
    const context = { store, environment: { clock, random: systemEnvironment().random } };
    await test({ store, other, context, clock, open });
  } finally {
    for (const store of opened) await store.close();
    await Deno.remove(directory, { recursive: true });
  }
}

/** The system's clock, and what tests add to it. */
export class AdjustableClock implements Clock {
  readonly #system = systemEnvironment().clock;
  #addedMs = 0;

  advance(ms: number): void {
    this.#addedMs += ms;
  }

  nowMs(): number {
    return this.#system.nowMs() + this.#addedMs;
  }

  monotonicMs(): number {
    return this.#system.monotonicMs() + this.#addedMs;
  }

  setTimer(callback: () => void, delayMs: number): () => void {
    return this.#system.setTimer(callback, delayMs);
  }
}

// ── words that the promises are written in ─────────────────────────────────────────────────────

const encoder = new TextEncoder();
const decoder = new TextDecoder();

export function bytes(text: string): Uint8Array {
  return encoder.encode(text);
}

export function textOf(value: Uint8Array | undefined): string | undefined {
  return value === undefined ? undefined : decoder.decode(value);
}

export function integer(value: bigint): Uint8Array {
  const result = new Uint8Array(8);
  new DataView(result.buffer).setBigInt64(0, value, true);
  return result;
}

export function integerOf(value: Uint8Array | undefined): bigint | undefined {
  if (value === undefined) return undefined;
  assert.equal(value.length, 8);
  return new DataView(value.buffer, value.byteOffset, 8).getBigInt64(0, true);
}

/** Runs and commits `change` at once, without a retry. */
export async function commitOn(
  store: Store,
  change: (transaction: OpenTransaction) => void | Promise<void>,
): Promise<void> {
  const transaction = store.begin();
  await change(transaction);
  await transaction.commit();
}

/** Sets keys to texts in one transaction. */
export function put(store: Store, entries: Record<string, string>): Promise<void> {
  return commitOn(store, (transaction) => {
    for (const [key, value] of Object.entries(entries)) transaction.set(key, bytes(value));
  });
}

/** What a new transaction reads there. */
export async function read(store: Store, key: string): Promise<string | undefined> {
  const transaction = store.begin();
  const value = await transaction.get(key);
  await transaction.commit();
  return textOf(value);
}

export const everything = { begin: "", end: "\xff" };

/** All keys and texts, as a new transaction sees them. */
export async function contents(context: TransactionContext): Promise<[string, string][]> {
  const rows = await transact(context, (transaction) => {
    return transaction.getRange(everything, { limit: 10_000 });
  });
  return rows.map(({ key, value }) => [key, textOf(value)!]);
}

export async function rejectsWith(code: ErrorCode, promise: Promise<unknown>): Promise<void> {
  await assert.rejects(promise, (error) => {
    assert.ok(error instanceof RustreError, String(error));
    assert.equal(error.code, code, error.message);
    return true;
  });
}

export function throwsWith(code: ErrorCode, action: () => unknown): void {
  assert.throws(action, (error) => {
    assert.ok(error instanceof RustreError, String(error));
    assert.equal(error.code, code, error.message);
    return true;
  });
}
