// deno-lint-ignore-file no-console -- it tells people what it made
// `deno task release`: makes dist/rustre-VERSION-OS-ARCH.tar.gz with all that an operator needs. The
// same commit, built by the same Deno, gives the same bytes.
//
//   deno task release [--compiled | --self-extracting]

import { createHash } from "node:crypto";
import { mkdir, mkdtemp, readdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, resolve } from "node:path";
import { gzipSync } from "node:zlib";
import { version } from "../shared/version.ts";
import { build, readBuildFlags, runTask } from "./build.ts";
import { fileTime } from "./manifest.ts";
import { licenceTexts } from "./licences.ts";
import { root } from "./stage.ts";
import { tar, type TarEntry } from "./tar.ts";
import { run } from "./run.ts";

/**
 * Makes the archive in `directory`, with this executable, which has to run for it; gives its path.
 * `cache` is where the executable unpacks itself.
 */
export async function release(
  directory: string,
  executable: string,
  cache: string,
): Promise<string> {
  const name = `rustre-${version}-${Deno.build.os}-${Deno.build.arch}`;
  const path = resolve(directory, `${name}.tar.gz`);
  await mkdir(directory, { recursive: true });
  const work = await mkdtemp(resolve(directory, "release-"));
  try {
    await copy(executable, `${work}/rustre`);
    await addUnits(executable, work, cache);
    for (const file of await documents()) await copy(`${root}${file}`, `${work}/${file}`);
    await write(`${work}/LICENCES.txt`, await licenceTexts());
    const entries = await readEntries(work);
    const top = { name: "", mode: 0o755, bytes: new Uint8Array() };
    const inside = [top, ...entries, checksums(entries)]
      .map((entry) => ({ ...entry, name: `${name}/${entry.name}` }));
    // Nearly all that is in it is compressed already.
    await writeFile(`${path}.new`, gzipSync(tar(inside, fileTime), { level: 1 }));
    await rename(`${path}.new`, path);
    return path;
  } finally {
    await rm(work, { recursive: true, force: true });
  }
}

/** All that they refer to each other for. */
async function documents(): Promise<string[]> {
  const names = await readdir(`${root}docs`, { recursive: true });
  const inside = names.filter((name) => name.endsWith(".md")).map((name) => `docs/${name}`);
  return ["CHANGELOG.md", "CONTRIBUTING.md", "LICENSE", "README.md", ...inside];
}

/** The units and the sample configuration, as the executable itself would install them. */
async function addUnits(executable: string, work: string, cache: string): Promise<void> {
  const rustre = (...args: string[]) =>
    run("env", ["-i", executable, "--cache-dir", cache, ...args]);
  const { stdout } = await rustre("admin", "--help");
  if (!/\binstall-units\b/.test(stdout)) return;
  await rustre("admin", "install-units", "--root", `${work}/units`);
}

async function readEntries(work: string): Promise<TarEntry[]> {
  const entries: TarEntry[] = [];
  for (const entry of await readdir(work, { withFileTypes: true, recursive: true })) {
    const path = `${entry.parentPath}/${entry.name}`;
    const name = path.slice(work.length + 1);
    if (entry.isDirectory()) {
      entries.push({ name: `${name}/`, mode: 0o755, bytes: new Uint8Array() });
    } else {
      const mode = name === "rustre" ? 0o755 : 0o644;
      entries.push({ name, mode, bytes: await readFile(path) });
    }
  }
  return entries;
}

/** As `sha256sum --check` reads them. */
function checksums(entries: readonly TarEntry[]): TarEntry {
  const files = entries.filter(({ name }) => !name.endsWith("/"))
    .sort((a, b) => a.name < b.name ? -1 : 1);
  const lines = files.map(({ name, bytes }) =>
    `${createHash("sha256").update(bytes).digest("hex")}  ${name}\n`
  );
  return { name: "SHA256SUMS", mode: 0o644, bytes: new TextEncoder().encode(lines.join("")) };
}

async function copy(from: string, to: string): Promise<void> {
  await write(to, await readFile(from));
}

async function write(path: string, content: string | Uint8Array): Promise<void> {
  await mkdir(dirname(path), { recursive: true });
  await writeFile(path, content);
}

async function releaseTask(): Promise<void> {
  const { output, wanted } = readBuildFlags(Deno.args);
  const { kind, reason } = await build(output, wanted);
  const cache = await mkdtemp(`${tmpdir()}/rustre-release-`);
  const path = await release(`${root}dist`, output, cache);
  await rm(cache, { recursive: true });
  const digest = createHash("sha256").update(await readFile(path)).digest("hex");
  console.log(`Made ${path} with a ${kind} (${reason})\nSHA-256 ${digest}`);
}

if (import.meta.main) await runTask(releaseTask);
