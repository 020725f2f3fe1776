// The repairs of a check. Each is one transaction that reads again, as a part of its commit, all that
// makes the repair right, and changes nothing where that does not hold any more.

import { nowNs } from "../../shared/environment.ts";
import { RustreError } from "../../shared/errors.ts";
import { limits } from "../../shared/limits.ts";
import { rootInode } from "../../shared/model.ts";
import { equalBytes } from "../../shared/store/key_range.ts";
import type { Key, ReadTransaction, Transaction } from "../../shared/store/store.ts";
import { transact } from "../../shared/store/transact.ts";
import {
  decodeChild,
  encodeChild,
  encodeDirectoryTimes,
  encodeInode,
  encodeNumber,
  encodeSession,
  endUnknown,
  type Inode,
  present,
} from "../values.ts";
import { type CheckContext, counterIn, decodeCount, inodeIn, tryDecode } from "./reading.ts";
import type { Entry } from "./rules.ts";

/** Where inodes go that no name leads to. */
const lostAndFound = "lost+found";

/** Of a record as it was when it was found to be wrong. */
export interface Evidence {
  readonly ino: number;
  readonly value: Uint8Array;
}

/** Under the lease: of two repairs at once one would take what the other has done for damage. */
function run(
  context: CheckContext,
  repair: (transaction: Transaction) => Promise<boolean>,
): Promise<boolean> {
  return transact(context, async (transaction) => {
    await context.lease?.requireHeld(transaction);
    return await repair(transaction);
  });
}

/**
 * Every change of the names of an inode writes its record. So where the record and the names that
 * were found are as they were, there are no others.
 */
async function holds(
  transaction: Transaction,
  { schema }: CheckContext,
  { ino, value }: Evidence,
  entries: readonly Entry[],
): Promise<boolean> {
  const [now, ...names] = await Promise.all([
    transaction.get(schema.inode(ino)),
    ...entries.map(({ parent, name }) => transaction.get(schema.child(parent, name))),
  ]);
  return equalBytes(now, value) && names.every((each) => entryIno(each) === ino);
}

function entryIno(value: Uint8Array | undefined): number | undefined {
  const decoded = value && tryDecode(decodeChild, value);
  return decoded && "content" in decoded ? decoded.content.ino : undefined;
}

// ── names and links ────────────────────────────────────────────────────────────────────────────

/** The inode gets as many links as names lead to it. */
export function setLinks(
  context: CheckContext,
  evidence: Evidence,
  inode: Inode,
  entries: readonly Entry[],
): Promise<boolean> {
  return run(context, async (transaction) => {
    if (!(await holds(transaction, context, evidence, entries))) return false;
    const links = entries.length;
    transaction.set(context.schema.inode(inode.ino), encodeInode({ ...inode, links }));
    return true;
  });
}

/** The directory says that it is where its one name is, unless that is below itself. */
export function setParent(
  context: CheckContext,
  evidence: Evidence,
  inode: Inode,
  entry: Entry,
): Promise<boolean> {
  return run(context, async (transaction) => {
    if (!(await holds(transaction, context, evidence, [entry]))) return false;
    const { parent } = entry;
    if (await liesBelow(transaction, context, parent, inode.ino)) {
      throw new RustreError("EINVAL", "its one name lies below itself");
    }
    transaction.set(context.schema.inode(inode.ino), encodeInode({ ...inode, parent }));
    return true;
  });
}

/** Whether a directory is `above` or one below it. */
export async function liesBelow(
  transaction: ReadTransaction,
  { schema }: CheckContext,
  directory: number,
  above: number,
): Promise<boolean> {
  let current: number | undefined = directory;
  for (let depth = 0; depth < limits.directoryDepthMax; depth++) {
    if (current === above) return true;
    if (current === undefined || current === rootInode) return false;
    current = inodeIn(await transaction.get(schema.inode(current), { snapshot: true }))?.parent;
  }
  return false;
}

/** The entry says what the inode is, and is counted as that. */
export function setEntryType(
  context: CheckContext,
  entry: Entry,
  inode: Inode,
): Promise<boolean> {
  const { schema } = context;
  const { parent, name, ino } = entry;
  return run(context, async (transaction) => {
    const value = await transaction.get(schema.child(parent, name));
    const now = inodeIn(await transaction.get(schema.inode(ino)));
    if (!value || now?.type !== inode.type) return false;
    const before = decodeChild(value);
    if (before.ino !== ino || before.type === now.type) return false;
    transaction.set(schema.child(parent, name), encodeChild({ ino, type: now.type }));
    if (before.type === "directory") transaction.add(schema.directoryLinks(parent), -1n);
    if (now.type === "directory") transaction.add(schema.directoryLinks(parent), 1n);
    return true;
  });
}

/** A name that leads to nothing goes. Its number is not used again, so nothing can come there. */
export function removeEntry(context: CheckContext, entry: Entry): Promise<boolean> {
  const { schema } = context;
  const { parent, name, ino } = entry;
  return run(context, async (transaction) => {
    const value = await transaction.get(schema.child(parent, name));
    if (entryIno(value) !== ino || await transaction.get(schema.inode(ino))) return false;
    transaction.delete(schema.child(parent, name));
    if (entry.type === "directory") transaction.add(schema.directoryLinks(parent), -1n);
    return true;
  });
}

/** A directory whose inode is lost is made again, so that what is in it can be reached. */
export function remakeDirectory(context: CheckContext, entry: Entry): Promise<boolean> {
  const { schema } = context;
  const { parent, name, ino } = entry;
  return run(context, async (transaction) => {
    const value = await transaction.get(schema.child(parent, name));
    if (entryIno(value) !== ino || await transaction.get(schema.inode(ino))) return false;
    addDirectory(transaction, context, ino, parent);
    return true;
  });
}

/** An inode without a name gets one that says its number. */
export function attachToLostAndFound(
  context: CheckContext,
  evidence: Evidence,
  inode: Inode,
): Promise<boolean> {
  const { schema } = context;
  const { ino, type } = inode;
  return run(context, async (transaction) => {
    if (!(await holds(transaction, context, evidence, []))) return false;
    const directory = await lostAndFoundDirectory(transaction, context);
    const key = schema.child(directory, `#${ino}`);
    if (await transaction.get(key)) {
      throw new RustreError("EEXIST", `Cannot make "/${lostAndFound}/#${ino}": already exists`);
    }
    transaction.set(key, encodeChild({ ino, type }));
    if (type === "directory") transaction.add(schema.directoryLinks(directory), 1n);
    const parent = type === "directory" ? { parent: directory } : {};
    const attached = { ...inode, links: 1, ...parent, ctimeNs: nowNs(context.environment.clock) };
    transaction.set(schema.inode(ino), encodeInode(attached));
    return true;
  });
}

/** Made where it is missing, for root alone. */
async function lostAndFoundDirectory(
  transaction: Transaction,
  context: CheckContext,
): Promise<number> {
  const { schema } = context;
  const key = schema.child(rootInode, lostAndFound);
  const value = await transaction.get(key);
  if (value) {
    const { ino, type } = decodeChild(value);
    if (type === "directory" && await transaction.get(schema.inode(ino))) return ino;
    throw new RustreError("ENOTDIR", `Cannot use "/${lostAndFound}": it is no directory`);
  }
  const next = await transaction.get(schema.nextIno);
  const ino = next ? decodeCount(next) : rootInode + 1;
  if (await transaction.get(schema.inode(ino))) {
    throw new RustreError("EAGAIN", `number ${ino} is not free; check again`);
  }
  transaction.set(schema.nextIno, encodeNumber(ino + 1));
  addDirectory(transaction, context, ino, rootInode);
  transaction.set(key, encodeChild({ ino, type: "directory" }));
  transaction.add(schema.directoryLinks(rootInode), 1n);
  return ino;
}

function addDirectory(
  transaction: Transaction,
  { schema, environment }: CheckContext,
  ino: number,
  parent: number,
): void {
  const timeNs = nowNs(environment.clock);
  const times = { atimeNs: timeNs, mtimeNs: timeNs, ctimeNs: timeNs };
  const inode: Inode = {
    ...{ ino, type: "directory", mode: 0o700, uid: 0, gid: 0, parent },
    ...{ links: 1, sizeBytes: 0, dataEndBytes: 0 },
    ...times,
  };
  transaction.set(schema.inode(ino), encodeInode(inode));
  transaction.set(schema.directoryTimes(ino), encodeDirectoryTimes(times));
  transaction.add(schema.inodeCount, 1n);
}

// ── counters ───────────────────────────────────────────────────────────────────────────────────

/**
 * Every operation changes a counter and what it counts by the same number. So as long as nobody else
 * has corrected the counter, it is wrong by what it was wrong by; to be sure of that, it must not
 * have changed at all.
 */
export function correctCounter(
  context: CheckContext,
  key: Key,
  { counter, counted }: { counter: number; counted: number },
): Promise<boolean> {
  return run(context, async (transaction) => {
    if (!Object.is(counterIn(await transaction.get(key)), counter)) {
      throw new RustreError("EAGAIN", "it changed again meanwhile; check again");
    }
    transaction.delete(key);
    transaction.add(key, BigInt(counted));
    return true;
  });
}

/** What belongs to a directory goes where that is none. One that nobody can read may be one. */
export function forgetDirectory(context: CheckContext, ino: number): Promise<boolean> {
  const { schema } = context;
  return run(context, async (transaction) => {
    const value = await transaction.get(schema.inode(ino));
    const type = inodeIn(value)?.type;
    if (value && (type === undefined || type === "directory")) return false;
    transaction.delete(schema.directoryLinks(ino));
    transaction.delete(schema.directoryTimes(ino));
    return true;
  });
}

/**
 * No number up to `ino` is handed out any more, nor any that an mds may have taken with it and not
 * used yet: nobody knows how many those are.
 */
export function raiseNextIno(context: CheckContext, ino: number): Promise<boolean> {
  const { schema } = context;
  return run(context, async (transaction) => {
    const next = await transaction.get(schema.nextIno);
    if (next && decodeCount(next) > ino) return true;
    transaction.set(schema.nextIno, encodeNumber(ino + 1 + limits.checkNumbersSkipped));
    return true;
  });
}

// ── work under way ─────────────────────────────────────────────────────────────────────────────

/** What is left of a client without a session gets one that is over: the collector ends it. */
export function endLostSession(context: CheckContext, clientId: string): Promise<boolean> {
  const { schema } = context;
  return run(context, async (transaction) => {
    if (await transaction.get(schema.session(clientId))) return false;
    transaction.set(schema.session(clientId), encodeSession({ expiresAtMs: 0, over: true }));
    return true;
  });
}

/**
 * Of two keys that come and go together the missing one is made again. The client may be writing:
 * without either it could not commit that. The end of its session removes both.
 */
export function completeHalf(context: CheckContext, half: Key, other: Key): Promise<boolean> {
  return run(context, async (transaction) => {
    const [there, missing] = await Promise.all([transaction.get(half), transaction.get(other)]);
    if (!there || missing) return false;
    transaction.set(other, present);
    return true;
  });
}

/** A file that exists is no garbage. */
export function spareFile(
  context: CheckContext,
  garbage: Key,
  file: Key,
): Promise<boolean> {
  return run(context, async (transaction) => {
    const [isGarbage, exists] = await Promise.all([
      transaction.get(garbage),
      transaction.get(file),
    ]);
    if (!isGarbage || !exists) return false;
    transaction.delete(garbage);
    return true;
  });
}

/**
 * Leaves the objects of inodes that are gone to the collector. Once an inode is neither pending nor
 * in the tree it never comes back, so that it was so at one moment is enough.
 */
export function addGarbage(
  context: CheckContext,
  targetIndex: number,
  ino: number,
): Promise<boolean> {
  const { schema } = context;
  return run(context, async (transaction) => {
    if (await transaction.get(schema.inode(ino))) return false;
    const next = await transaction.get(schema.nextIno, { snapshot: true });
    if (!next || decodeCount(next) <= ino) return false;
    transaction.set(schema.garbage(targetIndex, ino), present);
    return true;
  });
}

/** Leaves the bytes behind the end of a file's data to the collector, which cuts them off. */
export function addCut(context: CheckContext, { ino, value }: Evidence): Promise<boolean> {
  const { schema } = context;
  return run(context, async (transaction) => {
    const [now, cut, writers] = await Promise.all([
      transaction.get(schema.inode(ino)),
      transaction.get(schema.truncation(ino)),
      transaction.getRange(schema.writers(ino), { limit: 1 }),
    ]);
    if (cut || writers.length > 0 || !equalBytes(now, value)) return false;
    transaction.set(schema.truncation(ino), encodeNumber(endUnknown));
    return true;
  });
}
