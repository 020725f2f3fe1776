// The sources as they are built: a copy of those that ship, with what a build knows put into it.

import { copyFile, mkdir, readdir, readFile, writeFile } from "node:fs/promises";
import { dirname } from "node:path";
import { fileURLToPath } from "node:url";
import type { BuildInfo } from "../shared/build_info.ts";
import { run } from "./run.ts";

/** The checkout. */
export const root: string = fileURLToPath(import.meta.resolve("../"));

/** What the program consists of, beside packages. */
const shipped = ["main.ts", "commands", "client", "mds", "mgs", "oss", "shared"];

/** Makes `directory` a copy of what ships. */
export async function stageSources(directory: string, info: BuildInfo): Promise<void> {
  for (const name of shipped) await copyTree(`${root}${name}`, `${directory}/${name}`);
  await copyFile(`${root}deno.lock`, `${directory}/deno.lock`);
  const text = `export const buildInfo = ${JSON.stringify(info)};\n`;
  await writeFile(`${directory}/shared/build_info.ts`, text);
}

/** Copies files that git has or could have: no editor's leftovers. */
async function copyTree(from: string, to: string): Promise<void> {
  if (from.endsWith(".ts")) {
    await mkdir(dirname(to), { recursive: true });
    return await copyFile(from, to);
  }
  for (const entry of await readdir(from, { withFileTypes: true })) {
    if (!entry.isDirectory() && !entry.name.endsWith(".ts")) continue;
    await copyTree(`${from}/${entry.name}`, `${to}/${entry.name}`);
  }
}

export interface Configuration {
  readonly version: string;
  readonly imports: Record<string, string>;
  readonly unstable: readonly string[];
  readonly compilerOptions: Record<string, unknown>;
}

export async function readConfiguration(): Promise<Configuration> {
  return JSON.parse(await readFile(`${root}deno.json`, "utf8"));
}

/** Of the checkout; it says so where files differ from their commit. */
export async function commitOf(): Promise<string> {
  const git = (...args: string[]) => run("git", ["-C", root, ...args]);
  try {
    const commit = (await git("rev-parse", "--short=12", "HEAD")).stdout.trim();
    const { stdout } = await git("status", "--porcelain", "--untracked-files=no");
    return stdout === "" ? commit : `${commit} with changes`;
  } catch {
    // No git, or no repository: sources from a tarball can be built too.
    return "unknown";
  }
}
