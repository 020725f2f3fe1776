// The lease under which a check repairs: of two at once one would take what the other has just done,
// as a counter that it has set right, for what it had found itself.

import { pause } from "../../shared/deadline.ts";
import { type Environment, randomHex } from "../../shared/environment.ts";
import { isRustreError, messageOf, RustreError } from "../../shared/errors.ts";
import { limits } from "../../shared/limits.ts";
import type { Logger } from "../../shared/logging.ts";
import { Periodic } from "../../shared/periodic.ts";
import { Lease } from "../../shared/store/lease.ts";
import type { Key, Store } from "../../shared/store/store.ts";

/** Waits for one that was killed; throws EBUSY where another one runs. Given back by `opened`. */
export async function heldLease(
  { environment, store, log, signal }: {
    readonly environment: Environment;
    readonly store: Store;
    readonly log: Logger;
    readonly signal?: AbortSignal | undefined;
  },
  key: Key,
  opened: AsyncDisposableStack,
): Promise<Lease> {
  const { clock, random } = environment;
  const holder = `fsck ${randomHex(random, 16)}`;
  const lease = new Lease({ context: { store, environment }, key, holder });
  const endMs = clock.monotonicMs() + limits.leaseMs + 2 * limits.leaseWatchMs;
  while (!await lease.renew()) {
    if (clock.monotonicMs() >= endMs) {
      const message = `Cannot repair the store "${store.url}": another "admin fsck --repair" runs`;
      throw new RustreError("EBUSY", message);
    }
    await pause(clock, limits.leaseWatchMs, signal);
  }
  opened.defer(async () => {
    try {
      await lease.release();
    } catch (error) {
      // The next one waits for its end instead.
      log.debug("Cannot give back the lease of the check", { reason: messageOf(error) });
    }
  });
  const keep = async () => {
    try {
      await lease.keep();
    } catch (error) {
      if (!isRustreError(error)) throw error;
      // Without it no repair is made; each one says so.
      log.warn("Cannot renew the lease of the check", { reason: error.message });
    }
  };
  opened.use(new Periodic({ clock, intervalMs: limits.leaseWatchMs, task: keep }));
  return lease;
}
