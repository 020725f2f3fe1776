import assert from "node:assert/strict";
import { type UnsyncedGroup, UnsyncedObjects } from "../../../client/unsynced_objects.ts";
import { type ErrorCode, RustreError } from "../../../shared/errors.ts";

const before = "a".repeat(32);
const after = "b".repeat(32);

/** Takes every group, or fails with what `failure` says. */
class Osts {
  groups: [targetIndex: number, verifier: string, seqs: number[]][] = [];
  failure: (group: UnsyncedGroup) => ErrorCode | undefined = () => undefined;

  sync = async (group: UnsyncedGroup): Promise<void> => {
    await Promise.resolve();
    const { targetIndex, verifier, seqs } = group;
    this.groups.push([targetIndex, verifier, [...seqs].sort()]);
    const code = this.failure(group);
    if (code) throw new RustreError(code, `OST ${targetIndex}`);
  };

  /** What was synced since the last look. */
  take(): Osts["groups"] {
    return this.groups.splice(0).sort();
  }
}

function on(verifier: string, ...targets: number[]) {
  return targets.map((targetIndex) => ({ targetIndex, verifier }));
}

Deno.test("UnsyncedObjects.sync() syncs each object once, by OST and verifier", async () => {
  const [unsynced, osts] = [new UnsyncedObjects(), new Osts()];
  unsynced.add(0, on(before, 1, 2));
  unsynced.add(1, on(before, 2));
  unsynced.add(0, on(before, 1, 2));
  unsynced.add(1, on(after, 2));
  await unsynced.sync(10, osts.sync);
  assert.deepEqual(osts.take(), [[1, before, [0]], [2, before, [0, 1]], [2, after, [1]]]);
  await unsynced.sync(10, osts.sync);
  assert.deepEqual(osts.take(), []);
});

Deno.test("UnsyncedObjects.sync() leaves what lies behind the end for later", async () => {
  const [unsynced, osts] = [new UnsyncedObjects(), new Osts()];
  for (const seq of [0, 1, 2]) unsynced.add(seq, on(before, 1));
  await unsynced.sync(2, osts.sync);
  await unsynced.sync(3, osts.sync);
  assert.deepEqual(osts.take(), [[1, before, [0, 1]], [1, before, [2]]]);
});

Deno.test("UnsyncedObjects.sync() leaves what was added meanwhile for later", async () => {
  const [unsynced, osts] = [new UnsyncedObjects(), new Osts()];
  unsynced.add(0, on(before, 1));
  const syncing = unsynced.sync(10, osts.sync);
  unsynced.add(0, on(after, 1));
  await syncing;
  assert.deepEqual(osts.take(), [[1, before, [0]]]);
  await unsynced.sync(10, osts.sync);
  assert.deepEqual(osts.take(), [[1, after, [0]]]);
});

Deno.test("UnsyncedObjects.sync() tries again what failed, and nothing else", async () => {
  const [unsynced, osts] = [new UnsyncedObjects(), new Osts()];
  for (const seq of [0, 1]) unsynced.add(seq, on(before, 1, 2));
  osts.failure = ({ targetIndex }) => targetIndex === 1 ? "TIMED_OUT" : undefined;
  await assert.rejects(unsynced.sync(10, osts.sync), { code: "TIMED_OUT" });
  assert.deepEqual(osts.take(), [[1, before, [0, 1]], [2, before, [0, 1]]]);
  osts.failure = () => undefined;
  await unsynced.sync(10, osts.sync);
  assert.deepEqual(osts.take(), [[1, before, [0, 1]]]);
});

for (const code of ["WRITES_LOST", "EIO"] as const) {
  Deno.test(`UnsyncedObjects.sync() fails for good after ${code}`, async () => {
    const [unsynced, osts] = [new UnsyncedObjects(), new Osts()];
    unsynced.add(0, on(before, 1, 2));
    osts.failure = ({ targetIndex }) => targetIndex === 1 ? "TIMED_OUT" : code;
    const loss = { code, message: "OST 2" };
    await assert.rejects(unsynced.sync(10, osts.sync), loss, "rather than what may pass");
    osts.failure = () => undefined;
    await assert.rejects(unsynced.sync(10, osts.sync), loss);
    await assert.rejects(unsynced.sync(0, osts.sync), loss);
  });
}
