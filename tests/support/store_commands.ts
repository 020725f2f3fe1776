// What tests of commands that open a store need: a cluster in one process, and its store behind the
// back of its servers.

import assert from "node:assert/strict";
import { systemEnvironment } from "../../shared/platform.ts";
import { openStore } from "../../shared/store/open.ts";
import type { Store, Transaction } from "../../shared/store/store.ts";
import { transact } from "../../shared/store/transact.ts";
import { runRustre, startRustre } from "./processes.ts";

export const environment = systemEnvironment();

export function startUp(directory: string, ...flags: string[]) {
  const place = ["--dir", `${directory}/cluster`, "--listen", "127.0.0.1:0"];
  return startRustre(["up", ...place, "--osts", "2", ...flags]);
}

export function mgsOf({ ready }: { ready: string }): string {
  return /mgs=(\S+)/.exec(ready)![1]!;
}

export async function ok(args: readonly string[]): Promise<string> {
  const { code, stdout, stderr } = await runRustre(args);
  assert.equal(code, 0, `${args.join(" ")}: ${stdout}${stderr}`);
  return stdout;
}

export async function withStore<T>(url: string, use: (store: Store) => Promise<T>): Promise<T> {
  const store = await openStore(url, environment.clock);
  try {
    return await use(store);
  } finally {
    await store.close();
  }
}

export function plant(url: string, change: (transaction: Transaction) => void): Promise<void> {
  return withStore(url, (store) =>
    transact({ store, environment }, (transaction) => {
      change(transaction);
      return Promise.resolve();
    }));
}
