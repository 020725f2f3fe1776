// Walks a tree, each directory before what is in it. Symbolic links are not followed, but for one
// that the walk starts at with "/" at its end.

import type { FileType } from "../../shared/model.ts";
import type { DirectoryEntry } from "../../shared/protocol/mds.ts";
import type { Attributes } from "../../shared/model.ts";
import type { FileSystem } from "../file_system.ts";
import { baseName, joinPath } from "../paths.ts";
import { TreeOperation, type TreeOptions } from "./tree_operation.ts";

export interface WalkedEntry {
  /** Begins with the path that the walk started at, as it was given. */
  readonly path: string;
  readonly name: string;
  readonly type: FileType;
  /** Always there for the first entry, for others where the walk was asked for them. */
  readonly attributes?: Attributes | undefined;
}

export interface WalkOptions extends TreeOptions {
  readonly withAttributes?: boolean;
}

/**
 * A directory is listed when its own entry has been dealt with. Takes the memory of one page for
 * each level, however many entries there are.
 */
export async function* walkTree(
  fileSystem: FileSystem,
  path: string,
  options: WalkOptions = {},
): AsyncGenerator<WalkedEntry> {
  const { signal } = options;
  const attributes = await fileSystem.stat(path, { follow: false, signal });
  const first = { path, name: baseName(path), type: attributes.type, attributes };
  const operation = new TreeOperation(fileSystem, options);
  yield* walkEntry(operation, first, options);
}

async function* walkEntry(
  operation: TreeOperation,
  entry: WalkedEntry,
  options: WalkOptions,
): AsyncGenerator<WalkedEntry> {
  yield entry;
  if (entry.type !== "directory") return;
  const children = listing(operation, entry.path, options);
  try {
    for (;;) {
      let next: IteratorResult<DirectoryEntry> | undefined;
      await operation.entry(async () => {
        next = await children.next();
      });
      // A directory that cannot be listed is reported; the walk goes on behind it.
      if (!next || next.done) return;
      const { name, type, attributes } = next.value;
      yield* walkEntry(
        operation,
        { path: joinPath(entry.path, name), name, type, attributes },
        options,
      );
    }
  } finally {
    await children.return(undefined);
  }
}

function listing(
  { fileSystem, signal }: TreeOperation,
  path: string,
  { withAttributes = false }: WalkOptions,
): AsyncGenerator<DirectoryEntry> {
  return withAttributes
    ? fileSystem.readdirPlus(path, { signal })
    : fileSystem.readdir(path, { signal });
}
