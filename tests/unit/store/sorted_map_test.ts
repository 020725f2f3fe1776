// SortedMap against an array that is sorted anew for each question.

import { strict as assert } from "node:assert";
import fc from "fast-check";
import { SortedMap } from "../../../shared/store/sorted_map.ts";

const key = fc.nat(3000).map((number) => `k${String(number).padStart(4, "0")}`);
const span = fc.tuple(key, key).map(([one, two]) => one < two ? [one, two] : [two, one]);

Deno.test("SortedMap does what a sorted array does, over many chunks", () => {
  const steps = fc.array(
    fc.oneof(
      { weight: 8, arbitrary: fc.record({ kind: fc.constant("set" as const), key }) },
      { weight: 4, arbitrary: fc.record({ kind: fc.constant("delete" as const), key }) },
      { weight: 1, arbitrary: fc.record({ kind: fc.constant("deleteRange" as const), span }) },
    ),
    { maxLength: 60 },
  );
  fc.assert(fc.property(steps, span, fc.integer({ min: 1, max: 4000 }), (list, asked, limit) => {
    const map = new SortedMap();
    const model = new Set<string>();
    for (let number = 0; number < 3000; number += 2) {
      const key = `k${String((number * 7) % 3000).padStart(4, "0")}`;
      map.set(key, new Uint8Array(1));
      model.add(key);
    }
    for (const step of list) {
      if (step.kind === "deleteRange") {
        const [begin, end] = step.span as [string, string];
        map.deleteRange({ begin, end });
        for (const key of model) if (key >= begin && key < end) model.delete(key);
      } else if (step.kind === "set") {
        map.set(step.key, new Uint8Array(2));
        model.add(step.key);
      } else {
        map.delete(step.key);
        model.delete(step.key);
      }
    }
    const [begin, end] = asked as [string, string];
    const expected = [...model].filter((key) => key >= begin && key < end).sort();
    const keysOf = (reverse: boolean) =>
      map.getRange({ begin, end }, limit, reverse).map((row) => row.key);
    assert.equal(map.size, model.size);
    assert.deepEqual(keysOf(false), expected.slice(0, limit));
    assert.deepEqual(keysOf(true), expected.reverse().slice(0, limit));
  }));
});

Deno.test("SortedMap is usable again after everything was deleted", () => {
  const map = new SortedMap();
  for (let number = 0; number < 2000; number++) map.set(`k${number}`, new Uint8Array(0));
  map.deleteRange({ begin: "", end: "z" });
  assert.equal(map.size, 0);
  assert.deepEqual(map.getRange({ begin: "", end: "z" }, 10, true), []);
  map.set("a", new Uint8Array(1));
  map.delete("a");
  map.delete("a");
  map.set("b", new Uint8Array(1));
  assert.deepEqual(map.getRange({ begin: "", end: "z" }, 10, false).map(({ key }) => key), ["b"]);
});
