// The program as a few files of JavaScript, which need no configuration, no packages and no cache:
// what the self-extracting executable has in it.

import { existsSync } from "node:fs";
import { copyFile, mkdir, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { shippedPackages } from "./packages.ts";
import { readConfiguration, root } from "./stage.ts";
import { run } from "./run.ts";

/** What only the self-extracting executable has. */
const own = ["launch.ts", "manifest.ts", "native_crc32.ts", "unpack.ts"];

/**
 * Bundles staged sources into files in `to`, all in one directory: `rustre.js`, `worker.js` and what
 * they share, and the machine code of packages. In a directory of its own it makes `unpack.js`.
 */
export async function bundle(staged: string, to: string): Promise<void> {
  await mkdir(`${staged}/packaging`);
  for (const name of own) {
    await copyFile(`${root}packaging/${name}`, `${staged}/packaging/${name}`);
  }
  // Entries in the top directory give files in the top directory.
  await writeFile(`${staged}/rustre.ts`, 'import "./packaging/launch.ts";\n');
  await writeFile(`${staged}/worker.ts`, 'import "./commands/worker.ts";\n');
  await replaceOnce(
    `${staged}/commands/run_workers.ts`,
    'import.meta.resolve("./worker.ts")',
    'import.meta.resolve("./worker.js")',
  );
  await installPackages(staged);
  await denoBundle(staged, ["--code-splitting", "--outdir", to, "rustre.ts", "worker.ts"]);
  await denoBundle(staged, ["--outdir", `${staged}/unpack`, "packaging/unpack.ts"]);
  for (const name of await readdir(to)) await defineDirectoryName(`${to}/${name}`);
  await copyMachineCode(to);
}

export function unpackScript(staged: string): Promise<Uint8Array> {
  return readFile(`${staged}/unpack/unpack.js`);
}

/**
 * Installs them below the staged sources: the bundle has their paths in it, and is to be the same
 * wherever it is made.
 */
async function installPackages(staged: string): Promise<void> {
  const { version, imports, unstable, compilerOptions } = await readConfiguration();
  const { foundationdb } = imports;
  if (foundationdb !== undefined) {
    // A bundle gives whoever imports a CommonJS package as a whole its default export alone.
    const text = `export { open, setAPIVersion } from "${foundationdb}";\n`;
    await writeFile(`${staged}/packaging/native_foundationdb.ts`, text);
  }
  const configuration = {
    version,
    imports: {
      ...imports,
      "@node-rs/crc32": "./packaging/native_crc32.ts",
      ...foundationdb === undefined ? {} : { foundationdb: "./packaging/native_foundationdb.ts" },
    },
    nodeModulesDir: "auto",
    unstable,
    compilerOptions,
  };
  await writeFile(`${staged}/deno.json`, JSON.stringify(configuration));
  await run(Deno.execPath(), ["install", "--quiet"], { cwd: staged, env: { NO_COLOR: "1" } });
  for (const name of await readdir(`${staged}/node_modules/.deno`)) {
    if (!name.startsWith("node-gyp-build@")) continue;
    const path = `${staged}/node_modules/.deno/${name}/node_modules/node-gyp-build/index.js`;
    // The file that is there may be the very one of Deno's cache.
    await rm(path);
    await writeFile(path, findMachineCode);
  }
}

/** Stands for node-gyp-build, which foundationdb has to look for its machine code. */
const findMachineCode = `
  const { createRequire } = require("node:module");
  module.exports = () => createRequire(process.execPath)("./foundationdb.node");
`;

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

/** CommonJS packages may ask for it, and a module has it under another name. */
async function defineDirectoryName(path: string): Promise<void> {
  const text = await readFile(path, "utf8");
  if (!/\b__dirname\b/.test(text)) return;
  await writeFile(path, `const __dirname = import.meta.dirname;\n${text}`);
}

/** Copies the machine code of packages to where what stands for them looks for it. */
async function copyMachineCode(to: string): Promise<void> {
  const arch = Deno.build.arch === "aarch64" ? "arm64" : "x64";
  const packages = new Map((await shippedPackages()).map((each) => [each.name, each.directory]));
  const crc32 = packages.get(`@node-rs/crc32-${Deno.build.os}-${arch}-gnu`);
  if (crc32 === undefined) throw new Error("There is no @node-rs/crc32 for this platform");
  await copyFile(await machineCodeIn(crc32), `${to}/crc32.node`);
  const foundationdb = packages.get("foundationdb");
  if (foundationdb === undefined) return;
  const prebuilt = `${foundationdb}/prebuilds/${Deno.build.os}-${arch}`;
  // There is none for every platform; what needs it says so then.
  if (existsSync(prebuilt)) {
    await copyFile(await machineCodeIn(prebuilt), `${to}/foundationdb.node`);
  }
}

async function machineCodeIn(directory: string): Promise<string> {
  const file = (await readdir(directory)).find((name) => name.endsWith(".node"));
  if (file === undefined) throw new Error(`"${directory}" has no machine code`);
  return `${directory}/${file}`;
}
