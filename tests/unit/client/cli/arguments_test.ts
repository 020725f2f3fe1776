import assert from "node:assert/strict";
import fc from "fast-check";
import {
  modeOperand,
  parseBytes,
  parseRemoteOperand,
  remotePath,
  replicasFlag,
  sizeChangeFlag,
  sourcesAndDestination,
  stripeBytesFlag,
  stripeCountFlag,
} from "../../../../client/cli/arguments.ts";
import { formatExactBytes } from "../../../../client/cli/format.ts";
import { UsageError } from "../../../../shared/command_line.ts";

Deno.test("parseBytes() takes powers of 1024 in both cases", () => {
  const sizes = { "0": 0, "17": 17, "64K": 65_536, "64k": 65_536, "1M": 2 ** 20, "2G": 2 ** 31 };
  for (const [text, bytes] of Object.entries(sizes)) assert.equal(parseBytes(text), bytes, text);
});

Deno.test("parseBytes() refuses what is no size or larger than any file", () => {
  for (const text of ["", "K", "-1", "1.5M", "1MB", "1 M", "0x10", "9999999999999999", "4097T"]) {
    assert.equal(parseBytes(text), undefined, text);
  }
});

Deno.test("parseBytes() reads what formatExactBytes() writes", () => {
  fc.assert(fc.property(fc.integer({ min: 0, max: 2 ** 31 - 1 }), fc.nat(10), (value, shift) => {
    const bytes = value * 2 ** shift;
    assert.equal(parseBytes(formatExactBytes(bytes)), bytes);
  }));
});

Deno.test("the flags of a layout are refused outside the limits", () => {
  const isRefused = { code: "commander.invalidArgument" };
  for (const text of ["63K", "65M", "1", "x", ""]) {
    assert.throws(() => stripeBytesFlag(text), isRefused, text);
  }
  for (const text of ["-1", "257", "1.5", "x", "", "1e2"]) {
    assert.throws(() => stripeCountFlag(text), isRefused, text);
  }
  for (const text of ["0", "9", "x", ""]) assert.throws(() => replicasFlag(text), isRefused, text);
  assert.deepEqual([stripeBytesFlag("64K"), stripeCountFlag("0"), replicasFlag("8")], [
    65_536,
    0,
    8,
  ]);
});

Deno.test("sizeChangeFlag() tells sizes from changes", () => {
  assert.deepEqual(sizeChangeFlag("10"), { sign: "", bytes: 10 });
  assert.deepEqual(sizeChangeFlag("+1K"), { sign: "+", bytes: 1024 });
  assert.deepEqual(sizeChangeFlag("-2"), { sign: "-", bytes: 2 });
  assert.throws(() => sizeChangeFlag("+-2"));
});

Deno.test("operands that make no sense are wrong usage", () => {
  assert.throws(() => remotePath("a"), UsageError);
  assert.throws(() => remotePath(""), UsageError);
  assert.throws(() => modeOperand("rwx"), UsageError);
  assert.throws(() => sourcesAndDestination(["a"]), UsageError);
  assert.throws(() => sourcesAndDestination(["a", ""]), UsageError);
  assert.deepEqual(sourcesAndDestination(["a", "b", "c"]), {
    sources: ["a", "b"],
    destination: "c",
  });
});

Deno.test("parseRemoteOperand() tells paths on a cluster from local ones", () => {
  const host = { host: "host", port: 9400 };
  assert.deepEqual(parseRemoteOperand("host:9400:/a:b"), { mgs: [host], path: "/a:b" });
  assert.deepEqual(parseRemoteOperand("[::1]:1,host:9400:/"), {
    mgs: [{ host: "::1", port: 1 }, host],
    path: "/",
  });
  for (const local of ["a", "./host:9400:/a", "/a:1:/b", "a/b:1:/c", "host:9400:a"]) {
    assert.equal(parseRemoteOperand(local), undefined, local);
  }
  assert.throws(() => parseRemoteOperand("host:/a"), UsageError);
  assert.throws(() => parseRemoteOperand("host:99999:/a"), UsageError);
});
