// The lint plugin fires where it should: otherwise nobody would notice that it does not.

import assert from "node:assert/strict";
import plugin from "../../.ci/lint_plugin.ts";

function problemsOf(file: string, source: string): string[] {
  return Deno.lint.runPlugin(plugin, file, source).map((problem) => problem.message);
}

const refusedImports: [string, string, string][] = [
  ["mds/ops/create.ts", `import { x } from "../../oss/start.ts";`, "mds/ must not import oss"],
  ["mgs/start.ts", `import type { X } from "../client/mod.ts";`, "mgs/ must not import client"],
  ["oss/start.ts", `export * from "../mds/start.ts";`, "oss/ must not import mds"],
  ["client/mod.ts", `export { x } from "../mgs/start.ts";`, "client/ must not import mgs"],
  ["client/cli/x.ts", `await import("../../mds/start.ts");`, "client/ must not import mds"],
  ["oss/x.ts", `type X = import("../mds/schema.ts").X;`, "oss/ must not import mds"],
  ["shared/rpc/x.ts", `import "../../mgs/start.ts";`, "shared/ must not import mgs"],
  ["shared/x.ts", `import "../main.ts";`, "shared/ must not import main.ts"],
  ["main.ts", `import "./tests/support/cluster.ts";`, "main.ts must not import tests"],
  ["commands/up.ts", `import "../bench/run.ts";`, "commands must not import bench"],
];
for (const [file, source, expected] of refusedImports) {
  Deno.test(`the layers rule refuses in ${file}: ${source}`, () => {
    const problems = problemsOf(file, source);
    assert.equal(problems.length, 1);
    assert(problems[0]?.startsWith(expected), problems[0]);
  });
}

const allowedImports: [string, string][] = [
  ["mds/ops/create.ts", `import { x } from "../schema.ts"; import "../../shared/limits.ts";`],
  ["client/cli/x.ts", `import "../mod.ts"; import "../../shared/limits.ts";`],
  ["shared/rpc/x.ts", `import "../limits.ts"; import "./frame.ts"; import "valibot";`],
  ["mgs/start.ts", `import { decode } from "@msgpack/msgpack"; import "node:fs";`],
  ["main.ts", `import "./commands/up.ts"; import "./mds/start.ts";`],
  ["tests/unit/x.ts", `import "../../mds/start.ts"; import "../../bench/run.ts";`],
  ["bench/run.ts", `import "../tests/support/cluster.ts"; import "../oss/start.ts";`],
];
for (const [file, source] of allowedImports) {
  Deno.test(`the layers rule allows in ${file}: ${source}`, () => {
    assert.deepEqual(problemsOf(file, source), []);
  });
}

const nondeterminism: [string, RegExp][] = [
  ["Date.now();", /^Date\.now is not deterministic: use the environment's clock: clock\.nowMs/],
  ["const now = Date.now;", /^Date\.now/],
  ["performance.now();", /^performance\.now/],
  ["new Date();", /^new Date\(\)/],
  ["Date();", /^Date\(\)/],
  ["Math.random();", /random\.below/],
  ["crypto.getRandomValues(x);", /random\.bytes/],
  ["crypto.randomUUID();", /randomHex/],
  ["setTimeout(f, 1);", /clock\.setTimer/],
  ["setInterval(f, 1);", /Periodic/],
  ["AbortSignal.timeout(1);", /withDeadline/],
  ["Deno.connect({ port: 1 });", /transport\.connect/],
  ["Deno.listen({ port: 1 });", /transport\.listen/],
  ["Deno.serve(f);", /transport/],
  ["fetch(url);", /transport/],
  [`import net from "node:net";`, /^"node:net"/],
  [`import { setTimeout } from "node:timers/promises";`, /^"node:timers\/promises"/],
];
for (const [source, expected] of nondeterminism) {
  Deno.test(`the determinism rule refuses: ${source}`, () => {
    for (const file of ["shared/x.ts", "mds/x.ts", "client/cli/x.ts", "main.ts"]) {
      const problems = problemsOf(file, source);
      assert.equal(problems.length, 1, file);
      assert.match(problems[0] ?? "", expected);
    }
    for (const file of ["shared/platform.ts", "tests/unit/x.ts", "bench/run.ts"]) {
      assert.deepEqual(problemsOf(file, source), [], file);
    }
  });
}

Deno.test("the determinism rule allows what only looks like it", () => {
  const source =
    `new Date(0); clock.now(); x.valueOf(); toString(); clock.setTimer(f, 1); now.Date;`;
  assert.deepEqual(problemsOf("mds/x.ts", source), []);
});
