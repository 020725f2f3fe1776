// A random history of an ObjectStore against the simplest one there is: a map of byte arrays.

import assert from "node:assert/strict";
import fc from "fast-check";
import type { ObjectStore } from "../../oss/object_store.ts";
import { objectId } from "../../shared/layout.ts";
import { pattern, readBytes, rejects, spaceOf, writeBytes } from "../support/object_bytes.ts";
import type { Open } from "./object_store.ts";

type Step =
  | { kind: "write"; ino: number; seq: number; offset: number; length: number; seed: number }
  | { kind: "resize"; ino: number; seq: number; length: number; how: "extend" | "cut" }
  | { kind: "sync"; ino: number; seq: number }
  | { kind: "destroy"; ino: number }
  | { kind: "reopen" };

const place = { ino: fc.constantFrom(1, 2, 300), seq: fc.integer({ min: 0, max: 2 }) };
const length = fc.oneof(
  { weight: 4, arbitrary: fc.integer({ min: 0, max: 10_000 }) },
  { weight: 1, arbitrary: fc.integer({ min: 60_000, max: 200_000 }) },
);
const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      kind: fc.constant("write" as const),
      ...place,
      offset: length,
      length,
      seed: fc.integer({ min: 1, max: 250 }),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      kind: fc.constant("resize" as const),
      ...place,
      length,
      how: fc.constantFrom("extend" as const, "cut" as const),
    }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("sync" as const), ...place }) },
  {
    weight: 1,
    arbitrary: fc.record({ kind: fc.constant("destroy" as const), ino: place.ino }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("reopen" as const) }) },
);

export function testModel(name: string, open: Open): void {
  Deno.test(`${name}: any history reads as that of a map of byte arrays`, async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 30 }), async (steps) => {
        await using opened = await open();
        let store = opened.store;
        const model = new Map<string, Uint8Array>();
        for (const each of steps) {
          if (each.kind === "reopen") store = await opened.reopen();
          else await runStep(store, model, each);
        }
        await compare(store, model);
      }),
      { numRuns: 60 },
    );
  });
}

async function runStep(
  store: ObjectStore,
  model: Map<string, Uint8Array>,
  step: Exclude<Step, { kind: "reopen" }>,
): Promise<void> {
  if (step.kind === "destroy") {
    const doomed = [...model.keys()].filter((id) =>
      id.startsWith(objectId(step.ino, 0).slice(0, 16))
    );
    assert.equal(await store.destroy([step.ino]), doomed.length);
    for (const id of doomed) model.delete(id);
    return;
  }
  const id = objectId(step.ino, step.seq);
  const before = model.get(id);
  if (step.kind === "sync") {
    if (before) await store.sync([id]);
    else await rejects("DATA_MISSING", () => store.sync([id]), [id]);
  } else if (step.kind === "write") {
    const bytes = pattern(step.seed, step.length);
    await writeBytes(store, id, step.offset, bytes);
    const end = step.length === 0 ? 0 : step.offset + step.length;
    const after = resized(before, Math.max(before?.length ?? 0, end));
    if (step.length > 0) after.set(bytes, step.offset);
    model.set(id, after);
  } else {
    await store.resize(id, step.length, step.how);
    const present = before?.length ?? 0;
    if (step.how === "extend") model.set(id, resized(before, Math.max(present, step.length)));
    else if (before) model.set(id, resized(before, Math.min(present, step.length)));
  }
}

async function compare(store: ObjectStore, model: Map<string, Uint8Array>): Promise<void> {
  let usedBytes = 0;
  for (const [id, bytes] of model) {
    usedBytes += bytes.length;
    assert.equal(await store.stat(id), bytes.length);
    // A comparison of the bytes themselves is slow, and this is most of the test's time.
    assert.ok(equal(await readBytes(store, id, 0, bytes.length), bytes), `${id} differs`);
  }
  assert.deepEqual(spaceOf(store), { usedBytes, objects: model.size });
}

function resized(bytes: Uint8Array | undefined, lengthBytes: number): Uint8Array {
  const result = new Uint8Array(lengthBytes);
  if (bytes) result.set(bytes.subarray(0, lengthBytes));
  return result;
}

function equal(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, index) => byte === b[index]);
}
