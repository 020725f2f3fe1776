// From a store URL to the engine behind it.

import { type Clock, sleep } from "../environment.ts";
import { isRustreError, RustreError } from "../errors.ts";
import { limits } from "../limits.ts";
import { type FoundationDbOptions, openFoundationDb } from "./foundationdb.ts";
import { MemoryStore } from "./memory.ts";
import { type SqliteOptions, SqliteStore } from "./sqlite.ts";
import type { Store } from "./store.ts";
import { storeUrlForms } from "./url.ts";

export type OpenOptions = SqliteOptions & FoundationDbOptions;

/** Rejects with EINVAL for a URL that is none, and with the engine's own errors. */
export async function openStore(
  url: string,
  clock: Clock,
  options: OpenOptions = {},
): Promise<Store> {
  const colon = url.indexOf(":");
  const scheme = url.slice(0, colon + 1);
  const path = url.slice(colon + 1);
  if (url === "memory:") return new MemoryStore(clock);
  if (scheme === "sqlite:" && path !== "") return await openSqlite(url, path, clock, options);
  if (scheme === "fdb:" && path !== "") return await openFoundationDb(url, path, clock, options);
  throw new RustreError("EINVAL", `Cannot open the store "${url}": it must be ${storeUrlForms}`);
}

/** Waits for others that are just making or closing the same file. */
async function openSqlite(
  url: string,
  path: string,
  clock: Clock,
  options: SqliteOptions,
): Promise<Store> {
  const endMs = clock.monotonicMs() + limits.storeOpenTimeoutMs;
  for (;;) {
    try {
      return new SqliteStore(url, path, clock, options);
    } catch (error) {
      if (!isRustreError(error, "EBUSY") || clock.monotonicMs() >= endMs) throw error;
      await sleep(clock, limits.storeOpenTryMs);
    }
  }
}
