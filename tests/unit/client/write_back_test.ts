import assert from "node:assert/strict";
import { setImmediate } from "node:timers";
import type { FileObjects } from "../../../client/object_parts.ts";
import type { UnsyncedGroup } from "../../../client/unsynced_objects.ts";
import { WriteBack } from "../../../client/write_back.ts";
import { type ErrorCode, RustreError } from "../../../shared/errors.ts";
import { limits } from "../../../shared/limits.ts";

const { earlySyncBytes } = limits;
const file: FileObjects = {
  ino: 2,
  layout: { stripeBytes: 65_536, stripesPerObject: 64, targets: [[0]] },
};
const answers = [{ targetIndex: 0, verifier: "a".repeat(32) }];

/** OSTs whose syncs wait until the test ends them. */
class Osts {
  readonly syncs: { seqs: number[]; end(code?: ErrorCode): void }[] = [];

  sync(_file: FileObjects, group: UnsyncedGroup, signal?: AbortSignal): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    signal?.addEventListener("abort", () => reject(signal.reason));
    const end = (code?: ErrorCode) => code ? reject(new RustreError(code, "failed")) : resolve();
    this.syncs.push({ seqs: [...group.seqs].sort(), end });
    return promise;
  }

  get seqs(): number[][] {
    return this.syncs.map(({ seqs }) => seqs);
  }
}

function make() {
  const osts = new Osts();
  const writeBack = new WriteBack(osts, file);
  const wrote = (seq: number, lengthBytes: number) =>
    writeBack.wrote({ seq, lengthBytes }, answers);
  return { osts, writeBack, wrote };
}

/** Everything that waits for nothing has happened. */
function turns(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

Deno.test("WriteBack syncs an object early when enough of it was written, once at a time", async () => {
  const { osts, writeBack, wrote } = make();
  wrote(1, earlySyncBytes - 1);
  wrote(2, earlySyncBytes - 1);
  assert.deepEqual(osts.seqs, []);
  wrote(1, 1);
  assert.deepEqual(osts.seqs, [[1]]);
  wrote(1, 2 * earlySyncBytes);
  assert.deepEqual(osts.seqs, [[1]], "one at a time");
  osts.syncs[0]!.end();
  await turns();
  assert.deepEqual(osts.seqs, [[1], [1]], "the next one begins by itself");
  osts.syncs[1]!.end();
  await turns();
  const syncing = writeBack.sync(10, undefined);
  await turns();
  assert.deepEqual(osts.seqs, [[1], [1], [2]], "only what is left");
  osts.syncs[2]!.end();
  await syncing;
});

Deno.test("WriteBack.sync() waits for early syncs, and none begins meanwhile", async () => {
  const { osts, writeBack, wrote } = make();
  wrote(1, earlySyncBytes);
  wrote(1, 5);
  let isSynced = false;
  const syncing = writeBack.sync(10, undefined).then(() => isSynced = true);
  wrote(1, earlySyncBytes);
  await turns();
  assert.deepEqual(osts.seqs, [[1]]);
  osts.syncs[0]!.end();
  await turns();
  assert.deepEqual(osts.seqs, [[1], [1]]);
  assert.equal(isSynced, false, "the second write is under way to the disk");
  osts.syncs[1]!.end();
  await syncing;
  wrote(1, earlySyncBytes);
  assert.equal(osts.syncs.length, 3, "and now they begin again");
  osts.syncs[2]!.end();
});

Deno.test("WriteBack.sync() makes good what an early sync failed to do", async () => {
  const { osts, writeBack, wrote } = make();
  wrote(1, earlySyncBytes);
  osts.syncs[0]!.end("TIMED_OUT");
  await turns();
  const syncing = writeBack.sync(10, undefined);
  await turns();
  assert.deepEqual(osts.seqs, [[1], [1]]);
  osts.syncs[1]!.end();
  await syncing;
});

for (const code of ["WRITES_LOST", "EIO"] as const) {
  Deno.test(`WriteBack.sync() fails after an early sync that failed with ${code}`, async () => {
    const { osts, writeBack, wrote } = make();
    wrote(1, earlySyncBytes);
    osts.syncs[0]!.end(code);
    await assert.rejects(writeBack.sync(10, undefined), { code });
  });
}

Deno.test("WriteBack.stop() ends early syncs", async () => {
  const { osts, writeBack, wrote } = make();
  wrote(1, earlySyncBytes);
  wrote(1, earlySyncBytes);
  await writeBack.stop();
  assert.equal(osts.syncs.length, 1);
});
