// Remote paths: absolute, "/" between names. Falls them into the directory and the name that the
// operations of the mds take.

import { RustreError } from "../shared/errors.ts";
import { rootInode } from "../shared/model.ts";
import type { Place } from "../shared/protocol/mds.ts";

/** The place of `path` itself. */
export function placeOf(path: string): Place {
  return { ino: rootInode, path: relative(path) };
}

/** The directory of `path` and its last name. The root has none: "" stands for it. */
export function entryOf(path: string): { directory: Place; name: string } {
  const inside = relative(path).replace(/\/+$/, "");
  const slash = inside.lastIndexOf("/");
  const directory = { ino: rootInode, path: inside.slice(0, Math.max(0, slash)) };
  return { directory, name: inside.slice(slash + 1) };
}

/** {@link entryOf} for what is no directory: a path with "/" at its end is refused. */
export function fileEntryOf(path: string): { directory: Place; name: string } {
  if (path.endsWith("/")) throw new RustreError("ENOTDIR", "not a directory");
  return entryOf(path);
}

export function isRootPath(path: string): boolean {
  return /^\/+$/.test(path);
}

/** The last name of a path, as basename gives it; "/" for the root. */
export function baseName(path: string): string {
  return entryOf(path).name || "/";
}

export function joinPath(directory: string, name: string): string {
  return directory.endsWith("/") ? directory + name : `${directory}/${name}`;
}

function relative(path: string): string {
  if (!path.startsWith("/")) {
    throw new RustreError("EINVAL", `Cannot use "${path}": a remote path starts with "/"`);
  }
  return path.replace(/^\/+/, "");
}
