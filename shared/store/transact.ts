// The one retry loop over store transactions. Everything that reads or writes the store goes
// through transact() or readOnly().

import { type ErrorCode, isRustreError } from "../errors.ts";
import { type Environment, sleep } from "../environment.ts";
import { limits } from "../limits.ts";
import type { ReadTransaction, Store, Transaction } from "./store.ts";

type ClockAndRandom = Pick<Environment, "clock" | "random">;

/** Nothing happened, or the operation recognises what did: it runs again from the start. */
const worthAnotherTry = [
  "CONFLICT",
  "TRANSACTION_TOO_OLD",
  "COMMIT_UNKNOWN",
  "STORE_BUSY",
] as const satisfies readonly ErrorCode[];

/** A store with the clock and chance that its retries use. */
export interface TransactionContext {
  readonly store: Store;
  readonly environment: ClockAndRandom;
}

/**
 * Runs `operation` in a transaction and commits it; runs it again from the start after CONFLICT,
 * TRANSACTION_TOO_OLD, COMMIT_UNKNOWN and STORE_BUSY, with a growing, randomised pause. It must be
 * safe to run several times: it keeps nothing from a run that failed, and it recognises its own
 * earlier commit where that matters (mds: the stored reply). It awaits nothing but the transaction.
 */
export function transact<T>(
  context: TransactionContext,
  operation: (transaction: Transaction) => Promise<T>,
): Promise<T> {
  return untilItHolds(context, async () => {
    const transaction = context.store.begin();
    try {
      const result = await operation(transaction);
      await transaction.commit();
      return result;
    } catch (error) {
      await transaction.cancel();
      throw error;
    }
  });
}

/** {@link transact} for operations that only read. */
export function readOnly<T>(
  context: TransactionContext,
  operation: (transaction: ReadTransaction) => Promise<T>,
): Promise<T> {
  const { store } = context;
  if (!store.beginReading) return transact(context, operation);
  return untilItHolds(context, async () => {
    const reading = store.beginReading!();
    try {
      return await operation(reading);
    } finally {
      reading.end();
    }
  });
}

async function untilItHolds<T>(
  { environment }: TransactionContext,
  attempt: () => Promise<T>,
): Promise<T> {
  for (let attempts = 1;; attempts++) {
    try {
      return await attempt();
    } catch (error) {
      if (!isRustreError(error, ...worthAnotherTry) || attempts >= limits.transactionAttemptsMax) {
        throw error;
      }
    }
    await sleep(environment.clock, retryDelayMs(environment, attempts));
  }
}

/** The first retry is at once: most conflicts are over by then. */
function retryDelayMs(environment: ClockAndRandom, attempt: number): number {
  if (attempt === 1) return 0;
  const ceilingMs = Math.min(2 ** attempt, limits.transactionRetryDelayMaxMs);
  return environment.random.below(ceilingMs) + 1;
}
