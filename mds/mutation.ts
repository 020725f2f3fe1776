// Runs mutations: one transaction with the session's check, the stored reply of an earlier try, the
// operation itself, and its reply. Here lies the promise that a mutation has its effect once.

import { nowNs } from "../shared/environment.ts";
import { RustreError } from "../shared/errors.ts";
import { limits } from "../shared/limits.ts";
import { transact } from "../shared/store/transact.ts";
import type { MdsContext, Mutation } from "./context.ts";
import { decodeSession, decodeStoredReply, encodeStoredReply } from "./schema.ts";

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
 * Runs `operation`, unless the client's request has run before: then its reply is given again. An
 * operation that fails leaves no trace, so a retry of it is a first try.
 */
export function runMutation<Reply>(
  context: MdsContext,
  { clientId, requestId }: MutationId,
  opcode: number,
  operation: (mutation: Mutation) => Promise<Reply>,
): Promise<MutationOutcome<Reply>> {
  const slot = context.schema.reply(clientId, requestId % limits.repliesPerClient);
  return transact(context, async (transaction) => {
    const [session, earlier] = await Promise.all([
      transaction.get(context.schema.session(clientId)),
      transaction.get(slot),
    ]);
    if (!session || decodeSession(session).over) {
      throw new RustreError("SESSION_OVER", "the client's session is over");
    }
    if (earlier) {
      const stored = decodeStoredReply(earlier);
      if (stored.requestId === requestId) {
        if (stored.opcode === opcode) {
          // What its run left is found a moment later without a word about it.
          return { reply: stored.reply as Reply, leftGarbage: false, leftCut: false };
        }
        throw new RustreError("BAD_REQUEST", `request ${requestId} was another operation before`);
      }
      if (stored.requestId > requestId) {
        throw new RustreError("LATE_DUPLICATE", `request ${requestId} comes too late`);
      }
    }
    const timeNs = nowNs(context.environment.clock);
    let [leftGarbage, leftCut] = [false, false];
    const reply = await operation({
      context,
      transaction,
      clientId,
      nowNs: timeNs,
      noteGarbage: () => void (leftGarbage = true),
      noteCut: () => void (leftCut = true),
    });
    transaction.set(slot, encodeStoredReply({ requestId, opcode, reply }));
    return { reply, leftGarbage, leftCut };
  });
}
