// touch, truncate, chmod and chown: what changes the attributes of files.

import { isRustreError } from "../../shared/errors.ts";
import { limits } from "../../shared/limits.ts";
import type { Attributes } from "../../shared/model.ts";
import { Semaphore } from "../../shared/semaphore.ts";
import type { AttributeChanges, FileSystem } from "../mod.ts";
import { TaskGroup } from "../transfer/task_group.ts";
import { walkTree } from "../transfer/walk_tree.ts";
import { modeOperand, remotePaths, type SizeChange } from "./arguments.ts";
import { describeAttributes } from "./format.ts";
import { Owners } from "./owners.ts";
import type { ClientSession, Job } from "./session.ts";

// ── touch, truncate ────────────────────────────────────────────────────────────────────────────

export function touch(operands: readonly string[]): Job {
  const paths = remotePaths(operands);
  return {
    async run(session) {
      const { fileSystem, signal } = session;
      const now = { atimeNs: "now", mtimeNs: "now" } as const;
      await session.each(paths, async (path) => {
        const attributes = await orCreate(
          session,
          path,
          () => fileSystem.setAttributes(path, now, { signal }),
        );
        await report(session, path, attributes);
      });
    },
  };
}

export function truncate(operands: readonly string[], flags: { size: SizeChange }): Job {
  const paths = remotePaths(operands);
  return {
    async run(session) {
      const { fileSystem, signal } = session;
      await session.each(paths, async (path) => {
        const attributes = await orCreate(session, path, async () => {
          const sizeBytes = await newSize(fileSystem, path, flags.size, signal);
          return await fileSystem.setAttributes(path, { sizeBytes }, { signal });
        });
        await report(session, path, attributes);
      });
    },
  };
}

async function newSize(
  fileSystem: FileSystem,
  path: string,
  { sign, bytes }: SizeChange,
  signal: AbortSignal,
): Promise<number> {
  if (sign === "") return bytes;
  const { sizeBytes } = await fileSystem.stat(path, { signal });
  return sign === "+" ? sizeBytes + bytes : Math.max(0, sizeBytes - bytes);
}

/** Runs `change`, if need be on a file that is made for it. */
async function orCreate(
  { fileSystem, signal }: ClientSession,
  path: string,
  change: () => Promise<Attributes>,
): Promise<Attributes> {
  try {
    return await change();
  } catch (error) {
    if (!isRustreError(error, "ENOENT")) throw error;
  }
  try {
    await fileSystem.createEmpty(path, { mode: 0o666 & ~Deno.umask(), signal });
  } catch (error) {
    // Somebody else was faster.
    if (!isRustreError(error, "EEXIST")) throw error;
  }
  return await change();
}

// ── chmod, chown ───────────────────────────────────────────────────────────────────────────────

export interface RecursiveFlags {
  readonly recursive?: boolean;
}

export function chmod(operands: readonly string[], flags: RecursiveFlags): Job {
  const [mode = "", ...paths] = operands;
  const change = modeOperand(mode);
  const umask = Deno.umask();
  return changeJob(remotePaths(paths), flags, {
    links: "skip",
    changesOf: (attributes) => ({
      mode: change(attributes.mode, { isDirectory: attributes.type === "directory", umask }),
    }),
  });
}

export async function chown(operands: readonly string[], flags: RecursiveFlags): Promise<Job> {
  const [owner = "", ...paths] = operands;
  const changes = (await Owners.load()).parse(owner);
  return changeJob(remotePaths(paths), flags, { links: "change", changesOf: () => changes });
}

interface Change {
  /** What to do with symbolic links in a tree; one that is an operand by itself is followed. */
  readonly links: "skip" | "change";
  changesOf(attributes: Attributes): AttributeChanges;
}

function changeJob(paths: readonly string[], { recursive }: RecursiveFlags, change: Change): Job {
  return {
    async run(session) {
      const { fileSystem, signal } = session;
      await session.each(paths, async (path) => {
        if (recursive) return await changeTree(session, path, change);
        const before = await fileSystem.stat(path, { signal });
        const changes = change.changesOf(before);
        await report(session, path, await fileSystem.setAttributes(path, changes, { signal }));
      });
    },
  };
}

async function changeTree(session: ClientSession, path: string, change: Change): Promise<void> {
  const { fileSystem, signal, failed } = session;
  await using tasks = new TaskGroup(new Semaphore(limits.entriesInFlight), signal);
  const options = { signal, withAttributes: true, onFailure: failed };
  for await (const { path: at, type, attributes } of walkTree(fileSystem, path, options)) {
    if (!attributes || (type === "symlink" && change.links === "skip")) continue;
    const apply = async () => {
      const changes = change.changesOf(attributes);
      await fileSystem.setAttributes(at, changes, { follow: false, signal })
        .then((changed) => report(session, at, changed))
        .catch(failed);
    };
    // A directory before it is listed: the change may be what makes that possible, or impossible.
    await (type === "directory" ? apply() : tasks.start(apply));
  }
  await tasks.done();
}

async function report(
  { json, output }: ClientSession,
  path: string,
  attributes: Attributes,
): Promise<void> {
  if (json) await output.json({ path, ...describeAttributes(attributes) });
}
