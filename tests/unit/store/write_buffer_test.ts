// The pieces of a range around cleared ones.

import { strict as assert } from "node:assert";
import { WriteBuffer } from "../../../shared/store/write_buffer.ts";

Deno.test("WriteBuffer joins cleared ranges and cuts a range at them", () => {
  const buffer = new WriteBuffer();
  buffer.deleteRange({ begin: "p", end: "q" });
  buffer.deleteRange({ begin: "c", end: "f" });
  buffer.deleteRange({ begin: "e", end: "g" });
  assert.deepEqual(buffer.clearedRanges, [{ begin: "c", end: "g" }, { begin: "p", end: "q" }]);
  const pieces = [
    { begin: "a", end: "c", cleared: false },
    { begin: "c", end: "g", cleared: true },
    { begin: "g", end: "p", cleared: false },
    { begin: "p", end: "pp", cleared: true },
  ];
  assert.deepEqual(buffer.pieces({ begin: "a", end: "pp" }, false), pieces);
  assert.deepEqual(buffer.pieces({ begin: "a", end: "pp" }, true), pieces.toReversed());
  assert.deepEqual(buffer.pieces({ begin: "d", end: "e" }, false), [
    { begin: "d", end: "e", cleared: true },
  ]);
});

Deno.test("WriteBuffer finds keys in order after more were written", () => {
  const buffer = new WriteBuffer();
  const value = new Uint8Array(1);
  const keysIn = (begin: string, end: string, reverse = false) => {
    return buffer.inRange({ begin, end }, reverse).map(({ key }) => key);
  };
  for (const key of ["m", "c", "x"]) buffer.set(key, value);
  assert.deepEqual(keysIn("a", "z"), ["c", "m", "x"]);
  buffer.delete("d");
  buffer.add("a", 1n);
  assert.deepEqual(keysIn("a", "m"), ["a", "c", "d"]);
  assert.deepEqual(keysIn("b", "z", true), ["x", "m", "d", "c"]);
  buffer.deleteRange({ begin: "b", end: "n" });
  assert.deepEqual(keysIn("", "z"), ["a", "x"]);
});
