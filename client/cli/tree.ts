// mkdir, rmdir, rm, mv and ln: what changes the tree.

import { UsageError } from "../../shared/command_line.ts";
import { isRustreError, RustreError } from "../../shared/errors.ts";
import type { FileSystem } from "../mod.ts";
import { isRootPath } from "../paths.ts";
import { type Destination, pathAt, remoteDestination } from "../transfer/destination.ts";
import { lastName } from "../transfer/local_files.ts";
import { removeTree } from "../transfer/remove_tree.ts";
import { remotePath, remotePaths, sourcesAndDestination } from "./arguments.ts";
import { describeAttributes } from "./format.ts";
import type { ModeChange } from "./modes.ts";
import type { ClientSession, Job } from "./session.ts";

// ── mkdir, rmdir ───────────────────────────────────────────────────────────────────────────────

export interface MakeDirectoryFlags {
  readonly parents?: boolean;
  readonly mode?: ModeChange;
}

export function mkdir(operands: readonly string[], flags: MakeDirectoryFlags): Job {
  const paths = remotePaths(operands);
  return {
    async run(session) {
      const { fileSystem, signal, json, output } = session;
      const umask = Deno.umask();
      const mode = flags.mode?.(0o777, { isDirectory: true, umask }) ?? 0o777 & ~umask;
      await session.each(paths, async (path) => {
        const attributes = flags.parents
          ? await makeWithParents(fileSystem, path, { mode, umask, signal })
          : await fileSystem.mkdir(path, { mode, signal });
        if (json) await output.json({ path, ...describeAttributes(attributes) });
      });
    },
  };
}

/** A directory that is there already is fine, whoever made it meanwhile, and keeps its mode. */
async function makeWithParents(
  fileSystem: FileSystem,
  path: string,
  options: { mode: number; umask: number; signal: AbortSignal },
) {
  const { mode, umask, signal } = options;
  const parent = path.replace(/\/+[^/]+\/*$/, "");
  const hasParent = parent !== "" && parent !== path;
  for (let parentMade = false;; parentMade = true) {
    try {
      return await fileSystem.mkdir(path, { mode, signal });
    } catch (error) {
      if (isRustreError(error, "EEXIST")) {
        const existing = await fileSystem.find(path, { signal });
        if (existing?.type === "directory") return existing;
      }
      if (!isRustreError(error, "ENOENT") || parentMade || !hasParent) throw error;
    }
    // Whatever the umask, the next one can be made in it.
    const parentMode = (0o777 & ~umask) | 0o300;
    await makeWithParents(fileSystem, parent, { ...options, mode: parentMode });
  }
}

export function rmdir(operands: readonly string[]): Job {
  const paths = remotePaths(operands);
  return {
    async run(session) {
      const { fileSystem, signal, json, output } = session;
      await session.each(paths, async (path) => {
        await fileSystem.rmdir(path, { signal });
        if (json) await output.json({ path });
      });
    },
  };
}

// ── rm ─────────────────────────────────────────────────────────────────────────────────────────

export interface RemoveFlags {
  readonly recursive?: boolean;
  readonly force?: boolean;
}

export function rm(operands: readonly string[], flags: RemoveFlags): Job {
  const paths = remotePaths(operands);
  if (paths.length === 0 && !flags.force) throw new UsageError("Cannot remove: a PATH is needed");
  return {
    async run(session) {
      await session.each(paths, async (path) => {
        const removed = await remove(session, path, flags);
        if (session.json) await session.output.json({ path, removed });
      });
    },
  };
}

/** Resolves to the number of entries removed. */
async function remove(
  session: ClientSession,
  path: string,
  { recursive, force }: RemoveFlags,
): Promise<number> {
  const { fileSystem, signal, failed } = session;
  refuseDangerous(path);
  try {
    if (recursive) return await removeTree(fileSystem, path, { signal, onFailure: failed });
    await fileSystem.unlink(path, { signal });
    return 1;
  } catch (error) {
    if (force && isRustreError(error, "ENOENT", "ENOTDIR")) return 0;
    if (!isRustreError(error, "EISDIR")) throw error;
    throw new RustreError("EISDIR", `${error.message}, which only -r removes`, { cause: error });
  }
}

/** Nobody means these; as rm has it. */
function refuseDangerous(path: string): void {
  if (lastName(path) !== undefined) return;
  const reason = isRootPath(path) ? "it is the root" : 'its last name is "." or ".."';
  throw new RustreError("EINVAL", `Cannot remove "${path}": ${reason}`);
}

// ── mv, ln ─────────────────────────────────────────────────────────────────────────────────────

export function mv(operands: readonly string[]): Job {
  const { sources, destination } = sourcesAndDestination(remotePaths(operands));
  return {
    async run(session) {
      const { fileSystem, signal, json, output } = session;
      const options = { sources: sources.length, signal };
      const to = await remoteDestination(fileSystem, destination, options);
      await session.each(sources, async (source) => {
        const path = pathAt(to, source);
        await requireMovable(session, source, path);
        await fileSystem.rename(source, path, { signal });
        if (json) await output.json({ from: source, to: path });
      });
    },
  };
}

/** Refuses what a rename would silently leave undone, or do to another name than the given one. */
async function requireMovable(
  { fileSystem, signal }: ClientSession,
  source: string,
  path: string,
): Promise<void> {
  const from = await fileSystem.stat(source, { follow: false, signal });
  const to = await fileSystem.find(path, { follow: false, signal });
  const action = `rename "${source}" to "${path}"`;
  if (from.ino === to?.ino) {
    throw new RustreError("EINVAL", `Cannot ${action}: they are the same file`);
  }
  if (path.endsWith("/") && from.type !== "directory") {
    throw new RustreError("ENOTDIR", `Cannot ${action}: no such directory`);
  }
}

export interface LinkFlags {
  readonly symbolic?: boolean;
}

export function ln(operands: readonly string[], { symbolic }: LinkFlags): Job {
  const [target = "", name = ""] = operands;
  remotePath(name);
  if (!symbolic) remotePath(target);
  return {
    async run({ fileSystem, signal, json, output }) {
      const to: Destination = await remoteDestination(fileSystem, name, { sources: 1, signal });
      const path = pathAt(to, target);
      const attributes = symbolic
        ? await fileSystem.symlink(target, path, { signal })
        : await fileSystem.link(target, path, { signal });
      if (json) await output.json({ path, target, ...describeAttributes(attributes) });
    },
  };
}
