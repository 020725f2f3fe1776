// From a store URL to the engine behind it.

import type { Clock } from "../environment.ts";
import { RustreError } from "../errors.ts";
import { MemoryStore } from "./memory.ts";
import { SqliteStore } from "./sqlite.ts";
import type { Store } from "./store.ts";

/** The forms that {@link openStore} takes, for messages. */
export const storeUrlForms = "memory:, sqlite:PATH or fdb:CLUSTER_FILE";

/** Rejects with EINVAL for a URL that is none, and with the engine's own errors. */
// deno-lint-ignore require-await -- a failure must be a rejection, and engines may load lazily.
export async function openStore(url: string, clock: Clock): Promise<Store> {
  const colon = url.indexOf(":");
  const scheme = url.slice(0, colon + 1);
  const path = url.slice(colon + 1);
  if (url === "memory:") return new MemoryStore(clock);
  if (scheme === "sqlite:" && path !== "") return new SqliteStore(url, path, clock);
  if (scheme === "fdb:" && path !== "") {
    throw new RustreError(
      "EINVAL",
      `Cannot open the store "${url}": the FoundationDB engine is not built yet; use sqlite:PATH`,
    );
  }
  throw new RustreError("EINVAL", `Cannot open the store "${url}": it must be ${storeUrlForms}`);
}
