// Downloads: the way in for programs. A local file appears under its name when it is complete.

import type { FileSystem } from "../file_system.ts";
import { type ByteSink, readInOrder, writeAll } from "./byte_streams.ts";
import { downloadEntry } from "./download_tree.ts";
import { isDirectory, Transfer, type TransferOptions, type TransferSummary } from "./transfer.ts";

/** Downloads the remote file or tree `source`; `destination` is the local path that it gets. */
export async function download(
  fileSystem: FileSystem,
  source: string,
  destination: string,
  options: TransferOptions = {},
): Promise<TransferSummary> {
  const transfer = new Transfer(fileSystem, options);
  const { recursive = false, signal } = options;
  await transfer.entry(async () => {
    const attributes = await fileSystem.stat(source, { follow: !recursive, signal });
    if (attributes.type === "directory" && !recursive) throw isDirectory(`download "${source}"`);
    await downloadEntry(transfer, { path: source, attributes }, destination);
  });
  return transfer.summary;
}

/** Writes a range of a file, by default all of it, into `sink`, whose name is for messages. */
export async function downloadStream(
  fileSystem: FileSystem,
  source: string,
  sink: ByteSink,
  options: TransferOptions & {
    name: string;
    offsetBytes?: number | undefined;
    lengthBytes?: number | undefined;
  },
): Promise<TransferSummary> {
  const transfer = new Transfer(fileSystem, options);
  const { name, offsetBytes = 0, lengthBytes = Infinity, signal } = options;
  await using file = await fileSystem.open(source, { signal });
  transfer.expect(Math.max(0, Math.min(lengthBytes, file.sizeBytes - offsetBytes)));
  const range = { offsetBytes, lengthBytes };
  for await (const bytes of readInOrder(file, range, transfer.streamOptions)) {
    await writeAll(sink, bytes, name);
  }
  transfer.count("files");
  return transfer.summary;
}
