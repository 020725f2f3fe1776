// Downloads a remote tree: files side by side, branches side by side, directories before what is in
// them, and the modes and times of new ones after it.

import { isRustreError, RustreError } from "../../shared/errors.ts";
import { limits } from "../../shared/limits.ts";
import type { Attributes } from "../../shared/model.ts";
import { platformCode } from "../../shared/platform_errors.ts";
import { joinPath } from "../paths.ts";
import { readInOrder, writeAll } from "./byte_streams.ts";
import { LocalDraft, makeLocalLink } from "./local_draft.ts";
import { localCall } from "./local_errors.ts";
import { checkLocalName, modeOfCopy, statLocal } from "./local_files.ts";
import { setTimes } from "./local_times.ts";
import { TaskGroup } from "./task_group.ts";
import type { Transfer } from "./transfer.ts";

export interface RemoteEntry {
  readonly path: string;
  readonly attributes: Attributes;
}

/** Downloads whatever `entry` is. Of a directory, failures below it are reported by themselves. */
export async function downloadEntry(
  transfer: Transfer,
  entry: RemoteEntry,
  destination: string,
): Promise<void> {
  switch (entry.attributes.type) {
    case "directory":
      return await downloadDirectory(transfer, entry, destination);
    case "file":
      transfer.expect(entry.attributes.sizeBytes);
      return await downloadFile(transfer, entry.path, destination);
    case "symlink":
      return await downloadLink(transfer, entry, destination);
  }
}

/** One that is replaced while it is read is read from the start: half of each is no file. */
async function downloadFile(
  transfer: Transfer,
  path: string,
  destination: string,
): Promise<void> {
  for (let restarts = 0;; restarts++) {
    let movedBytes = 0;
    const onMoved = (bytes: number) => {
      movedBytes += bytes;
      transfer.moved(bytes);
    };
    try {
      return await downloadVersion(transfer, { path, destination, onMoved });
    } catch (error) {
      const again = isRustreError(error, "OBJECT_GONE") && restarts < limits.downloadRestartsMax;
      if (!again) throw error;
    }
    transfer.moved(-movedBytes);
  }
}

/** The file that has the name at the opening. */
async function downloadVersion(
  transfer: Transfer,
  how: { path: string; destination: string; onMoved: (bytes: number) => void },
): Promise<void> {
  const { path, destination, onMoved } = how;
  const { fileSystem, signal, replace, environment } = transfer;
  await using remote = await fileSystem.open(path, { signal });
  const { attributes } = remote;
  const options = { replace, random: environment.random };
  await using draft = await LocalDraft.create(destination, options);
  // The disk is only taken where data is: what lies behind its end are zeros.
  await localCall(`write "${destination}"`, () => draft.file.truncate(attributes.sizeBytes));
  const range = { offsetBytes: 0, lengthBytes: attributes.dataEndBytes };
  for await (const bytes of readInOrder(remote, range, { ...transfer.streamOptions, onMoved })) {
    await writeAll(draft.file, bytes, destination);
  }
  transfer.moved(attributes.sizeBytes - Math.min(attributes.dataEndBytes, attributes.sizeBytes));
  transfer.throwIfInterrupted();
  const mode = modeOfCopy(attributes, localCaller());
  await draft.publish({ ...attributes, mode }, { replace });
  transfer.count("files");
}

async function downloadLink(
  transfer: Transfer,
  { path, attributes }: RemoteEntry,
  destination: string,
): Promise<void> {
  const { fileSystem, signal, replace, environment } = transfer;
  const target = await fileSystem.readlink(path, { signal });
  const { atimeNs, mtimeNs } = attributes;
  const how = { replace, random: environment.random };
  await makeLocalLink(destination, { target, atimeNs, mtimeNs }, how);
  transfer.count("symlinks");
}

async function downloadDirectory(
  transfer: Transfer,
  { path, attributes }: RemoteEntry,
  destination: string,
): Promise<void> {
  const isNew = await makeDirectory(attributes.mode, destination);
  await downloadChildren(transfer, path, destination);
  transfer.count("directories");
  // One that was there is no copy of this one, and keeps what it has.
  if (!isNew) return;
  await localCall(`change "${destination}"`, async () => {
    await Deno.chmod(destination, attributes.mode);
    await setTimes(destination, attributes);
  });
}

/**
 * Makes the directory, or takes the one that is there. A symbolic link in its place is refused:
 * what it leads to is none of this tree. Tells whether it is new.
 */
async function makeDirectory(mode: number, destination: string): Promise<boolean> {
  const action = `make the directory "${destination}"`;
  const isNew = await localCall(action, async () => {
    try {
      await Deno.mkdir(destination, { mode: mode | 0o700 });
      return true;
    } catch (error) {
      if (platformCode(error) !== "EEXIST") throw error;
      return false;
    }
  });
  const local = await statLocal(destination, { follow: false, action });
  if (local.type === "directory") return isNew;
  throw new RustreError("EEXIST", `Cannot ${action}: something else is there`);
}

async function downloadChildren(
  transfer: Transfer,
  directory: string,
  destination: string,
): Promise<void> {
  const { fileSystem, signal } = transfer;
  await using files = new TaskGroup(transfer.files, signal);
  await using branches = new TaskGroup(transfer.branches, signal);
  for await (const { name, type, attributes } of fileSystem.readdirPlus(directory, { signal })) {
    const entry = { path: joinPath(directory, name), attributes };
    const download = async () => {
      await transfer.entry(async () => {
        checkLocalName(name);
        await downloadEntry(transfer, entry, joinPath(destination, name));
      });
    };
    await (type === "directory" ? branches.startOrRun(download) : files.start(download));
  }
  await files.done();
  await branches.done();
}

/** As whom local files are made. */
function localCaller(): { uid: number | null; gid: number | null } {
  return { uid: Deno.uid(), gid: Deno.gid() };
}
