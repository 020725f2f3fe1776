// What the local side of a transfer knows of a local file, and how names get there and back.

import { RustreError } from "../../shared/errors.ts";
import { type FileStatus, readStatus, type Times } from "../../shared/libc.ts";
import { platformCode } from "../../shared/platform_errors.ts";
import { NamedError } from "../named_errors.ts";
import { localCall, localError } from "./local_errors.ts";

export interface LocalFile extends Times {
  readonly type: "file" | "directory" | "symlink" | "other";
  /** Permission bits with setuid, setgid and sticky. */
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  readonly sizeBytes: number;
}

export interface LocalEntry {
  readonly path: string;
  readonly local: LocalFile;
}

/**
 * Throws ENOENT and the like; EINVAL where the name is not the one on disk. On this thread: the way
 * to another one and back takes longer.
 */
export function statLocal(
  path: string,
  options: { follow: boolean; action: string },
): LocalFile {
  const { mode, ...others } = readStatus(path, options) ?? platformStatus(path, options);
  return { type: typeOfMode(mode), mode: mode & 0o7777, ...others };
}

/** Where libc cannot be asked, and to know why it said no. Times have whole milliseconds here. */
function platformStatus(
  path: string,
  { follow, action }: { follow: boolean; action: string },
): FileStatus {
  try {
    const info = follow ? Deno.statSync(path) : Deno.lstatSync(path);
    return {
      mode: info.mode ?? modeOfType(info),
      uid: info.uid ?? 0,
      gid: info.gid ?? 0,
      sizeBytes: info.size,
      atimeNs: dateNs(info.atime),
      mtimeNs: dateNs(info.mtime),
    };
  } catch (error) {
    // The platform shows bytes that are not UTF-8 as U+FFFD, and then does not find the file.
    if (platformCode(error) === "ENOENT" && path.includes("\uFFFD")) {
      throw new NamedError("EINVAL", `Cannot ${action}: its name is not valid UTF-8`);
    }
    throw localError(action, error);
  }
}

// S_IFMT and what it may be; the rest are pipes, sockets and devices.
const typeMask = 0o170000;
const typesOfMode: Readonly<Record<number, LocalFile["type"]>> = {
  0o100000: "file",
  0o040000: "directory",
  0o120000: "symlink",
};

function typeOfMode(mode: number): LocalFile["type"] {
  return typesOfMode[mode & typeMask] ?? "other";
}

/** For a platform that has no modes. */
function modeOfType({ isFile, isDirectory, isSymlink }: Deno.FileInfo): number {
  return 0o644 | (isSymlink ? 0o120000 : isFile ? 0o100000 : isDirectory ? 0o040000 : 0);
}

const nsPerMs = 1_000_000n;

function dateNs(date: Date | null): bigint {
  return BigInt(date?.getTime() ?? 0) * nsPerMs;
}

/** {@link statLocal}, or `undefined` where there is nothing of that name. */
export function findLocal(
  path: string,
  options: { follow: boolean; action: string },
): LocalFile | undefined {
  try {
    return statLocal(path, options);
  } catch (error) {
    if (error instanceof RustreError && error.code === "ENOENT") return undefined;
    throw error;
  }
}

/** The entries of a directory, in no order. */
export async function* localEntries(directory: string): AsyncGenerator<Deno.DirEntry> {
  const entries = Deno.readDir(directory)[Symbol.asyncIterator]();
  for (;;) {
    const { done, value } = await localCall(`list "${directory}"`, () => entries.next());
    if (done) return;
    yield value;
  }
}

/** The target of a symbolic link. */
export async function readLocalLink(path: string): Promise<string> {
  const action = `read the link "${path}"`;
  try {
    return await Deno.readLink(path);
  } catch (error) {
    if (!(error instanceof Deno.errors.InvalidData)) throw localError(action, error);
    throw new RustreError("EINVAL", `Cannot ${action}: its target is not valid UTF-8`);
  }
}

/**
 * The last name of a path; `undefined` where it has none, as ".", ".." and "/": such a source stands
 * for its contents.
 */
export function lastName(path: string): string | undefined {
  const name = path.replace(/\/+$/, "").split("/").at(-1);
  return name === undefined || name === "" || name === "." || name === ".." ? undefined : name;
}

export function localDirectoryOf(path: string): string {
  const slash = path.lastIndexOf("/");
  return slash < 0 ? "." : slash === 0 ? "/" : path.slice(0, slash);
}

/** Refuses a name from a server that would leave the directory that it is to be put into. */
export function checkLocalName(name: string): void {
  if (name === "" || name === "." || name === ".." || /[/\0]/.test(name)) {
    throw new RustreError("EINVAL", `Cannot use ${JSON.stringify(name)} as a local name`);
  }
}

/**
 * The bits of `mode` that a copy may have. setuid and setgid give the rights of the owner; on the
 * copy that would be another one, unless owner and group are the same.
 */
export function modeOfCopy(
  original: { mode: number; uid: number; gid: number },
  copy: { uid: number | null; gid: number | null },
): number {
  const dropped = (original.uid === copy.uid ? 0 : 0o4000) |
    (original.gid === copy.gid ? 0 : 0o2000);
  return original.mode & ~dropped;
}
