// Whether an OST's directory has checksums in attributes of files. It is settled by the first start on
// a file system that keeps attributes, and then for good: whoever copies the directory and leaves them
// behind has lost objects, and should be told so.
//
//   {directory}/attributes    empty; has an attribute itself

import { messageOf, RustreError } from "../shared/errors.ts";
import type { Files, OpenFile } from "./files.ts";

const mark = Uint8Array.of(0x31);

/**
 * Settles it where it is not yet and `maySettle`: one alone may, at a time. Before the first attribute
 * is written the directory has to be synced. Throws STORE_FORMAT where attributes were lost.
 */
export async function usesAttributes(
  files: Files,
  directory: string,
  { maySettle }: { maySettle: boolean },
): Promise<boolean> {
  const path = `${directory}/attributes`;
  const marker = files.open(path);
  if (!marker) return maySettle && await settle(files, path);
  try {
    if (hasMark(marker)) return true;
  } catch (error) {
    throw attributesAreGone(path, messageOf(error));
  } finally {
    marker.close();
  }
  throw attributesAreGone(path, "it has none");
}

async function settle(files: Files, path: string): Promise<boolean> {
  const draft = `${path}.new`;
  // What a crash left is in the way.
  files.removeSync(draft);
  const marker = files.create(draft);
  if (!marker) throw new RustreError("EIO", `Cannot create "${draft}": it came from nowhere`);
  try {
    if (takesMark(marker)) {
      await marker.syncAll();
      files.rename(draft, path);
      return true;
    }
  } finally {
    marker.close();
  }
  files.removeSync(draft);
  return false;
}

function takesMark(file: OpenFile): boolean {
  try {
    file.setAttribute(mark);
    return hasMark(file);
  } catch {
    // Not every file system keeps attributes: those that do not have all checksums in files.
    return false;
  }
}

function hasMark(file: OpenFile): boolean {
  const found = file.attribute();
  return found?.length === mark.length && found[0] === mark[0];
}

function attributesAreGone(path: string, reason: string): RustreError {
  return new RustreError(
    "STORE_FORMAT",
    `Cannot read the extended attribute of "${path}": ${reason}; the directory was copied without ` +
      "attributes, which hold checksums, so copy it again with them",
  );
}
