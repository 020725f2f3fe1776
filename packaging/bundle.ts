// The program as a few files of JavaScript, which need no configuration, no packages and no cache:
// what the self-extracting executable has in it.

import { copyFile, mkdir, readdir, readFile, writeFile } from "node:fs/promises";
import { shippedPackages } from "./packages.ts";
import { readConfiguration, root } from "./stage.ts";
import { run } from "./run.ts";

/** What only the self-extracting executable has. */
const own = ["launch.ts", "manifest.ts", "native_crc32.ts", "unpack.ts"];

/**
 * Bundles staged sources into files in `to`, all in one directory: `rustre.js`, `worker.js` and what
 * they share, the native part of each package, and, in a directory of its own, `unpack.js`.
 */
export async function bundle(staged: string, to: string): Promise<void> {
  await mkdir(`${staged}/packaging`);
  for (const name of own) {
    await copyFile(`${root}packaging/${name}`, `${staged}/packaging/${name}`);
  }
  await configure(staged);
  // Entries in the top directory give files in the top directory.
  await writeFile(`${staged}/rustre.ts`, 'import "./packaging/launch.ts";\n');
  await writeFile(`${staged}/worker.ts`, 'import "./commands/worker.ts";\n');
  await replaceOnce(
    `${staged}/commands/run_workers.ts`,
    'import.meta.resolve("./worker.ts")',
    'import.meta.resolve("./worker.js")',
  );
  await denoBundle(staged, ["--code-splitting", "--outdir", to, "rustre.ts", "worker.ts"]);
  await denoBundle(staged, ["--outdir", `${staged}/unpack`, "packaging/unpack.ts"]);
  await copyFile(await nativePart("@node-rs/crc32"), `${to}/crc32.node`);
}

export function unpackScript(staged: string): Promise<Uint8Array> {
  return readFile(`${staged}/unpack/unpack.js`);
}

/**
 * Packages are installed below the staged sources: the bundle has their paths in it, and is to be
 * the same wherever it is made.
 */
async function configure(staged: string): Promise<void> {
  const { version, imports, unstable, compilerOptions } = await readConfiguration();
  const configuration = {
    version,
    imports: { ...imports, "@node-rs/crc32": "./packaging/native_crc32.ts" },
    nodeModulesDir: "auto",
    unstable,
    compilerOptions,
  };
  await writeFile(`${staged}/deno.json`, JSON.stringify(configuration));
}

async function denoBundle(staged: string, args: readonly string[]): Promise<void> {
  await run(Deno.execPath(), ["bundle", "--quiet", "--platform=deno", ...args], {
    cwd: staged,
    env: { NO_COLOR: "1" },
  });
}

async function replaceOnce(path: string, old: string, replacement: string): Promise<void> {
  const parts = (await readFile(path, "utf8")).split(old);
  if (parts.length !== 2) throw new Error(`"${path}" has not exactly one ${old}`);
  await writeFile(path, parts.join(replacement));
}

/** The file with a package's machine code for this platform; it is a package of its own. */
async function nativePart(name: string): Promise<string> {
  const arch = Deno.build.arch === "aarch64" ? "arm64" : "x64";
  const wanted = `${name}-${Deno.build.os}-${arch}-gnu`;
  const found = (await shippedPackages()).find((each) => each.name === wanted);
  if (!found) throw new Error(`There is no package ${wanted} in Deno's cache`);
  const files = await readdir(found.directory);
  const file = files.find((each) => each.endsWith(".node"));
  if (!file) throw new Error(`The package ${wanted} has no native part`);
  return `${found.directory}/${file}`;
}
