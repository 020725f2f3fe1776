// Uploads a local tree: files side by side, branches side by side, directories before what is in
// them, and the modes and times of new ones after it.

import { isRustreError, RustreError } from "../../shared/errors.ts";
import { joinPath } from "../paths.ts";
import {
  localEntries,
  type LocalEntry,
  type LocalFile,
  readLocalLink,
  statLocal,
} from "./local_files.ts";
import { TaskGroup } from "./task_group.ts";
import { temporaryPath } from "./temporary_path.ts";
import type { Transfer } from "./transfer.ts";
import { uploadFile } from "./upload_file.ts";

/** Uploads whatever `entry` is. Of a directory, failures below it are reported by themselves. */
export async function uploadEntry(
  transfer: Transfer,
  entry: LocalEntry,
  destination: string,
): Promise<void> {
  const { path, local } = entry;
  switch (local.type) {
    case "directory":
      return await uploadDirectory(transfer, entry, destination);
    case "file":
      transfer.expect(local.sizeBytes);
      return await uploadFile(transfer, entry, destination);
    case "symlink":
      return await uploadLink(transfer, entry, destination);
    case "other":
      throw new RustreError(
        "EINVAL",
        `Cannot upload "${path}": neither a file, a directory nor a symbolic link`,
      );
  }
}

async function uploadDirectory(
  transfer: Transfer,
  { path, local }: LocalEntry,
  destination: string,
): Promise<void> {
  const isNew = await makeDirectory(transfer, local, destination);
  await uploadChildren(transfer, path, destination);
  transfer.count("directories");
  // One that was there is no copy of this one, and keeps what it has.
  if (!isNew) return;
  const { fileSystem, signal } = transfer;
  const { mode, atimeNs, mtimeNs } = local;
  await fileSystem.setAttributes(destination, { mode, atimeNs, mtimeNs }, { signal });
}

/**
 * Makes the directory, or takes the one that is there. The caller can write to a new one. Tells
 * whether it is new.
 */
async function makeDirectory(
  { fileSystem, signal }: Transfer,
  local: LocalFile,
  destination: string,
): Promise<boolean> {
  try {
    await fileSystem.mkdir(destination, { mode: local.mode | 0o700, signal });
    return true;
  } catch (error) {
    if (!isRustreError(error, "EEXIST")) throw error;
    const existing = await fileSystem.stat(destination, { follow: false, signal });
    if (existing.type === "directory") return false;
    throw error;
  }
}

async function uploadChildren(
  transfer: Transfer,
  directory: string,
  destination: string,
): Promise<void> {
  await using files = new TaskGroup(transfer.files, transfer.signal);
  await using branches = new TaskGroup(transfer.branches, transfer.signal);
  for await (const { name } of localEntries(directory)) {
    await transfer.entry(async () => {
      const path = joinPath(directory, name);
      const local = statLocal(path, { follow: false, action: `upload "${path}"` });
      const upload = async () => {
        await transfer.entry(() =>
          uploadEntry(transfer, { path, local }, joinPath(destination, name))
        );
      };
      await (local.type === "directory" ? branches.startOrRun(upload) : files.start(upload));
    });
  }
  await files.done();
  await branches.done();
}

async function uploadLink(
  transfer: Transfer,
  { path, local }: LocalEntry,
  destination: string,
): Promise<void> {
  const { fileSystem, signal, replace } = transfer;
  const target = await readLocalLink(path);
  try {
    await fileSystem.symlink(target, destination, { signal });
  } catch (error) {
    if (!replace || !isRustreError(error, "EEXIST")) throw error;
    await replaceByLink(transfer, target, destination);
  }
  const { atimeNs, mtimeNs } = local;
  await fileSystem.setAttributes(destination, { atimeNs, mtimeNs }, { follow: false, signal });
  transfer.count("symlinks");
}

/** A link of another name takes the place of what is there, in one step. */
async function replaceByLink(
  { fileSystem, signal, environment }: Transfer,
  target: string,
  destination: string,
): Promise<void> {
  const temporary = temporaryPath(destination, environment.random);
  await fileSystem.symlink(target, temporary, { signal });
  try {
    await fileSystem.rename(temporary, destination, { signal });
  } catch (error) {
    // Not with the signal: it may have fired already.
    await fileSystem.unlink(temporary).catch(() => {});
    throw error;
  }
}
