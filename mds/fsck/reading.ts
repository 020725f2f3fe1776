// How a check reads a store that is in use: page by page in transactions of their own, and what is to
// be compared in one transaction, which sees one moment.

import { createHash } from "node:crypto";
import { messageOf, RustreError } from "../../shared/errors.ts";
import { limits } from "../../shared/limits.ts";
import { rootInode } from "../../shared/model.ts";
import { interrupted, pause as pauseFor } from "../../shared/deadline.ts";
import {
  type Key,
  keyAfter,
  type KeyRange,
  type KeyValue,
  type ReadTransaction,
} from "../../shared/store/store.ts";
import { equalBytes } from "../../shared/store/key_range.ts";
import type { Lease } from "../../shared/store/lease.ts";
import { readOnly, type TransactionContext } from "../../shared/store/transact.ts";
import type { Schema } from "../schema.ts";
import { decodeCounter, decodeInode, decodeNumber, type Inode } from "../values.ts";
import type { Report } from "./findings.ts";

/** How far a check has come. `done` counts what `stage` says. */
export interface CheckProgress {
  readonly stage: "entries" | "inodes" | "suspects" | "work under way" | "objects";
  readonly done: number;
  readonly expected?: number;
}

export interface CheckContext extends TransactionContext {
  readonly schema: Schema;
  readonly report: Report;
  readonly signal?: AbortSignal | undefined;
  readonly onProgress: (progress: CheckProgress) => void;
  /** Whether a repair may destroy objects of which nobody knows the file. */
  readonly deleteOrphans: boolean;
  /** Under which repairs are made; nothing where none are. */
  readonly lease: Lease | undefined;
  /** Keys that are read at a time. */
  readonly pageEntries: number;
}

function checkSignal({ signal }: CheckContext): void {
  if (signal?.aborted) throw interrupted(signal);
}

export function pause({ environment, signal }: CheckContext, delayMs: number): Promise<void> {
  return pauseFor(environment.clock, delayMs, signal);
}

/** The pairs of a range in pages that are not empty, each of its own moment. */
export async function* pagesOf(context: CheckContext, range: KeyRange): AsyncGenerator<KeyValue[]> {
  let { begin } = range;
  const { end } = range;
  const limit = context.pageEntries;
  for (;;) {
    checkSignal(context);
    const page = await readOnly(
      context,
      (transaction) => transaction.getRange({ begin, end }, { limit, snapshot: true }),
    );
    const last = page.at(-1);
    if (last) yield page;
    if (!last || page.length < limit) return;
    begin = keyAfter(last.key);
  }
}

/** The values of some keys at one moment, in their order. */
export function valuesOf(
  context: CheckContext,
  keys: readonly Key[],
): Promise<(Uint8Array | undefined)[]> {
  return readOnly(
    context,
    (transaction) => Promise.all(keys.map((key) => transaction.get(key, { snapshot: true }))),
  );
}

/** Runs `task` for each item, so many at once. */
export async function forEach<T>(items: readonly T[], task: (item: T) => Promise<void>) {
  const size = limits.checkReadsInFlight;
  for (let start = 0; start < items.length; start += size) {
    await Promise.all(items.slice(start, start + size).map(task));
  }
}

// ── decoding ───────────────────────────────────────────────────────────────────────────────────

export type Decoded<T> = { readonly content: T } | { readonly problem: string };

/** A record that nobody can read is a finding, whatever the decoder made of it. */
export function tryDecode<T>(decode: (value: Uint8Array) => T, value: Uint8Array): Decoded<T> {
  try {
    return { content: decode(value) };
  } catch (error) {
    return { problem: messageOf(error) };
  }
}

/** The inode of a record, or nothing where there is none that can be read. */
export function inodeIn(value: Uint8Array | undefined): Inode | undefined {
  if (!value) return undefined;
  const decoded = tryDecode(decodeInode, value);
  return "content" in decoded ? decoded.content : undefined;
}

/** As decodeNumber, of what has to be a whole number. */
export function decodeCount(value: Uint8Array): number {
  const number: unknown = decodeNumber(value);
  if (Number.isSafeInteger(number) && (number as number) >= 0) return number as number;
  throw new RustreError("STORE_FORMAT", `it is ${number}`);
}

/** The next inode number by its record; where nobody can read that, every number may be in use. */
export function nextInoIn(value: Uint8Array | undefined): number {
  if (!value) return rootInode + 1;
  const decoded = tryDecode(decodeCount, value);
  return "content" in decoded ? decoded.content : limits.inodeMax + 1;
}

/** The inode number of 16 hexadecimal digits. */
export function parseIno(digits: string): number | undefined {
  if (!/^[0-9a-f]{16}$/.test(digits)) return undefined;
  const ino = Number.parseInt(digits, 16);
  return ino >= 1 && ino <= limits.inodeMax ? ino : undefined;
}

// ── counting ───────────────────────────────────────────────────────────────────────────────────

export interface CountedRange {
  readonly range: KeyRange;
  /** Of a pair that counts, what shows that it is still the same one; nothing of others. */
  readonly identityOf: (pair: KeyValue) => string | undefined;
  readonly counterKey: Key;
  /** A record that is written whenever what counts changes, if there is one. */
  readonly witness?: Key;
}

/** A counter and what it counts, at one moment. */
export interface Comparison {
  readonly counter: number;
  readonly counted: number;
}

/** What is changed while it is counted is counted again so often. */
const momentTriesMax = 3;

/** "undecided": there is too much to count in a transaction, and it changes while it is counted. */
export async function compareCounter(
  context: CheckContext,
  counted: CountedRange,
): Promise<Comparison | "undecided"> {
  let tries = 0;
  const atOnce = await readOnly(context, (transaction) => {
    const again = ++tries <= momentTriesMax;
    return again ? countIn(transaction, context, counted) : Promise.resolve(undefined);
  });
  return atOnce ?? await countTwice(context, counted);
}

/** Nothing where that is too much for one transaction. */
async function countIn(
  transaction: ReadTransaction,
  { environment: { clock }, pageEntries: limit }: CheckContext,
  { range, identityOf, counterKey }: CountedRange,
): Promise<Comparison | undefined> {
  const endMs = clock.monotonicMs() + limits.checkTransactionMs;
  const counter = await transaction.get(counterKey, { snapshot: true });
  let [counted, pages] = [0, 0];
  for (let { begin, end } = range;;) {
    const page = await transaction.getRange({ begin, end }, { limit, snapshot: true });
    for (const pair of page) if (identityOf(pair) !== undefined) counted++;
    const last = page.at(-1);
    if (!last || page.length < limit) return { counter: counterIn(counter), counted };
    if (clock.monotonicMs() >= endMs || ++pages >= limits.checkMomentPages) return undefined;
    begin = keyAfter(last.key);
  }
}

/**
 * Two passes that find the same, and no inode number is used twice: so nothing came or went between
 * its two readings, and at the moment between the passes there was just what was counted. Where a
 * thing could go and come back, the witness tells.
 */
async function countTwice(
  context: CheckContext,
  range: CountedRange,
): Promise<Comparison | "undecided"> {
  const { counterKey, witness = counterKey } = range;
  // The times of changes from now on are others than those of changes before.
  await pause(context, limits.checkPauseMs);
  const [before] = await valuesOf(context, [witness]);
  const first = await countInPages(context, range);
  const [counter, between] = await valuesOf(context, [counterKey, witness]);
  const second = await countInPages(context, range);
  const [after] = await valuesOf(context, [witness]);
  const isSame = first.sha256 === second.sha256;
  const isWitnessed = range.witness === undefined ||
    (equalBytes(before, between) && equalBytes(between, after));
  if (!isSame || !isWitnessed) return "undecided";
  return { counter: counterIn(counter), counted: first.counted };
}

async function countInPages(
  context: CheckContext,
  { range, identityOf }: CountedRange,
): Promise<{ counted: number; sha256: string }> {
  const hash = createHash("sha256");
  let counted = 0;
  for await (const page of pagesOf(context, range)) {
    for (const pair of page) {
      const identity = identityOf(pair);
      if (identity === undefined) continue;
      counted++;
      hash.update(`${identity}\n`);
    }
  }
  return { counted, sha256: hash.digest("hex") };
}

/** A counter of another length is told of elsewhere, and not compared with anything. */
export function counterIn(value: Uint8Array | undefined): number {
  return value && value.length !== 8 ? NaN : decodeCounter(value);
}
