// The FoundationDB that RUSTRE_TEST_FDB names by its cluster file: a scratch database, of which tests
// have the whole, and which they leave empty.

import { strict as assert } from "node:assert";
import { fileURLToPath } from "node:url";
import { systemEnvironment } from "../../shared/platform.ts";
import { openStore } from "../../shared/store/open.ts";
import { type KeyRange, prefixRange } from "../../shared/store/store.ts";
import { readOnly, transact, type TransactionContext } from "../../shared/store/transact.ts";
import { checkStore, leftovers } from "./check_store.ts";
import { eventually } from "./eventually.ts";

export const testClusterFile = Deno.env.get("RUSTRE_TEST_FDB");

const everything = { begin: "", end: "\xff" };

/** Rejects where it may be somebody's. */
export function requireEmptyDatabase(url: string): Promise<void> {
  return withStore(url, async (context) => {
    const rows = await readOnly(context, (read) => read.getRange(everything, { limit: 1 }));
    assert.equal(
      rows.length,
      0,
      `The database "${url}" is not empty. Tests delete all that is in it; if it is theirs, ` +
        'left by a run that was killed, empty it: writemode on; clearrange "" \\xff',
    );
  });
}

export function emptyDatabase(url: string): Promise<void> {
  return deleteRanges(url, [everything]);
}

function deleteRanges(url: string, ranges: readonly KeyRange[]): Promise<void> {
  return withStore(url, (context) =>
    transact(context, (transaction) => {
      for (const range of ranges) transaction.deleteRange(range);
      return Promise.resolve();
    }));
}

async function withStore(
  url: string,
  use: (context: TransactionContext) => Promise<void>,
): Promise<void> {
  const environment = systemEnvironment();
  const store = await openStore(url, environment.clock);
  try {
    await use({ store, environment });
  } finally {
    await store.close();
  }
}

export interface ProcessStore extends AsyncDisposable {
  readonly url: string;
}

/**
 * A store for server processes, at first empty: in `directory`, or the database of RUSTRE_TEST_FDB.
 * This process does not open it, for another test of it may have.
 */
export async function processStore(directory: string): Promise<ProcessStore> {
  if (testClusterFile === undefined) return await sqliteStore(directory);
  const url = `fdb:${testClusterFile}`;
  await inProcess("requireEmpty", url);
  return { url, [Symbol.asyncDispose]: () => inProcess("empty", url) };
}

/**
 * Rejects unless, within `withinMs`, no work is left to do in the store of a cluster at rest, and
 * then all in it holds together.
 */
export function checkStoreAtRest(url: string, withinMs: number): Promise<void> {
  return inProcess("checkAtRest", url, String(withinMs));
}

async function checkAtRest(url: string, withinMs: number): Promise<void> {
  await withStore(url, async ({ store, environment }) => {
    const checked = { store, targets: [], environment: () => environment };
    await eventually(async () => (await leftovers(checked)).length === 0, withinMs);
    await checkStore(checked);
  });
}

/** One of its own beside the database of RUSTRE_TEST_FDB, of which there is one. */
export function sqliteStore(directory: string): Promise<ProcessStore> {
  const url = `sqlite:${directory}/meta.db`;
  return Promise.resolve({ url, [Symbol.asyncDispose]: () => Promise.resolve() });
}

/** Deletes from the store of servers that are not running. */
export function deletePrefixes(url: string, prefixes: readonly string[]): Promise<void> {
  return inProcess("deletePrefixes", url, ...prefixes);
}

const tasks: Record<string, (url: string, ...more: string[]) => Promise<void>> = {
  requireEmpty: requireEmptyDatabase,
  empty: emptyDatabase,
  deletePrefixes: (url, ...prefixes) => deleteRanges(url, prefixes.map(prefixRange)),
  checkAtRest: (url, withinMs) => checkAtRest(url, Number(withinMs)),
};

async function inProcess(task: string, ...more: string[]): Promise<void> {
  const script = fileURLToPath(import.meta.url);
  const args = ["run", "--quiet", "--no-check", "--allow-all", script, task, ...more];
  const { code, stderr } = await new Deno.Command(Deno.execPath(), { args }).output();
  assert.equal(code, 0, new TextDecoder().decode(stderr));
}

if (import.meta.main) {
  const [task, url, ...more] = Deno.args;
  await tasks[task!]!(url!, ...more);
}
