// The repairs of a check. Each is one transaction that reads again, as a part of its commit, all that
// makes the repair right, and changes nothing where that does not hold any more.

import { nowNs } from "../../shared/environment.ts";
import { RustreError } from "../../shared/errors.ts";
import { limits } from "../../shared/limits.ts";
import { rootInode } from "../../shared/model.ts";
import type { Key, Transaction } from "../../shared/store/store.ts";
import { transact } from "../../shared/store/transact.ts";
import {
  decodeChild,
  decodeNumber,
  encodeChild,
  encodeDirectoryTimes,
  encodeInode,
  encodeNumber,
  encodeSession,
  type Inode,
  present,
} from "../schema.ts";
import { type CheckContext, counterIn, inodeIn, sameBytes, tryDecode } from "./reading.ts";
import type { Entry } from "./rules.ts";

/** Where inodes go that no name leads to. */
export const lostAndFound = "lost+found";

/** Of a record as it was when it was found to be wrong. */
export interface Evidence {
  readonly ino: number;
  readonly value: Uint8Array;
}

function run(
  context: CheckContext,
  repair: (transaction: Transaction) => Promise<boolean>,
): Promise<boolean> {
  return transact(context, repair);
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
  return sameBytes(now, value) && names.every((each) => entryIno(each) === ino);
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

/** The directory says that it is where its one name is. */
export function setParent(
  context: CheckContext,
  evidence: Evidence,
  inode: Inode,
  entry: Entry,
): Promise<boolean> {
  return run(context, async (transaction) => {
    if (!(await holds(transaction, context, evidence, [entry]))) return false;
    const { parent } = entry;
    transaction.set(context.schema.inode(inode.ino), encodeInode({ ...inode, parent }));
    return true;
  });
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
  const ino = next ? decodeNumber(next) : rootInode + 1;
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

/** What belongs to a directory goes where that is none. */
export function forgetDirectory(context: CheckContext, ino: number): Promise<boolean> {
  const { schema } = context;
  return run(context, async (transaction) => {
    if (inodeIn(await transaction.get(schema.inode(ino)))?.type === "directory") return false;
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
    if (next && decodeNumber(next) > ino) return true;
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

/** One of two keys that come and go together goes where the other one is missing. */
export function removeHalf(context: CheckContext, half: Key, other: Key): Promise<boolean> {
  return run(context, async (transaction) => {
    const [present, missing] = await Promise.all([transaction.get(half), transaction.get(other)]);
    if (!present || missing) return false;
    transaction.delete(half);
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
    if (!next || decodeNumber(next) <= ino) return false;
    transaction.set(schema.garbage(targetIndex, ino), present);
    return true;
  });
}
