// Uploads one regular file.

import { limits } from "../../shared/limits.ts";
import type { OpenFile } from "../open_file.ts";
import { writeFrom } from "./byte_streams.ts";
import { localCall } from "./local_errors.ts";
import { type LocalEntry, modeOfCopy } from "./local_files.ts";
import { LocalSource } from "./local_source.ts";
import type { Transfer } from "./transfer.ts";

/** Uploads the regular file at `path`, of which `local` is known. */
export async function uploadFile(
  transfer: Transfer,
  { path, local }: LocalEntry,
  destination: string,
): Promise<void> {
  const { fileSystem, signal, replace, layout } = transfer;
  const { sizeBytes, atimeNs, mtimeNs } = local;
  // Nothing is made remotely for a file that cannot be read.
  using source = new LocalSource(path, sizeBytes);
  const mode = modeOfCopy(local, fileSystem.caller);
  const attributes = { mode, atimeNs, mtimeNs };
  const options = { ...attributes, replace, layout, signal };
  await using file = await fileSystem.create(destination, options);
  // Files without a size, as those of /proc, are read until they end.
  if (sizeBytes === 0) await writeUntilEnd(transfer, path, file);
  else await writePieces(transfer, { source, sizeBytes }, file);
  await file.close({ signal });
  transfer.count("files");
}

async function writePieces(
  transfer: Transfer,
  { source, sizeBytes }: { source: LocalSource; sizeBytes: number },
  file: OpenFile,
): Promise<void> {
  const { buffers, signal } = transfer;
  const isZeroCopy = sizeBytes > limits.syncIoBytesMax && await transfer.isZeroCopy();
  // What goes in one request takes its sync with it.
  const sync = sizeBytes <= limits.transferBytes;
  const range = { offsetBytes: 0, lengthBytes: sizeBytes };
  await file.writePieces(range, async (piece) => {
    const { ranges, lengthBytes } = piece;
    if (isZeroCopy && lengthBytes > limits.syncIoBytesMax) {
      await piece.write(source.fromFile(ranges));
    } else {
      using buffer = await buffers.take(lengthBytes, signal);
      await piece.write(source.throughBuffer(ranges, buffer.bytes));
    }
    transfer.moved(lengthBytes);
  }, { signal, sync });
  source.requireEnd();
}

async function writeUntilEnd(transfer: Transfer, path: string, file: OpenFile): Promise<void> {
  using source = await localCall(`read "${path}"`, () => Deno.open(path));
  await writeFrom(source, file, { ...transfer.streamOptions, name: path });
}
