// Makes the self-extracting executable, of the Deno that runs the build: a shell script, the program,
// and Deno compressed, each from a whole block on, so that the script finds them with `dd`.

import { createHash } from "node:crypto";
import { readdir, readFile, writeFile } from "node:fs/promises";
import { promisify } from "node:util";
import { gzip } from "node:zlib";
import { bundle, unpackScript } from "./bundle.ts";
import { denoName, fileTimeText, type Manifest, type PackedFile } from "./manifest.ts";
import { readConfiguration, root } from "./stage.ts";

const blockBytes = 65_536;
const idLength = 16;
const newline = 10;
/** Compressed each for itself, all at the same time. `gzip -d` takes them as one. */
const compressedParts = 4;
/** Level 9 takes 1.5 times as long, for 0.35 % less. */
const compressionLevel = 6;

interface Packed extends PackedFile {
  readonly bytes: Uint8Array;
}

/** Bundles the staged sources and writes the executable. */
export async function makeSelfExtracting(staged: string, output: string): Promise<void> {
  const bundled = `${staged}/bundled`;
  await bundle(staged, bundled);
  const deno = await readFile(Deno.execPath());
  const files: Packed[] = [packed(denoName, 0o555, deno)];
  for (const name of (await readdir(bundled)).sort()) {
    files.push(packed(name, 0o444, await readFile(`${bundled}/${name}`)));
  }
  // The order in which the C locale has them.
  files.sort((a, b) => a.name < b.name ? -1 : 1);
  const unpack = await unpackScript(staged);
  const template = await readFile(`${root}packaging/start.sh`, "utf8");
  const manifest = new TextEncoder().encode(JSON.stringify(
    {
      files: files.map(({ bytes: _, ...file }) => file),
      scriptsSha256: sha256Of(template, unpack),
    } satisfies Manifest,
  ));
  const id = sha256Of(manifest).slice(0, idLength);
  const archive = [
    new Uint8Array(new Uint32Array([manifest.length]).buffer),
    manifest,
    ...files.filter(({ name }) => name !== denoName).map(({ bytes }) => bytes),
  ];
  // Compressed, it has a checksum that the script can rely on.
  const program = [padded(await compressed(unpack, 1)), padded(archive)];
  const script = await startScript(template, { id, files, program });
  await writeFile(output, "", { mode: 0o755 });
  for (const part of [script, ...program, ...await compressed(deno, compressedParts)]) {
    await writeFile(output, part, { flag: "a" });
  }
}

function packed(name: string, mode: number, bytes: Uint8Array): Packed {
  if (!/^[\w.-]+$/.test(name)) throw new Error(`"${name}" is no name that ls shows as it is`);
  return { name, mode, sizeBytes: bytes.length, sha256: sha256Of(bytes), bytes };
}

function sha256Of(...parts: (string | Uint8Array)[]): string {
  const hash = createHash("sha256");
  for (const part of parts) hash.update(part);
  return hash.digest("hex");
}

/** Padded to whole blocks. */
function padded(parts: readonly Uint8Array[], padding = 0): Uint8Array {
  const length = parts.reduce((sum, part) => sum + part.length, 0);
  const result = new Uint8Array(Math.ceil(length / blockBytes) * blockBytes).fill(padding);
  let position = 0;
  for (const part of parts) {
    result.set(part, position);
    position += part.length;
  }
  return result;
}

interface Contents {
  readonly id: string;
  readonly files: readonly PackedFile[];
  readonly program: readonly Uint8Array[];
}

/** The script in front, with what it has to know. It takes one block. */
async function startScript(template: string, contents: Contents): Promise<Uint8Array> {
  const blocks = contents.program.map((part) => part.length / blockBytes);
  const [unpackBlocks = 0, archiveBlocks = 0] = blocks;
  const { os, arch } = Deno.build;
  const values: Record<string, string | number> = {
    ID: contents.id,
    PROGRAM_BLOCK: 1,
    PROGRAM_BLOCKS: unpackBlocks,
    DENO_BLOCK: 1 + unpackBlocks + archiveBlocks,
    ARCHIVE: (1 + unpackBlocks) * blockBytes,
    BLOCK_BYTES: blockBytes,
    PLATFORM: `${os} on ${arch} with glibc 2.27 or newer`,
    FLAGS: (await denoFlags()).join(" "),
    EXPECTED: contents.files.map(lineOf).join("\n"),
  };
  const text = template.replaceAll(/@([A-Z_]+)@/g, (_, name) => {
    const value = values[name];
    if (value === undefined) throw new Error(`start.sh asks for @${name}@`);
    return String(value);
  });
  const script = padded([new TextEncoder().encode(text)], newline);
  if (script.length !== blockBytes) throw new Error("start.sh does not fit into one block");
  return script;
}

/** With which Deno neither reads nor fetches anything that is not in the executable. */
async function denoFlags(): Promise<string[]> {
  const { unstable } = await readConfiguration();
  return [
    "--quiet",
    "--allow-all",
    "--no-prompt",
    "--no-config",
    "--no-lock",
    "--no-remote",
    "--no-npm",
    "--cached-only",
    ...unstable.map((name) => `--unstable-${name}`),
  ];
}

/** What start.sh makes of a file's line in the output of `ls`. */
function lineOf({ name, mode, sizeBytes }: PackedFile): string {
  const text = mode === 0o555 ? "-r-xr-xr-x" : "-r--r--r--";
  return `${text} ${sizeBytes} ${fileTimeText} ${name}`;
}

async function compressed(bytes: Uint8Array, count: number): Promise<Uint8Array[]> {
  const size = Math.ceil(bytes.length / count);
  const parts = Array.from(
    { length: count },
    (_, i) => bytes.subarray(i * size, (i + 1) * size),
  );
  return await Promise.all(
    parts.map((part) => promisify(gzip)(part, { level: compressionLevel })),
  );
}
