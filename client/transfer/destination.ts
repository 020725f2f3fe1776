// Where copies, moves and links go, as cp and mv have it: into an existing directory, otherwise to
// the name itself.

import { RustreError } from "../../shared/errors.ts";
import type { FileSystem } from "../file_system.ts";
import { joinPath } from "../paths.ts";
import { findLocal, lastName } from "./local_files.ts";

export interface Destination {
  readonly path: string;
  readonly isDirectory: boolean;
}

export async function remoteDestination(
  fileSystem: FileSystem,
  path: string,
  options: { sources: number; signal?: AbortSignal | undefined },
): Promise<Destination> {
  const { sources, signal } = options;
  const attributes = await fileSystem.find(path, { signal });
  return destination(path, { sources, type: attributes?.type });
}

export function localDestination(
  path: string,
  { sources }: { sources: number },
): Destination {
  const local = findLocal(path, { follow: true, action: `use "${path}"` });
  return destination(path, { sources, type: local?.type });
}

function destination(
  path: string,
  { sources, type }: { sources: number; type: string | undefined },
): Destination {
  if (sources > 1 && type !== "directory") {
    const reason = type === undefined ? "no such directory" : "not a directory";
    throw new RustreError("ENOTDIR", `Cannot put ${sources} things into "${path}": ${reason}`);
  }
  return { path, isDirectory: type === "directory" };
}

/** The path that `source` gets. "." and "/" have no name: their contents go into the directory. */
export function pathAt({ path, isDirectory }: Destination, source: string): string {
  if (!isDirectory) return path;
  const name = lastName(source);
  return name === undefined ? joinPath(path, "") : joinPath(path, name);
}
