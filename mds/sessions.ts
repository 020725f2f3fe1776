// Sessions: a client's lease on what it left half done. While the session lives, its pending creates
// and open files do; when it ends, they are removed, and nothing that the client sent can take
// effect any more.

import { RustreError } from "../shared/errors.ts";
import { limits } from "../shared/limits.ts";
import { prefixRange } from "../shared/store/store.ts";
import { transact } from "../shared/store/transact.ts";
import type { MdsContext, Mutation } from "./context.ts";
import { addGarbage } from "./inodes.ts";
import { nowNs } from "../shared/environment.ts";
import { decodePending, decodeSession, encodeSession } from "./schema.ts";

/** Pending creates and open files that one transaction of endSession removes. */
const cleanUpBatch = 100;

/** Opens a session, or renews the client's. */
export async function openSession(context: MdsContext, clientId: string): Promise<void> {
  await transact(context, async (transaction) => {
    const key = context.schema.session(clientId);
    const value = await transaction.get(key);
    if (value && decodeSession(value).over) throw sessionOver();
    transaction.set(key, liveSession(context));
  });
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

/**
 * Ends a session, if `isDue` still says so of its record, and tells whether, and whether that left
 * garbage: refuses the client's mutations from then on, removes what it left, then forgets it. Done
 * again after a crash, it goes on where it was.
 */
export async function endSession(
  context: MdsContext,
  clientId: string,
  isDue: (expiresAtMs: number) => boolean = () => true,
): Promise<{ ended: boolean; leftGarbage: boolean }> {
  const ended = await transact(context, async (transaction) => {
    const value = await transaction.get(context.schema.session(clientId));
    if (!value) return false;
    const session = decodeSession(value);
    if (session.over) return true;
    if (!isDue(session.expiresAtMs)) return false;
    const over = { ...session, over: true };
    transaction.set(context.schema.session(clientId), encodeSession(over));
    return true;
  });
  if (!ended) return { ended, leftGarbage: false };
  let leftGarbage = false;
  while (await removeSomePending(context, clientId) > 0) leftGarbage = true;
  while (await closeSomeFiles(context, clientId) > 0);
  await transact(context, (transaction) => {
    transaction.deleteRange(context.schema.replies(clientId));
    transaction.delete(context.schema.session(clientId));
    return Promise.resolve();
  });
  return { ended, leftGarbage };
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

function closeSomeFiles(context: MdsContext, clientId: string): Promise<number> {
  const { schema } = context;
  return transact(context, async (transaction) => {
    const rows = await transaction.getRange(schema.writingOf(clientId), { limit: cleanUpBatch });
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

/** Ends every session whose lease is over. */
export async function endExpiredSessions(context: MdsContext): Promise<void> {
  const { schema, environment } = context;
  const isDue = (expiresAtMs: number) => expiresAtMs < environment.clock.nowMs();
  let range = schema.sessions();
  for (;;) {
    const rows = await transact(
      context,
      (transaction) => transaction.getRange(range, { limit: cleanUpBatch, snapshot: true }),
    );
    for (const { key, value } of rows) {
      const session = decodeSession(value);
      if (!session.over && !isDue(session.expiresAtMs)) continue;
      const clientId = schema.clientOfSession(key);
      const { ended } = await endSession(context, clientId, isDue);
      if (ended) context.log.info("Ended the session of a silent client", { clientId });
    }
    const last = rows.at(-1);
    if (!last || rows.length < cleanUpBatch) return;
    range = { begin: prefixRange(last.key).end, end: range.end };
  }
}
