// Uploads: the way in for programs. A file appears under its name, complete and on disk, or not at
// all.

import type { FileSystem } from "../file_system.ts";
import { type ByteSource, writeFrom } from "./byte_streams.ts";
import { statLocal } from "./local_files.ts";
import { isDirectory, Transfer, type TransferOptions, type TransferSummary } from "./transfer.ts";
import { uploadEntry } from "./upload_tree.ts";

/** Uploads the local file or tree `source`; `destination` is the remote path that it gets. */
export async function upload(
  fileSystem: FileSystem,
  source: string,
  destination: string,
  options: TransferOptions = {},
): Promise<TransferSummary> {
  const transfer = new Transfer(fileSystem, options);
  const { recursive = false } = options;
  const action = `upload "${source}"`;
  await transfer.entry(async () => {
    const local = statLocal(source, { follow: !recursive, action });
    if (local.type === "directory" && !recursive) throw isDirectory(action);
    await uploadEntry(transfer, { path: source, local }, destination);
  });
  return transfer.summary;
}

/** Uploads what `source` gives until it ends. `name` is the source's, for messages. */
export async function uploadStream(
  fileSystem: FileSystem,
  source: ByteSource,
  destination: string,
  options: TransferOptions & { name: string; mode?: number | undefined },
): Promise<TransferSummary> {
  const transfer = new Transfer(fileSystem, options);
  const { name, mode, signal, replace, layout } = options;
  await using file = await fileSystem.create(destination, { mode, replace, layout, signal });
  await writeFrom(source, file, { ...transfer.streamOptions, name });
  await file.close({ signal });
  transfer.count("files");
  return transfer.summary;
}
