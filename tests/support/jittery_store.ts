// A store whose commits take a random time, so that concurrent operations meet in every order.

import type { Clock } from "../../shared/environment.ts";
import { sleep } from "../../shared/environment.ts";
import type { Store } from "../../shared/store/store.ts";
import type { SeededRandom } from "./seeded_random.ts";
import { UncertainStore } from "./uncertain_store.ts";

export function jitteryStore(inner: Store, clock: Clock, random: SeededRandom): Store {
  const store = new UncertainStore(inner);
  store.beforeCommit = () => sleep(clock, random.below(4));
  return store;
}
