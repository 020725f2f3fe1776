import assert from "node:assert/strict";
import { readBuildFlags } from "../../../packaging/build.ts";

Deno.test("readBuildFlags() takes one kind of executable at most, and no flag that there is not", () => {
  assert.match(readBuildFlags([]).output, /\/dist\/rustre$/);
  assert.equal(readBuildFlags([]).wanted, undefined);
  assert.equal(readBuildFlags(["--compiled"]).wanted, "compiled executable");
  assert.equal(readBuildFlags(["--self-extracting"]).wanted, "self-extracting executable");
  assert.equal(readBuildFlags(["--output", "/x"]).output, "/x");
  const refused = [["--compiled", "--self-extracting"], ["--nope"], ["more"], ["--output"]];
  for (const args of refused) {
    assert.throws(() => readBuildFlags(args), { name: "UsageError" }, args.join(" "));
  }
});
