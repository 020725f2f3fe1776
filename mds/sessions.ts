// Sessions: a client's lease on what it left half done. While the session lives, its pending creates
// and open files do; when it ends, they are removed, and nothing that the client sent can take
// effect any more.

import { RustreError } from "../shared/errors.ts";
import { limits } from "../shared/limits.ts";
import { keyAfter } from "../shared/store/store.ts";
import { readOnly, transact } from "../shared/store/transact.ts";
import type { MdsContext, Mutation } from "./context.ts";
import { addGarbage, findInode, leaveUncommitted } from "./inodes.ts";
import { nowNs, randomHex } from "../shared/environment.ts";
import { decodePending, decodeSession, encodeSession, type Session } from "./values.ts";

/** Pending creates and open files that one transaction removes. */
const cleanUpBatch = 100;
/** Sessions read with one transaction. */
const sessionsPage = 1000;

/**
 * Opens a session under an id that nobody had before. The mds makes it and not the client: a request
 * that comes again, however late, opens another one, and no session ever comes back after its end.
 */
export async function openSession(context: MdsContext): Promise<string> {
  const clientId = randomHex(context.environment.random, 16);
  await transact(context, (transaction) => {
    transaction.set(context.schema.session(clientId), liveSession(context));
    return Promise.resolve();
  });
  return clientId;
}

export async function renewSession(context: MdsContext, clientId: string): Promise<void> {
  await transact(context, async (transaction) => {
    const key = context.schema.session(clientId);
    const value = await transaction.get(key);
    if (!value || decodeSession(value).over) throw sessionOver();
    transaction.set(key, liveSession(context));
  });
}

function liveSession({ environment }: MdsContext): Uint8Array {
  const expiresAtMs = Math.ceil(environment.clock.nowMs()) + limits.sessionLeaseMs;
  return encodeSession({ expiresAtMs, over: false });
}

function sessionOver(): RustreError {
  return new RustreError("SESSION_OVER", "the client's session is over");
}

/** What the end of a session leaves to the collector. */
export interface Leftovers {
  readonly leftGarbage: boolean;
  /** Whether there are objects to cut. */
  readonly leftCut: boolean;
}

/** Ends a session, and tells what that left. Done again after a crash, it goes on. */
export async function endSession(
  context: MdsContext,
  clientId: string,
): Promise<Leftovers> {
  if (!await markOver(context, clientId)) return { leftGarbage: false, leftCut: false };
  if (await leftSomething(context, clientId)) await context.maps.raiseEpoch();
  return await cleanUpAfter(context, clientId);
}

/**
 * From now on nothing that the client sent has an effect at an mds. False where there is no such
 * session, or it is not as it was any more.
 */
function markOver(
  context: MdsContext,
  clientId: string,
  isDue: (expiresAtMs: number) => boolean = () => true,
): Promise<boolean> {
  const key = context.schema.session(clientId);
  return transact(context, async (transaction) => {
    const value = await transaction.get(key);
    if (!value) return false;
    const session = decodeSession(value);
    if (session.over) return true;
    if (!isDue(session.expiresAtMs)) return false;
    transaction.set(key, encodeSession({ ...session, over: true }));
    return true;
  });
}

/**
 * Whether it may have writes on their way to an OST, which knows no sessions: a new epoch, known
 * before anybody gets at those files, keeps them out.
 */
function leftSomething({ schema, ...context }: MdsContext, clientId: string): Promise<boolean> {
  return readOnly(context, async (transaction) => {
    const rows = await Promise.all(
      [schema.pendingOf(clientId), schema.writingOf(clientId)]
        .map((range) => transaction.getRange(range, { limit: 1 })),
    );
    return rows.flat().length > 0;
  });
}

/** Removes what a session that is over has left, then forgets it. */
async function cleanUpAfter(context: MdsContext, clientId: string): Promise<Leftovers> {
  let [leftGarbage, leftCut] = [false, false];
  while (await removeSomePending(context, clientId) > 0) leftGarbage = true;
  while (await closeSomeFiles(context, clientId) > 0) leftCut = true;
  await transact(context, (transaction) => {
    transaction.deleteRange(context.schema.replies(clientId));
    transaction.delete(context.schema.session(clientId));
    return Promise.resolve();
  });
  return { leftGarbage, leftCut };
}

/** Each returns how many it removed. */
function removeSomePending(context: MdsContext, clientId: string): Promise<number> {
  return transact(context, async (transaction) => {
    const mutation = cleanUp(context, clientId, transaction);
    const range = context.schema.pendingOf(clientId);
    const rows = await transaction.getRange(range, { limit: cleanUpBatch });
    for (const { key, value } of rows) {
      transaction.delete(key);
      addGarbage(mutation, decodePending(value).inode);
    }
    return rows.length;
  });
}

/** Nobody knows how far it had written, and what of it was committed. */
function closeSomeFiles(context: MdsContext, clientId: string): Promise<number> {
  const { schema } = context;
  return transact(context, async (transaction) => {
    const rows = await transaction.getRange(schema.writingOf(clientId), { limit: cleanUpBatch });
    const mutation = cleanUp(context, clientId, transaction);
    const inodes = await Promise.all(
      rows.map(({ key }) => findInode(mutation, schema.inoOf(key))),
    );
    for (const inode of inodes) if (inode) leaveUncommitted(mutation, inode.ino);
    for (const { key } of rows) {
      transaction.delete(key);
      transaction.delete(schema.writer(schema.writerOf(clientId, key)));
    }
    return rows.length;
  });
}

function cleanUp(
  context: MdsContext,
  clientId: string,
  transaction: Mutation["transaction"],
): Mutation {
  const timeNs = nowNs(context.environment.clock);
  // Whoever ends the session tells the collector, by what was removed.
  return {
    context,
    transaction,
    clientId,
    nowNs: timeNs,
    noteGarbage: () => {},
    noteCut: () => {},
  };
}

/**
 * What one collector has seen of the sessions. It measures with its own clock for how long a session
 * was not renewed: those of the mds that renew them need not agree.
 */
export class SessionWatch {
  /** By client id: what the last renewal wrote, and since when it is so, on the monotonic clock. */
  readonly #seen = new Map<string, { readonly expiresAtMs: number; readonly sinceMs: number }>();

  /** Of all sessions that there are: those that are over, or not renewed for a whole lease. */
  due(sessions: ReadonlyMap<string, Session>, nowMs: number): string[] {
    for (const clientId of this.#seen.keys()) {
      if (!sessions.has(clientId)) this.#seen.delete(clientId);
    }
    const due: string[] = [];
    for (const [clientId, { expiresAtMs, over }] of sessions) {
      const seen = this.#seen.get(clientId);
      if (seen?.expiresAtMs !== expiresAtMs) {
        this.#seen.set(clientId, { expiresAtMs, sinceMs: nowMs });
      } else if (nowMs - seen.sinceMs >= limits.sessionLeaseMs) {
        due.push(clientId);
        continue;
      }
      if (over) due.push(clientId);
    }
    return due;
  }

  /** Whether a session is as it was seen last. */
  isUnchanged(clientId: string, expiresAtMs: number): boolean {
    return this.#seen.get(clientId)?.expiresAtMs === expiresAtMs;
  }
}

/** Ends every session that `watch` finds due: all of them are over before the first is cleaned up. */
export async function endExpiredSessions(
  context: MdsContext,
  watch: SessionWatch,
): Promise<void> {
  const sessions = await allSessions(context);
  const over: string[] = [];
  let leftAny = false;
  for (const clientId of watch.due(sessions, context.environment.clock.monotonicMs())) {
    const isDue = (expiresAtMs: number) => watch.isUnchanged(clientId, expiresAtMs);
    if (!await markOver(context, clientId, isDue)) continue;
    over.push(clientId);
    leftAny ||= await leftSomething(context, clientId);
  }
  if (leftAny) await context.maps.raiseEpoch();
  for (const clientId of over) {
    await cleanUpAfter(context, clientId);
    context.log.info("Ended the session of a silent client", { clientId });
  }
}

async function allSessions(context: MdsContext): Promise<Map<string, Session>> {
  const { schema } = context;
  const sessions = new Map<string, Session>();
  let range = schema.sessions();
  for (;;) {
    const rows = await readOnly(
      context,
      (transaction) => transaction.getRange(range, { limit: sessionsPage, snapshot: true }),
    );
    for (const { key, value } of rows) {
      sessions.set(schema.clientOfSession(key), decodeSession(value));
    }
    const last = rows.at(-1);
    if (!last || rows.length < sessionsPage) return sessions;
    range = { begin: keyAfter(last.key), end: range.end };
  }
}
