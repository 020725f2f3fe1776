// Every data request names the epoch of the cluster map that its sender went by. It is served only
// where both go by the same map, so that nobody acts on a map that has been replaced.

import type { ClusterMapCache } from "../shared/cluster_map.ts";
import { RustreError } from "../shared/errors.ts";
import type { ClusterMap } from "../shared/model.ts";

/** A refresh that is under way may have begun before the mgs changed the map; the next one not. */
const refreshesMax = 2;

export class Epochs {
  readonly #maps: ClusterMapCache;
  readonly #targetIndex: number;

  constructor(maps: ClusterMapCache, targetIndex: number) {
    this.#maps = maps;
    this.#targetIndex = targetIndex;
  }

  /** The map of `epoch`, fetched where it is newer than ours; STALE_MAP where ours is newer. */
  async mapOf(epoch: number): Promise<ClusterMap> {
    let map = await this.#maps.get();
    for (let count = 0; map.epoch < epoch && count < refreshesMax; count++) {
      map = await this.#maps.refresh();
    }
    if (map.epoch === epoch) return map;
    throw this.#stale(epoch, map.epoch);
  }

  /** Throws STALE_MAP if a newer map than that of `epoch` has come to be known. */
  check(epoch: number): void {
    const known = this.#maps.current?.epoch;
    if (known !== undefined && known > epoch) throw this.#stale(epoch, known);
  }

  #stale(epoch: number, known: number): RustreError {
    const maps = `the request goes by epoch ${epoch}, OST ${this.#targetIndex} by ${known}`;
    return new RustreError("STALE_MAP", `Cannot serve the request: ${maps} of the cluster map`);
  }
}
