// How a check reads a store that is in use: page by page in transactions of their own, and what is to
// be compared in one transaction, which sees one moment.

import { sleep } from "../../shared/environment.ts";
import { messageOf } from "../../shared/errors.ts";
import { limits } from "../../shared/limits.ts";
import { interrupted } from "../../shared/deadline.ts";
import {
  type Key,
  keyAfter,
  type KeyRange,
  type KeyValue,
  type ReadTransaction,
} from "../../shared/store/store.ts";
import { readOnly, type TransactionContext } from "../../shared/store/transact.ts";
import { decodeCounter, type Inode, type Schema } from "../schema.ts";
import { decodeInode } from "../schema.ts";
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
  /** Keys that are read at a time. */
  readonly pageEntries: number;
}

export function checkSignal({ signal }: CheckContext): void {
  if (signal?.aborted) throw interrupted(signal);
}

export async function pause(context: CheckContext, delayMs: number): Promise<void> {
  checkSignal(context);
  await sleep(context.environment.clock, delayMs, context.signal);
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

/** The inode number of 16 hexadecimal digits. */
export function parseIno(digits: string): number | undefined {
  if (!/^[0-9a-f]{16}$/.test(digits)) return undefined;
  const ino = Number.parseInt(digits, 16);
  return ino >= 1 && ino <= limits.inodeMax ? ino : undefined;
}

export function sameBytes(left: Uint8Array | undefined, right: Uint8Array | undefined): boolean {
  if (!left || !right) return left === right;
  return left.length === right.length && left.every((byte, index) => byte === right[index]);
}

// ── counting ───────────────────────────────────────────────────────────────────────────────────

export interface CountedRange {
  readonly range: KeyRange;
  /** Whether a pair counts. */
  readonly counts: (pair: KeyValue) => boolean;
  readonly counterKey: Key;
}

/**
 * How a counter and what it counts compare. "moment": both are of one moment. "rounds": there is too
 * much to count in one transaction, and several counts differed from the counter, which stood still,
 * by the same number.
 */
export interface Comparison {
  readonly counter: number;
  readonly counted: number;
  readonly of: "moment" | "rounds";
}

const roundsThatAgree = 3;

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
  if (atOnce) return { ...atOnce, of: "moment" };
  let first: { counter: number; counted: number } | undefined;
  for (let round = 0; round < roundsThatAgree; round++) {
    const now = await countInPages(context, counted);
    if (!now) return "undecided";
    if (now.counter === now.counted) return { ...now, of: "rounds" };
    first ??= now;
    if (now.counter !== first.counter || now.counted !== first.counted) return "undecided";
  }
  return first ? { ...first, of: "rounds" } : "undecided";
}

/** Nothing where that is too much for one transaction. */
async function countIn(
  transaction: ReadTransaction,
  { environment: { clock }, pageEntries: limit }: CheckContext,
  { range, counts, counterKey }: CountedRange,
): Promise<{ counter: number; counted: number } | undefined> {
  const endMs = clock.monotonicMs() + limits.checkTransactionMs;
  const counter = await transaction.get(counterKey, { snapshot: true });
  let [counted, pages] = [0, 0];
  for (let { begin, end } = range;;) {
    const page = await transaction.getRange({ begin, end }, { limit, snapshot: true });
    for (const pair of page) if (counts(pair)) counted++;
    const last = page.at(-1);
    if (!last || page.length < limit) return { counter: counterIn(counter), counted };
    if (clock.monotonicMs() >= endMs || ++pages >= limits.checkMomentPages) return undefined;
    begin = keyAfter(last.key);
  }
}

async function countInPages(
  context: CheckContext,
  { range, counts, counterKey }: CountedRange,
): Promise<{ counter: number; counted: number } | undefined> {
  const [before] = await valuesOf(context, [counterKey]);
  let counted = 0;
  for await (const page of pagesOf(context, range)) {
    for (const pair of page) if (counts(pair)) counted++;
  }
  const [after] = await valuesOf(context, [counterKey]);
  return sameBytes(before, after) ? { counter: counterIn(after), counted } : undefined;
}

/** A counter of another length is told of elsewhere, and not compared with anything. */
export function counterIn(value: Uint8Array | undefined): number {
  return value && value.length !== 8 ? NaN : decodeCounter(value);
}
