// Removes a whole tree, side by side. Symbolic links are removed, never followed. Interrupted, it
// leaves a smaller tree, which may be removed again.

import { isRustreError, RustreError } from "../../shared/errors.ts";
import { limits } from "../../shared/limits.ts";
import { Semaphore } from "../../shared/semaphore.ts";
import type { FileSystem } from "../file_system.ts";
import { joinPath } from "../paths.ts";
import { TaskGroup } from "./task_group.ts";
import { TreeOperation, type TreeOptions } from "./tree_operation.ts";

/** Resolves to the number of entries removed. */
export async function removeTree(
  fileSystem: FileSystem,
  path: string,
  options: TreeOptions = {},
): Promise<number> {
  const removal = new Removal(fileSystem, options);
  // With "/" at its end a link would lead to what it links to.
  const plain = path.replace(/\/+$/, "");
  const { type } = await fileSystem.stat(plain || "/", { follow: false, signal: options.signal });
  if (type !== "directory" && plain !== path) {
    throw new RustreError("ENOTDIR", `Cannot remove "${path}": not a directory`);
  }
  await removeEntry(removal, plain || "/", type === "directory");
  return removal.removed;
}

class Removal extends TreeOperation {
  /** Entries at once. */
  readonly entries = new Semaphore(limits.entriesInFlight);
  removed = 0;
}

/** Tells whether nothing is left of it; what could not be removed is reported. */
async function removeEntry(
  removal: Removal,
  path: string,
  isDirectory: boolean,
): Promise<boolean> {
  const { fileSystem, signal } = removal;
  let gone = true;
  const succeeded = await removal.entry(async () => {
    try {
      if (isDirectory) gone = await removeChildren(removal, path);
      if (!gone) return;
      await (isDirectory
        ? fileSystem.rmdir(path, { signal })
        : fileSystem.unlink(path, { signal }));
      removal.removed++;
    } catch (error) {
      // Somebody else was faster.
      if (!isRustreError(error, "ENOENT")) throw error;
    }
  });
  return succeeded && gone;
}

async function removeChildren(removal: Removal, directory: string): Promise<boolean> {
  const { fileSystem, signal } = removal;
  await using entries = new TaskGroup(removal.entries, signal);
  await using branches = new TaskGroup(removal.branches, signal);
  let gone = true;
  for await (const { name, type } of fileSystem.readdir(directory, { signal })) {
    const isDirectory = type === "directory";
    const path = joinPath(directory, name);
    const remove = async () => {
      if (!(await removeEntry(removal, path, isDirectory))) gone = false;
    };
    await (isDirectory ? branches.startOrRun(remove) : entries.start(remove));
  }
  await entries.done();
  await branches.done();
  return gone;
}
