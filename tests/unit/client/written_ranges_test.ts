import assert from "node:assert/strict";
import * as fc from "fast-check";
import { WrittenRanges } from "../../../client/written_ranges.ts";
import { checkProperty } from "../../support/seed.ts";

Deno.test("covers() says yes to written bytes alone", async () => {
  const range = fc.tuple(fc.nat({ max: 40 }), fc.nat({ max: 10 }));
  const property = fc.property(fc.array(range, { maxLength: 15 }), range, (writes, asked) => {
    const ranges = new WrittenRanges();
    const written = new Set<number>();
    for (const [begin, length] of writes) {
      ranges.add(begin, begin + length);
      for (let byte = begin; byte < begin + length; byte++) written.add(byte);
    }
    const [begin, length] = asked;
    const all = Array.from({ length }, (_, index) => begin + index).every((at) => written.has(at));
    assert.equal(ranges.covers(begin, begin + length), all);
  });
  await checkProperty(property, { runs: 2_000 });
});

Deno.test("covers() of too many ranges to remember is no, never a wrong yes", () => {
  const ranges = new WrittenRanges();
  for (let index = 0; index < 5_000; index++) ranges.add(2 * index, 2 * index + 1);
  assert.equal(ranges.covers(0, 2), false);
  assert.equal(ranges.covers(5, 5), true, "nothing is always covered");
});
