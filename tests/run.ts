// deno-lint-ignore-file no-console -- its last line is for CI
// Runs the whole suite and prints its counts as the last line: `N passed, N failed`.

import { fileURLToPath } from "node:url";

const directory = fileURLToPath(import.meta.resolve("./"));
const reportPath = await Deno.makeTempFile({ prefix: "rustre-tests-", suffix: ".xml" });
try {
  const args = ["test", "--no-check", "--allow-all", "--quiet", `--junit-path=${reportPath}`];
  const runner = new Deno.Command(Deno.execPath(), { args: [...args, ...Deno.args, directory] });
  const { code } = await runner.spawn().status;
  const { passed, failed, skipped } = countsOf(await Deno.readTextFile(reportPath));
  // A runner that failed without a failed test, or ran none, has not passed.
  const broken = (code !== 0 && failed === 0) || passed + failed === 0;
  const skips = skipped > 0 ? `, ${skipped} skipped` : "";
  console.log(`\n${passed} passed, ${failed + (broken ? 1 : 0)} failed${skips}`);
  Deno.exitCode = code !== 0 || broken ? 1 : 0;
} finally {
  await Deno.remove(reportPath);
}

/** Counts the test cases of a JUnit report. */
function countsOf(report: string): { passed: number; failed: number; skipped: number } {
  const cases = report.match(/<testcase[\s>]/g)?.length ?? 0;
  const failed = report.match(/<(failure|error)[\s>]/g)?.length ?? 0;
  const skipped = report.match(/<skipped[\s/>]/g)?.length ?? 0;
  return { passed: cases - failed - skipped, failed, skipped };
}
