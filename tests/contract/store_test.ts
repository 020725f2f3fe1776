// Every engine keeps the promises of the store.

import type { Clock } from "../../shared/environment.ts";
import { openStore } from "../../shared/store/open.ts";
import { emptyDatabase, requireEmptyDatabase, testClusterFile } from "../support/foundationdb.ts";
import { storeContract } from "./store.ts";

storeContract("memory", (_directory, clock) => openStore("memory:", clock), { persistent: false });

storeContract("sqlite", (directory, clock) => openStore(`sqlite:${directory}/meta.db`, clock), {
  persistent: true,
});

// Only one file of the suite may open it itself: each has an isolate of its own.
if (testClusterFile === undefined) {
  Deno.test.ignore(
    "fdb: the promises of a store, as RUSTRE_TEST_FDB names no cluster file",
    () => {},
  );
} else {
  const url = `fdb:${testClusterFile}`;
  storeContract("fdb", (_directory: string, clock: Clock) => openStore(url, clock), {
    persistent: true,
    seesAdditions: false,
    before: () => requireEmptyDatabase(url),
    after: () => emptyDatabase(url),
  });
}
