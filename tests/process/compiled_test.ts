// What `deno compile` makes, as far as it can be tested without Deno's base runtime: with it, where
// DENORT_BIN names one, it must pass the same smoke test as the self-extracting executable.

import assert from "node:assert/strict";
import * as fs from "node:fs";
import { build } from "../../packaging/build.ts";
import { makeCompiled } from "../../packaging/compile.ts";
import { root, stageSources } from "../../packaging/stage.ts";

const directory = await Deno.makeTempDir({ prefix: "rustre-compiled-" });
addEventListener("unload", () => fs.rmSync(directory, { recursive: true, force: true }));

/** With the plain Deno in the place of the base runtime, which makes a file that is no rustre. */
async function withBaseRuntime<T>(path: string, action: () => Promise<T>): Promise<T> {
  const before = Deno.env.get("DENORT_BIN");
  Deno.env.set("DENORT_BIN", path);
  try {
    return await action();
  } finally {
    if (before === undefined) Deno.env.delete("DENORT_BIN");
    else Deno.env.set("DENORT_BIN", before);
  }
}

Deno.test("what is compiled has the workers and the native packages in it", async () => {
  const staged = await Deno.makeTempDir({ dir: directory });
  await stageSources(staged, { kind: "compiled executable", commit: "c0ffee" });
  const output = `${directory}/compiled`;
  await withBaseRuntime(Deno.execPath(), () => makeCompiled(staged, output));
  const appended = fs.readFileSync(output).subarray(fs.statSync(Deno.execPath()).size);
  const worker = fs.readFileSync(`${root}commands/worker.ts`, "utf8").split("\n")[0]!;
  for (const part of ["export async function main", worker, "c0ffee", "-gnu.node"]) {
    assert.ok(appended.includes(part), part);
  }
});

Deno.test("a build that does not pass the smoke test leaves what was there", async () => {
  const output = `${directory}/refused`;
  fs.writeFileSync(output, "old");
  const refused = withBaseRuntime(Deno.execPath(), () => build(output, "compiled executable"));
  await assert.rejects(refused, /The compiled executable does not work/);
  assert.equal(fs.readFileSync(output, "utf8"), "old");
  assert.equal(fs.existsSync(`${output}.untested`), false);
});

const noBaseRuntime = Deno.env.has("DENORT_BIN")
  ? ""
  : " (skipped: DENORT_BIN names no base runtime)";

Deno.test({
  name: `what is compiled passes the smoke test${noBaseRuntime}`,
  ignore: noBaseRuntime !== "",
  fn: async () => {
    const { kind } = await build(`${directory}/compiled`, "compiled executable");
    assert.equal(kind, "compiled executable");
  },
});
