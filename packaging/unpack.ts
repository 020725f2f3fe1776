// Runs once on each host, in the first start of a self-extracting executable. The script in front of
// it has unpacked Deno into a new directory; this unpacks the rest, makes sure that all of it is what
// was packed, and gives the directory its name. Only then does anybody else see it.
//
// Arguments: the executable, where in it the archive is, the cache directory, the new directory in it
// and the version's name.

import { createHash } from "node:crypto";
import * as fs from "node:fs";
import {
  cacheName,
  denoName,
  fileTime,
  inUseName,
  type Manifest,
  type PackedFile,
  stateName,
} from "./manifest.ts";

const [executable, archiveAt, cache, fresh, id] = Deno.args as [
  string,
  string,
  string,
  string,
  string,
];
const target = `${cache}/${id}`;
/** After this long, whoever unpacked into a directory is gone. */
const abandonedAfterMs = 3_600_000;
const versionPattern = /^[0-9a-f]{16}$/;

// Whatever the user's is: what others can write would be run by this user.
Deno.umask(0o022);
try {
  const manifest = unpackArchive();
  finish(manifest);
  await install(manifest);
} catch (error) {
  const reason = error instanceof Error ? error.message : String(error);
  const text = `"${executable}" cannot be unpacked into "${cache}": ${reason}\n`;
  Deno.stderr.writeSync(new TextEncoder().encode(text));
  Deno.exit(1);
}

/** Writes all files but Deno into the new directory. */
function unpackArchive(): Manifest {
  const file = fs.openSync(executable, "r");
  let position = Number(archiveAt);
  const read = (length: number): Uint8Array => {
    const bytes = new Uint8Array(length);
    if (fs.readSync(file, bytes, 0, length, position) !== length) throw new Error("it is cut off");
    position += length;
    return bytes;
  };
  const manifestBytes = new DataView(read(4).buffer).getUint32(0, true);
  const text = read(manifestBytes);
  if (sha256Of(text).slice(0, id.length) !== id) throw new Error("it is damaged");
  const manifest = JSON.parse(new TextDecoder().decode(text)) as Manifest;
  for (const { name, sizeBytes } of manifest.files) {
    if (name !== denoName) fs.writeFileSync(`${fresh}/${name}`, read(sizeBytes));
  }
  fs.closeSync(file);
  return manifest;
}

/** Compares the files with the manifest, and has them on the disk before their directory is seen. */
function finish(manifest: Manifest): void {
  for (const file of manifest.files) {
    const path = `${fresh}/${file.name}`;
    if (!isAsPacked(path, file)) throw new Error(`"${file.name}" in it is damaged`);
    fs.utimesSync(path, fileTime, fileTime);
    fs.chmodSync(path, file.mode);
    sync(path);
  }
  fs.rmSync(`${fresh}/unpack.js`);
  fs.rmSync(`${fresh}/unpack`, { recursive: true, force: true });
  fs.mkdirSync(`${fresh}/${stateName}`);
  // Whoever could write what the engine keeps in there could have others run it.
  fs.mkdirSync(`${fresh}/${stateName}/${cacheName}`, { mode: 0o700 });
  fs.writeFileSync(`${fresh}/${stateName}/${inUseName}`, "");
  // Where others may use the cache directory, they may use the files in it.
  fs.chmodSync(fresh, 0o755);
  sync(fresh);
}

/** One at a time, so that what one has put in place is not taken away by another. */
async function install(manifest: Manifest): Promise<void> {
  using lock = await Deno.open(`${cache}/lock`, { write: true, create: true, mode: 0o600 });
  await lock.lock(true);
  if (fs.existsSync(target)) {
    // Somebody was quicker, or the files were damaged later.
    if (isIntact(manifest)) return;
    removeDirectory(id);
  }
  fs.renameSync(fresh, target);
  sync(cache);
  for (const { name } of fs.readdirSync(cache, { withFileTypes: true })) {
    if (isAbandoned(name)) removeDirectory(name);
  }
}

/** Other versions that nobody runs, and what was left by those who were killed in here. */
function isAbandoned(name: string): boolean {
  if (name.startsWith("old.")) return true;
  if (name.startsWith("new.")) {
    return Date.now() - fs.statSync(`${cache}/${name}`).mtimeMs > abandonedAfterMs;
  }
  return versionPattern.test(name) && name !== id && !isInUse(name);
}

function isInUse(version: string): boolean {
  try {
    using file = Deno.openSync(`${cache}/${version}/${stateName}/${inUseName}`, { write: true });
    return !file.tryLockSync(true);
  } catch (error) {
    // Without its lock it is none that anybody could run from safely.
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}

/** First its name goes, so that nobody starts from a half of it. */
function removeDirectory(name: string): void {
  const doomed = `${cache}/old.${Deno.pid}.${name}`;
  fs.renameSync(`${cache}/${name}`, doomed);
  fs.rmSync(doomed, { recursive: true, force: true });
}

/** Whether the files that are there are those of the manifest, unchanged, and no others. */
function isIntact({ files }: Manifest): boolean {
  try {
    if (fs.readdirSync(target).length !== files.length + [stateName].length) return false;
    return files.every((file) => {
      const path = `${target}/${file.name}`;
      const { mode, mtimeMs } = fs.lstatSync(path);
      return (mode & 0o7777) === file.mode && mtimeMs === fileTime * 1000 && isAsPacked(path, file);
    });
  } catch {
    // Missing or not readable: they are to be replaced.
    return false;
  }
}

function isAsPacked(path: string, { sizeBytes, sha256 }: PackedFile): boolean {
  const bytes = fs.readFileSync(path);
  return bytes.length === sizeBytes && sha256Of(bytes) === sha256;
}

function sha256Of(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}

function sync(path: string): void {
  const file = fs.openSync(path, "r");
  fs.fsyncSync(file);
  fs.closeSync(file);
}
