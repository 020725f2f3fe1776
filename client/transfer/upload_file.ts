// Uploads one regular file.

import { RustreError } from "../../shared/errors.ts";
import { writeFrom } from "./byte_streams.ts";
import { localCall } from "./local_errors.ts";
import { type LocalEntry, modeOfCopy } from "./local_files.ts";
import type { Transfer } from "./transfer.ts";

/** Uploads the regular file at `path`, of which `local` is known. */
export async function uploadFile(
  transfer: Transfer,
  { path, local }: LocalEntry,
  destination: string,
): Promise<void> {
  const { fileSystem, signal, replace, layout } = transfer;
  using source = await localCall(`read "${path}"`, () => Deno.open(path));
  const { sizeBytes, atimeNs, mtimeNs } = local;
  const mode = modeOfCopy(local, fileSystem.caller);
  const attributes = { mode, atimeNs, mtimeNs };
  await using file = await fileSystem.create(destination, {
    ...attributes,
    replace,
    layout,
    signal,
  });
  // Files without a size, as those of /proc, are read until they end.
  const expectedBytes = sizeBytes === 0 ? undefined : sizeBytes;
  const options = { ...transfer.streamOptions, name: path, sizeBytes: expectedBytes };
  const readBytes = await writeFrom(source, file, options);
  await requireSameSize({ path, sizeBytes, readBytes }, source);
  await file.close({ signal });
  transfer.count("files");
}

/** A file that was cut or grew while it was read is not what anybody wanted to store. */
async function requireSameSize(
  { path, sizeBytes, readBytes }: { path: string; sizeBytes: number; readBytes: number },
  source: Deno.FsFile,
): Promise<void> {
  if (sizeBytes === 0) return;
  const { size: nowBytes } = await localCall(`read "${path}"`, () => source.stat());
  if (readBytes === sizeBytes && nowBytes === sizeBytes) return;
  throw new RustreError(
    "EBUSY",
    `Cannot upload "${path}": its size changed from ${sizeBytes} to ${nowBytes} bytes ` +
      "while it was read",
  );
}
