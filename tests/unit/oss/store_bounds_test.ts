// What the file store keeps bounded, and what it counts, also while its disk is slow, full or broken:
// open files, the journal, checkpoints that are tried again, the usage.

import assert from "node:assert/strict";
import type { FileObjectStore } from "../../../oss/file_store.ts";
import { type Logger, loggerOf } from "../../../shared/logging.ts";
import { objectId } from "../../../shared/layout.ts";
import { limits } from "../../../shared/limits.ts";
import { pattern, rejects } from "../../contract/object_store.ts";
import { readBytes, taken, writeBytes } from "../../support/object_bytes.ts";
import { type Opened, testStore } from "./opened_store.ts";

const object = objectId(7, 0);
const large = limits.directWriteBytesMin;
const ids = Array.from({ length: 50 }, (_, index) => objectId(1 + index, 0));
/** No checkpoint happens by itself. */
const never = { segmentBytes: 1e9, journalBytes: 1e9, changedObjects: 1e9, batch: 8 };

/** A logger that counts its errors. */
function countingLog(): { log: Logger; errors: () => number } {
  let errors = 0;
  const log: Logger = Object.create(loggerOf("oss"), { error: { value: () => void errors++ } });
  return { log, errors: () => errors };
}

async function segmentsOf({ directory }: Opened): Promise<string[]> {
  const names: string[] = [];
  for await (const { name } of Deno.readDir(`${directory}/journal/1-0`)) names.push(name);
  return names.sort();
}

/** Lets what a test does not wait for come to its end: it is done by another thread of this process. */
async function until(condition: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await condition())) await new Promise((resolve) => setTimeout(resolve, 1));
}

// ── open files ─────────────────────────────────────────────────────────────────────────────────

testStore("bounds its open files also while all objects have changes", async (opened) => {
  const { store, files } = opened;
  for (const id of ids) {
    await writeBytes(store, id, 0, pattern(1, 100));
    assert.ok(files.opened <= 8, `${files.opened} open files`);
  }
  for (const id of ids) assert.deepEqual(await readBytes(store, id, 0, 100), pattern(1, 100));
}, { openObjectsMax: 4, checkpointSizes: never });

testStore("reads on a full disk while all open objects have changes", async (opened) => {
  const { store, files } = opened;
  for (const id of ids) await writeBytes(store, id, 0, pattern(1, 100));
  files.spaceBytes = 0;
  for (const id of ids) assert.deepEqual(await readBytes(store, id, 0, 100), pattern(1, 100));
  assert.ok(files.opened <= 10, `${files.opened} open files`);
  const [first] = ids;
  await rejects("ENOSPC", () => writeBytes(store, first!, 0, pattern(2, 100)), [first!, "OST 3"]);
  files.spaceBytes = Infinity;
}, { openObjectsMax: 4, checkpointSizes: never });

// ── the journal ────────────────────────────────────────────────────────────────────────────────

testStore("lets changes wait while a slow disk keeps the journal full", async (opened) => {
  const { store, files } = opened;
  const gate = Promise.withResolvers<void>();
  files.syncGate = gate.promise;
  let written = 0;
  const writes = ids.flatMap((id) =>
    [0, 1, 2, 3].map(async (block) => {
      await writeBytes(store, id, block * 4096, pattern(block, 4096));
      written++;
    })
  );
  for (let turn = 0; turn < 20; turn++) await new Promise((resolve) => setTimeout(resolve, 1));
  const ofJournal = await journalBytes(opened);
  assert.ok(written > 10 && written < writes.length, `${written} writes did not wait`);
  assert.ok(ofJournal < 2 * bounded.journalBytes, `the journal has ${ofJournal} bytes`);
  gate.resolve();
  await Promise.all(writes);
  for (const id of ids) {
    assert.deepEqual(await readBytes(store, id, 4096, 4096), pattern(1, 4096));
  }
}, { checkpointSizes: bounded });

// ── checkpoints that fail ──────────────────────────────────────────────────────────────────────
