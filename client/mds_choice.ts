// Which mds a client asks: the same one while it answers, another for each client, and for a while
// none that has just failed, since the map may not tell so yet.

import { formatAddress } from "../shared/address.ts";
import { isUp } from "../shared/cluster_map.ts";
import type { Address, Clock } from "../shared/environment.ts";
import { isRustreError, RustreError } from "../shared/errors.ts";
import { limits } from "../shared/limits.ts";
import type { ClusterMap, Server } from "../shared/model.ts";

/** One mds, for one try. */
export interface ChosenMds {
  readonly address: Address;
  /** Whether another one would be asked next: then a try that takes long is given up early. */
  readonly isReplaceable: boolean;
}

export class MdsChoice {
  readonly #clock: Clock;
  /** Spreads clients over the mds. */
  readonly #spread: number;
  /** By address, until when on the monotonic clock. */
  readonly #avoided = new Map<string, number>();

  constructor(clock: Clock, spread: number) {
    this.#clock = clock;
    this.#spread = spread;
  }

  /** For try `tryNumber`, from 0. Throws UNREACHABLE where the map has none. */
  choose(map: ClusterMap, tryNumber: number): ChosenMds {
    const up = map.mds.filter(isUp);
    // A map that calls none up may be wrong, and asking costs nothing.
    const known = up.length > 0 ? up : map.mds;
    const trusted = known.filter((each) => !this.#isAvoided(each));
    const candidates = trusted.length > 0 ? trusted : known;
    const chosen = candidates[(this.#spread + tryNumber) % candidates.length];
    if (!chosen) {
      throw new RustreError("UNREACHABLE", "Cannot reach an mds: the mgs knows none; start one");
    }
    return { address: chosen.address, isReplaceable: tryNumber + 1 < known.length };
  }

  /** A call to an mds has failed. */
  noteFailure(address: Address, error: unknown): void {
    if (!isRustreError(error, "UNREACHABLE", "CONNECTION_LOST", "TIMED_OUT", "SHUTTING_DOWN")) {
      return;
    }
    this.#avoided.set(formatAddress(address), this.#clock.monotonicMs() + limits.mdsAvoidMs);
  }

  #isAvoided({ address }: Server): boolean {
    const key = formatAddress(address);
    const untilMs = this.#avoided.get(key);
    if (untilMs === undefined) return false;
    if (this.#clock.monotonicMs() < untilMs) return true;
    this.#avoided.delete(key);
    return false;
  }
}
