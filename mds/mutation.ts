// Runs mutations: one transaction with the session's check, the stored reply of an earlier try, the
// operation itself, and its reply. Here lies the promise that a mutation has its effect once.

import { nowNs } from "../shared/environment.ts";
import { codeOfNumber, isRustreError, RustreError } from "../shared/errors.ts";
import { limits } from "../shared/limits.ts";
import type { Key, ReadTransaction } from "../shared/store/store.ts";
import { transact } from "../shared/store/transact.ts";
import type { MdsContext, Mutation } from "./context.ts";
import { inOrder } from "./inodes.ts";
import {
  decodeSession,
  decodeStoredReply,
  encodeStoredReply,
  requestIdOfStoredReply,
  type StoredFailure,
  type StoredReply,
} from "./values.ts";

/** Which mutation of which client. */
export interface MutationId {
  readonly clientId: string;
  /** Counts up from 1 in the life of a client id. */
  readonly requestId: number;
}

export interface MutationOutcome<Reply> {
  readonly reply: Reply;
  /** Whether the run that was committed left garbage to the collector. */
  readonly leftGarbage: boolean;
  /** Whether it left objects to cut. */
  readonly leftCut: boolean;
}

/**
 * Runs `operation`, unless the client's request has run before: then it is answered as it was. What
 * fails changes nothing; {@link rememberFailure} sees to it that it stays so.
 */
export async function runMutation<Reply>(
  context: MdsContext,
  id: MutationId,
  opcode: number,
  operation: (mutation: Mutation) => Promise<Reply>,
): Promise<MutationOutcome<Reply>> {
  const { clientId, requestId } = id;
  const slot = slotOf(context, id);
  try {
    return await transact(context, async (transaction) => {
      let [leftGarbage, leftCut] = [false, false];
      // Each round of reads is a way to the store and back. So the operation begins to read before
      // it is known whether it may run; where it may not, what it wrote goes with the transaction.
      const [, reply] = await inOrder([
        requireFirstRun(context, transaction, id, opcode),
        operation({
          context,
          transaction,
          clientId,
          nowNs: nowNs(context.environment.clock),
          noteGarbage: () => void (leftGarbage = true),
          noteCut: () => void (leftCut = true),
        }),
      ]);
      transaction.set(slot, encodeStoredReply({ requestId, opcode, reply }));
      return { reply, leftGarbage, leftCut };
    });
  } catch (error) {
    if (!(error instanceof RanBefore)) throw error;
    // What its run left is found a moment later without a word about it.
    return { reply: replyOf<Reply>(error.stored), leftGarbage: false, leftCut: false };
  }
}

/** Ends a transaction, without a commit, where the request has been answered before. */
class RanBefore extends Error {
  readonly stored: StoredReply;

  constructor(stored: StoredReply) {
    super("the request has run before");
    this.stored = stored;
  }
}

async function requireFirstRun(
  context: MdsContext,
  transaction: ReadTransaction,
  id: MutationId,
  opcode: number,
): Promise<void> {
  const [session, earlier] = await Promise.all([
    transaction.get(context.schema.session(id.clientId)),
    transaction.get(slotOf(context, id)),
  ]);
  if (!session || decodeSession(session).over) {
    throw new RustreError("SESSION_OVER", "the client's session is over");
  }
  const stored = earlier && storedReplyTo(earlier, id.requestId, opcode);
  if (stored) throw new RanBefore(stored);
}

/**
 * Runs a mutation, and stores the error that it is answered with. Else a copy of the request that
 * comes late, as one that the client has sent to another mds too, could succeed by then, and have an
 * effect that nobody was told of. Errors that let the client try again under the same id are not
 * stored.
 */
export async function rememberFailure<Reply>(
  context: MdsContext,
  id: MutationId,
  opcode: number,
  run: () => Promise<Reply>,
): Promise<Reply> {
  try {
    return await run();
  } catch (error) {
    if (!isRustreError(error) || !isFinal(error)) throw error;
    const failure: StoredFailure = [error.number, error.message.slice(0, messageLengthMax)];
    const stored = await storeFailure(context, id, opcode, failure);
    // Another copy of it was quicker, and that one's answer counts.
    if (stored) return replyOf<Reply>(stored);
    throw error;
  }
}

/** Stored with an error, in UTF-16 units; messages quote what was asked. */
const messageLengthMax = 4096;

/** What the file system answered, and not the store or the way there. */
function isFinal({ number, retry }: RustreError): boolean {
  return number < 1000 && retry === "never";
}

/** Gives what is stored for the request already, and then stores nothing. */
function storeFailure(
  context: MdsContext,
  id: MutationId,
  opcode: number,
  failure: StoredFailure,
): Promise<StoredReply | undefined> {
  const { clientId, requestId } = id;
  const slot = slotOf(context, id);
  return transact(context, async (transaction) => {
    const session = await transaction.get(context.schema.session(clientId));
    // Then nothing of that client has an effect any more.
    if (!session || decodeSession(session).over) return undefined;
    const earlier = await transaction.get(slot);
    const stored = earlier && storedReplyTo(earlier, requestId, opcode);
    if (stored) return stored;
    transaction.set(slot, encodeStoredReply({ requestId, opcode, reply: failure }));
    return undefined;
  });
}

function slotOf(context: MdsContext, { clientId, requestId }: MutationId): Key {
  return context.schema.reply(clientId, requestId % limits.repliesPerClient);
}

/** Nothing where the slot holds an older request. Throws where it holds a newer one, or another. */
function storedReplyTo(
  value: Uint8Array,
  requestId: number,
  opcode: number,
): StoredReply | undefined {
  if (requestIdOfStoredReply(value) < requestId) return undefined;
  const stored = decodeStoredReply(value);
  if (stored.requestId > requestId) {
    throw new RustreError("LATE_DUPLICATE", `request ${requestId} comes too late`);
  }
  if (stored.opcode === opcode) return stored;
  throw new RustreError("BAD_REQUEST", `request ${requestId} was another operation before`);
}

function replyOf<Reply>({ reply }: StoredReply): Reply {
  if (!Array.isArray(reply)) return reply as Reply;
  const [code, message] = reply as unknown as StoredFailure;
  throw new RustreError(codeOfNumber(code), message);
}
