// Makes the executable with `deno compile`, where Deno's base runtime can be had.

import { writeFile } from "node:fs/promises";
import { readConfiguration } from "./stage.ts";
import { run, RunError } from "./run.ts";

/** The base runtime cannot be had: it is neither here nor can it be downloaded. */
export class NoBaseRuntime extends Error {
  override name = "NoBaseRuntime";
}

/** Rejects with {@link NoBaseRuntime} where there is none. */
export async function makeCompiled(staged: string, output: string): Promise<void> {
  const { version, imports, unstable, compilerOptions } = await readConfiguration();
  const configuration = { version, imports, nodeModulesDir: "none", unstable, compilerOptions };
  await writeFile(`${staged}/deno.json`, JSON.stringify(configuration));
  const args = [
    "compile",
    "--quiet",
    "--no-check",
    "--allow-all",
    "--no-prompt",
    "--v8-flags=--max-semi-space-size=4",
    "--exclude-unused-npm",
    // What runs as a worker is in no import.
    "--include=commands/worker.ts",
    `--output=${output}`,
    "main.ts",
  ];
  try {
    await run(Deno.execPath(), args, { cwd: staged, env: { NO_COLOR: "1" } });
  } catch (error) {
    const reason = error instanceof RunError ? noBaseRuntime(error.stderr) : undefined;
    throw reason === undefined ? error : new NoBaseRuntime(reason, { cause: error });
  }
}

/** From the errors of `deno compile` why there is none; `undefined` where something else is wrong. */
export function noBaseRuntime(stderr: string): string | undefined {
  const url = /https:\S*denort[^\s)]*/.exec(stderr)?.[0];
  if (url === undefined) return undefined;
  const causes = [...stderr.matchAll(/^ *\d+: (.*)$/gm)].map(([, cause]) => cause);
  const cause = causes.filter((each) => each !== "<unknown>").at(-1) ?? "the download failed";
  return `Cannot download ${url}: ${cause}`;
}
