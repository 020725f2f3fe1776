import assert from "node:assert/strict";
import * as fc from "fast-check";
import { checkName, checkSymlinkTarget, namesOf, symlinkBytes } from "../../../mds/names.ts";
import { checkProperty } from "../../support/seed.ts";

const utf8Bytes = (text: string) => new TextEncoder().encode(text).length;

/** The code that a check throws, or nothing. */
function codeOf(check: () => unknown): string | undefined {
  try {
    check();
    return undefined;
  } catch (error) {
    return (error as { code: string }).code;
  }
}

Deno.test("checkName() takes what is a name of at most 255 bytes of UTF-8", async () => {
  const text = fc.string({ unit: "binary", maxLength: 300 });
  await checkProperty(
    fc.property(text, (name) => {
      const long = utf8Bytes(name) > 255;
      const odd = ["", ".", ".."].includes(name) || /[/\0]/.test(name) || !name.isWellFormed();
      assert.equal(codeOf(() => checkName(name)) === undefined, !long && !odd);
    }),
    { runs: 2_000 },
  );
  for (const unit of ["x", "ä", "€", "\u{1f600}"]) {
    const most = Math.floor(255 / utf8Bytes(unit));
    assert.equal(codeOf(() => checkName(unit.repeat(most))), undefined);
    assert.equal(codeOf(() => checkName(unit.repeat(most + 1))), "ENAMETOOLONG");
  }
  assert.equal(codeOf(() => checkName("")), "ENOENT");
  for (const name of [".", "..", "a/b", "a\0", "\ud800"]) {
    assert.equal(codeOf(() => checkName(name)), "EINVAL");
  }
});

Deno.test("namesOf() keeps every part of a path and checks each", () => {
  assert.deepEqual(namesOf(""), []);
  assert.deepEqual(namesOf("a"), ["a"]);
  assert.deepEqual(namesOf("a//b/"), ["a", "", "b", ""]);
  assert.deepEqual(namesOf("./../a"), [".", "..", "a"]);
  assert.equal(codeOf(() => namesOf(`a/${"x".repeat(256)}`)), "ENAMETOOLONG");
  assert.equal(codeOf(() => namesOf("a/b\0")), "EINVAL");
  assert.equal(namesOf("a/".repeat(2048)).length, 2049);
  assert.equal(codeOf(() => namesOf("a/".repeat(2048) + "b")), "ENAMETOOLONG");
});

Deno.test("checkSymlinkTarget() takes what a link may hold, symlinkBytes() measures it", () => {
  assert.equal(codeOf(() => checkSymlinkTarget("../a b/ä")), undefined);
  assert.equal(codeOf(() => checkSymlinkTarget("x".repeat(4095))), undefined);
  assert.equal(codeOf(() => checkSymlinkTarget("x".repeat(4096))), "ENAMETOOLONG");
  assert.equal(codeOf(() => checkSymlinkTarget("ä".repeat(2048))), "ENAMETOOLONG");
  assert.equal(codeOf(() => checkSymlinkTarget("")), "ENOENT");
  assert.equal(codeOf(() => checkSymlinkTarget("a\0")), "EINVAL");
  assert.equal(codeOf(() => checkSymlinkTarget("\udfff")), "EINVAL");
  assert.equal(symlinkBytes("ä€"), 5);
});
