import assert from "node:assert/strict";
import {
  codeOfNumber,
  errorCodes,
  isRustreError,
  meaningOf,
  messageOf,
  RustreError,
} from "../../shared/errors.ts";

Deno.test("every error has a number of its own, an errno and a meaning", () => {
  const numbers = new Map<number, string>();
  for (const { code, kind } of errorCodes()) {
    assert(!numbers.has(kind.number), `${code} has the number of ${numbers.get(kind.number)}`);
    numbers.set(kind.number, code);
    assert(Number.isInteger(kind.number) && kind.number > 0 && kind.number <= 0xffff, code);
    assert(kind.errno > 0 && kind.errno < 134, `${code}: ${kind.errno} is no errno of Linux`);
    assert(kind.meaning.length > 0 && !/[.]$/.test(kind.meaning), code);
    assert.equal(meaningOf(code), kind.meaning);
    assert.equal(codeOfNumber(kind.number), code);
  }
});

Deno.test("the code of an errno has that errno for its number, all others 1000 and more", () => {
  for (const { code, kind } of errorCodes()) {
    const isErrno = /^E[A-Z]+$/.test(code);
    assert.equal(kind.number < 1000, isErrno, code);
    if (isErrno) assert.equal(kind.number, kind.errno, code);
  }
});

Deno.test("the errors that leave it open whether something was done are these", () => {
  const unknown = errorCodes().filter(({ kind }) => kind.applied === "unknown");
  assert.deepEqual(
    unknown.map(({ code }) => code).sort(),
    [
      "COMMIT_UNKNOWN",
      "CONNECTION_LOST",
      "INTERNAL",
      "INTERRUPTED",
      "STORE_FAILED",
      "TIMED_OUT",
      "WRITES_LOST",
    ],
  );
});

Deno.test("a number of a newer version is EIO", () => {
  for (const number of [0, 9999, -1, 1.5]) assert.equal(codeOfNumber(number), "EIO");
});

Deno.test("RustreError knows what its code means", () => {
  const error = new RustreError("STALE_MAP", "Cannot write", { cause: "x" });
  assert.equal(error.number, 1103);
  assert.equal(error.errno, 116);
  assert.equal(error.retry, "refresh-map");
  assert.equal(error.applied, "no");
  assert.equal(error.cause, "x");
  assert.equal(error.name, "RustreError");
  assert(error instanceof Error);
});

Deno.test("isRustreError() tells operating errors from others, and by code", () => {
  const error = new RustreError("ENOENT", "Cannot stat");
  assert(isRustreError(error));
  assert(isRustreError(error, "EIO", "ENOENT"));
  assert(!isRustreError(error, "EIO"));
  for (const other of [new Error("ENOENT"), { code: "ENOENT" }, null, undefined, "ENOENT"]) {
    assert(!isRustreError(other));
  }
});

Deno.test("messageOf() has something to say of whatever was thrown", () => {
  assert.equal(messageOf(new Error("a")), "a");
  assert.equal(messageOf("b"), "b");
  assert.equal(messageOf(undefined), "undefined");
});
