// Downloads a remote tree: files side by side, branches side by side, directories before what is in
// them, and the modes and times of new ones after it.

import { isRustreError, RustreError } from "../../shared/errors.ts";
import { limits } from "../../shared/limits.ts";
import type { Attributes } from "../../shared/model.ts";
import { platformCode } from "../../shared/platform_errors.ts";
import type { ListedAttributes } from "../file_system.ts";
import { joinPath } from "../paths.ts";
import { LocalDraft, makeLocalLink } from "./local_draft.ts";
import { localCall } from "./local_errors.ts";
import { checkLocalName, modeOfCopy, statLocal } from "./local_files.ts";
import { setTimes } from "./local_times.ts";
import { TaskGroup } from "./task_group.ts";
import type { Transfer } from "./transfer.ts";

export interface RemoteEntry {
  readonly path: string;
  readonly attributes: Attributes;
  /** The same, where a listing has given them. */
  readonly listed?: ListedAttributes | undefined;
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
      return await downloadFile(transfer, entry, destination);
    case "symlink":
      return await downloadLink(transfer, entry, destination);
  }
}

/** One that is replaced while it is read is read from the start: half of each is no file. */
async function downloadFile(
  transfer: Transfer,
  entry: RemoteEntry,
  destination: string,
): Promise<void> {
  for (let restarts = 0;; restarts++) {
    let movedBytes = 0;
    const onMoved = (bytes: number) => {
      movedBytes += bytes;
      transfer.moved(bytes);
    };
    try {
      const { path } = entry;
      // What a listing said of it is over when it was replaced.
      const listed = restarts === 0 ? entry.listed : undefined;
      return await downloadVersion(transfer, { path, listed, destination, onMoved });
    } catch (error) {
      const again = isRustreError(error, "OBJECT_GONE") && restarts < limits.downloadRestartsMax;
      if (!again) throw error;
    }
    transfer.moved(-movedBytes);
  }
}

interface VersionDownload {
  readonly path: string;
  readonly listed: ListedAttributes | undefined;
  readonly destination: string;
  readonly onMoved: (bytes: number) => void;
}

/** The file that has the name at the opening. */
async function downloadVersion(
  transfer: Transfer,
  { path, listed, destination, onMoved }: VersionDownload,
): Promise<void> {
  const { fileSystem, signal, replace, environment: { random } } = transfer;
  await using remote = await fileSystem.open(path, { listed, signal });
  const { attributes } = remote;
  using draft = LocalDraft.create(destination, { replace, random });
  const dataBytes = Math.min(attributes.dataEndBytes, attributes.sizeBytes);
  // What takes one request fails soon enough by itself.
  if (dataBytes > limits.transferBytes) {
    draft.requirePublishable();
    // The disk is only taken where data is: what lies behind its end are zeros.
    await draft.allocate(dataBytes);
  }
  await remote.readPieces(async ({ offsetBytes, lengthBytes, readInto }) => {
    using buffer = await transfer.buffers.take(lengthBytes, signal);
    const readBytes = await readInto(buffer.bytes);
    draft.write(buffer.bytes.subarray(0, readBytes), offsetBytes);
    onMoved(readBytes);
  }, { signal });
  // By now it may have been cut.
  if (remote.sizeBytes !== dataBytes) draft.setSize(remote.sizeBytes);
  onMoved(attributes.sizeBytes - dataBytes);
  transfer.throwIfInterrupted();
  const mode = modeOfCopy(attributes, transfer.localOwner);
  draft.publish({ ...attributes, mode });
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
  const local = statLocal(destination, { follow: false, action });
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
  for await (const { name, type, ...listed } of fileSystem.readdirPlus(directory, { signal })) {
    const { attributes } = listed;
    const entry = { path: joinPath(directory, name), attributes, listed };
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
