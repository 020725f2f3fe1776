// What `rustre --version` says: the version, the commit, and how this program was built.

import { readFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { buildInfo } from "../shared/build_info.ts";
import { version } from "../shared/version.ts";

const commitLength = 12;

/** `rustre 0.1.0, commit 0123456789ab, checkout` */
export function describeVersion(
  root: string = fileURLToPath(import.meta.resolve("../")),
): string {
  const { kind, commit = commitOf(root)?.slice(0, commitLength) } = buildInfo;
  return [`rustre ${version}`, ...(commit ? [`commit ${commit}`] : []), kind].join(", ");
}

/** Read from the files of git, which takes less time than git. */
function commitOf(root: string): string | undefined {
  const directory = gitDirectoryOf(join(root, ".git"));
  if (directory === undefined) return undefined;
  const head = readIfThere(join(directory, "HEAD"))?.trim();
  const name = /^ref: (.+)$/.exec(head ?? "")?.[1];
  if (name === undefined) return asCommit(head);
  // A worktree has its own HEAD and shares its branches.
  const shared = readIfThere(join(directory, "commondir"))?.trim();
  const common = shared === undefined ? directory : resolve(directory, shared);
  const loose = asCommit(readIfThere(join(common, name))?.trim());
  if (loose !== undefined) return loose;
  const packed = readIfThere(join(common, "packed-refs"))?.split("\n")
    .find((line) => line.endsWith(` ${name}`));
  return asCommit(packed?.split(" ")[0]);
}

/** `.git` is a directory, or of a worktree a file that names it. */
function gitDirectoryOf(path: string): string | undefined {
  const link = /^gitdir: (.+)$/m.exec(readIfThere(path) ?? "")?.[1];
  if (link !== undefined) return resolve(dirname(path), link);
  return readIfThere(join(path, "HEAD")) === undefined ? undefined : path;
}

function asCommit(text: string | undefined): string | undefined {
  return text !== undefined && /^[0-9a-f]{40,64}$/.test(text) ? text : undefined;
}

function readIfThere(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8");
  } catch {
    // Missing, or a directory: there is another way, or no commit to tell.
    return undefined;
  }
}
