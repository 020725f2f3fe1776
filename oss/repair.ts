// Mends the copies of an object, here and on its replicas, from each other. The primary does it, in
// its order of writes: nobody changes the range meanwhile, so that copies that are good are the same.

import { blockBytes } from "../shared/checksums.ts";
import { RustreError } from "../shared/errors.ts";
import type { Logger } from "../shared/logging.ts";
import type { ObjectId } from "../shared/model.ts";
import { blocksOf, type ObjectCopy } from "./object_copies.ts";
import { missingObject } from "./object_store.ts";
import type { Range } from "./range_locks.ts";

export interface RepairOptions {
  readonly object: ObjectId;
  /** Of whole blocks. */
  readonly range: Range;
  /** The copy on this OST. */
  readonly local: ObjectCopy;
  readonly replicas: readonly ObjectCopy[];
  /** OSTs whose copies cannot be asked: nothing is lost as long as they may be good. */
  readonly unreachable: readonly number[];
  readonly log: Logger;
}

export interface RepairResult {
  /** Blocks of copies that are right again. */
  repairedBlocks: number;
  /** Blocks of copies of which no copy is good. */
  lostBlocks: number;
}

/** `undefined`: the copy does not exist. */
type Lengths = Map<ObjectCopy, number | undefined>;

/** Neighbouring blocks that are bad in the same copies. */
interface BadRange {
  readonly range: Range;
  readonly bad: readonly ObjectCopy[];
  readonly good: readonly ObjectCopy[];
}

export async function repair(options: RepairOptions): Promise<RepairResult> {
  const { local, replicas, unreachable } = options;
  const copies = [local, ...replicas];
  const lengths: Lengths = await mapOf(copies, (copy) => copy.lengthBytes());
  const range = within(options.range, objectLength(options, lengths));
  const badRanges = await findBadRanges(copies, range, lengths);
  const result = { repairedBlocks: 0, lostBlocks: 0 };
  for (const each of badRanges) {
    const blocks = blocksOf(each.range).length * each.bad.length;
    const [source] = each.good;
    if (source) {
      await mend(options, each, source);
      result.repairedBlocks += blocks;
    } else if (unreachable.length === 0) {
      reportLost(options, each);
      result.lostBlocks += blocks;
    } else throw unknown(options, each);
  }
  return result;
}

/**
 * How long the object is: as long as its copy here. What another one has beyond that is being cut
 * off: a truncated file is cut at the primary first. Where there is none here, it is lost, and the
 * longest one tells.
 */
function objectLength({ object, local }: RepairOptions, lengths: Lengths): number {
  const known = [...lengths.values()].filter((length) => length !== undefined);
  const [first] = known;
  if (first === undefined) {
    throw missingObject("repair", { object, targetIndex: local.targetIndex });
  }
  return lengths.get(local) ?? Math.max(...known);
}

function within({ startBytes, endBytes }: Range, lengthBytes: number): Range {
  return { startBytes, endBytes: Math.max(startBytes, Math.min(endBytes, lengthBytes)) };
}

async function findBadRanges(
  copies: readonly ObjectCopy[],
  range: Range,
  lengths: Lengths,
): Promise<BadRange[]> {
  const badBlocks = await mapOf(copies, (copy) => badBlocksOf(copy, range, lengths.get(copy) ?? 0));
  const badRanges: BadRange[] = [];
  for (const block of blocksOf(range)) {
    const bad = copies.filter((copy) => badBlocks.get(copy)!.has(block));
    if (bad.length === 0) continue;
    const good = copies.filter((copy) => !bad.includes(copy));
    const startBytes = block * blockBytes;
    const endBytes = Math.min(startBytes + blockBytes, range.endBytes);
    const last = badRanges.at(-1);
    const continues = last?.range.endBytes === startBytes && isSameList(last.bad, bad);
    const start = continues ? badRanges.pop()!.range.startBytes : startBytes;
    badRanges.push({ range: { startBytes: start, endBytes }, bad, good });
  }
  return badRanges;
}

/** Those that are damaged, and those of which it lacks bytes. */
async function badBlocksOf(
  copy: ObjectCopy,
  range: Range,
  lengthBytes: number,
): Promise<Set<number>> {
  const wholeBytes = lengthBytes >= range.endBytes
    ? range.endBytes
    : Math.floor(lengthBytes / blockBytes) * blockBytes;
  const present = within(range, wholeBytes);
  const damaged = present.startBytes < present.endBytes ? await copy.damagedBlocks(present) : [];
  return new Set([...damaged, ...blocksOf({ ...range, startBytes: present.endBytes })]);
}

/** Asks all copies at once. */
async function mapOf<T>(
  copies: readonly ObjectCopy[],
  ask: (copy: ObjectCopy) => Promise<T>,
): Promise<Map<ObjectCopy, T>> {
  return new Map(
    await Promise.all(copies.map(async (copy) => [copy, await ask(copy)] as const)),
  );
}

function isSameList<T>(a: readonly T[], b: readonly T[]): boolean {
  return a.length === b.length && a.every((each, index) => each === b[index]);
}

/** Writes a range of the bad copies again, onto their disks, and looks whether it is right then. */
async function mend(
  { object, log }: RepairOptions,
  { range, bad }: BadRange,
  source: ObjectCopy,
): Promise<void> {
  const copied = await source.read(range);
  for (const copy of bad) {
    await copy.write(range.startBytes, copied);
    await copy.sync();
    const [still] = await copy.damagedBlocks(range);
    const ost = copy.targetIndex;
    if (still !== undefined) throw stillDamaged(object, ost, still * blockBytes);
    log.warn("Repaired a damaged range of an object", {
      object,
      ost,
      offsetBytes: range.startBytes,
      lengthBytes: range.endBytes - range.startBytes,
      source: source.targetIndex,
    });
  }
}

function reportLost({ object, log }: RepairOptions, { range, bad }: BadRange): void {
  log.error("Lost a range of an object: no copy of it is good", {
    object,
    osts: bad.map(({ targetIndex }) => targetIndex),
    offsetBytes: range.startBytes,
    lengthBytes: range.endBytes - range.startBytes,
  });
}

function unknown({ object, unreachable }: RepairOptions, { range }: BadRange): RustreError {
  const what = `object "${object}" at ${range.startBytes}`;
  return new RustreError(
    "TARGET_DOWN",
    `Cannot repair ${what}: no copy is good but perhaps that of OST ${unreachable.join(", ")}, ` +
      "which is down",
  );
}

function stillDamaged(object: ObjectId, ost: number, offsetBytes: number): RustreError {
  const what = `object "${object}" on OST ${ost}`;
  return new RustreError(
    "DATA_CORRUPT",
    `Cannot repair ${what}: its bytes at ${offsetBytes} are damaged again right after a write`,
  );
}
