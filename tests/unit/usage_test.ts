import assert from "node:assert/strict";
import type { Usage } from "../../shared/model.ts";
import { isSameUsage, noUsage, totalUsage } from "../../shared/usage.ts";

const usage: Usage = {
  capacityBytes: 1,
  usedBytes: 2,
  freeBytes: 3,
  objects: 4,
  corruptBlocks: 5,
  repairedBlocks: 6,
};

Deno.test("totalUsage() adds up every field", () => {
  assert.deepEqual(totalUsage([]), noUsage);
  assert.deepEqual(totalUsage([usage, noUsage, usage]), {
    capacityBytes: 2,
    usedBytes: 4,
    freeBytes: 6,
    objects: 8,
    corruptBlocks: 10,
    repairedBlocks: 12,
  });
  assert.equal(noUsage.objects, 0);
});

Deno.test("isSameUsage() compares every field", () => {
  assert.ok(isSameUsage(usage, { ...usage }));
  for (const field of Object.keys(usage) as (keyof Usage)[]) {
    assert.equal(isSameUsage(usage, { ...usage, [field]: 99 }), false, field);
  }
});
