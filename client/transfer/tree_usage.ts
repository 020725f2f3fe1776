// How many bytes the files of a tree have, directory by directory.

import type { Attributes } from "../../shared/model.ts";
import type { FileSystem } from "../file_system.ts";
import { joinPath } from "../paths.ts";
import { TreeOperation, type TreeOptions } from "./tree_operation.ts";

export interface TreeUsage {
  readonly path: string;
  /** Of its files and all below; a file with several names counts once. */
  readonly bytes: number;
  readonly files: number;
}

/**
 * The usage of each directory behind those in it, that of `path` last. Remembers the files with more
 * than one name, and the directories that are still to be looked at.
 */
export async function* treeUsage(
  fileSystem: FileSystem,
  path: string,
  options: TreeOptions = {},
): AsyncGenerator<TreeUsage, TreeUsage> {
  const { signal } = options;
  const attributes = await fileSystem.stat(path, { follow: false, signal });
  const walk = new UsageWalk(fileSystem, options);
  if (attributes.type === "directory") return yield* usageOf(walk, path);
  const usage = { path, ...walk.usageOf(attributes) };
  yield usage;
  return usage;
}

class UsageWalk extends TreeOperation {
  /** Inodes with several names that were counted. */
  readonly #counted = new Set<number>();

  usageOf({ ino, type, links, sizeBytes }: Attributes): { bytes: number; files: number } {
    if (type !== "file" || this.#counted.has(ino)) return { bytes: 0, files: 0 };
    if (links > 1) this.#counted.add(ino);
    return { bytes: sizeBytes, files: 1 };
  }
}

async function* usageOf(walk: UsageWalk, path: string): AsyncGenerator<TreeUsage, TreeUsage> {
  const { fileSystem, signal } = walk;
  let [bytes, files] = [0, 0];
  const directories: string[] = [];
  await walk.entry(async () => {
    for await (const { name, attributes } of fileSystem.readdirPlus(path, { signal })) {
      if (attributes.type === "directory") directories.push(name);
      const own = walk.usageOf(attributes);
      bytes += own.bytes;
      files += own.files;
    }
  });
  for (const name of directories) {
    const below = yield* usageOf(walk, joinPath(path, name));
    bytes += below.bytes;
    files += below.files;
  }
  const usage = { path, bytes, files };
  yield usage;
  return usage;
}
