// A local file while it is written: under a temporary name beside its own, which it gets when it is
// complete. Dropped before that, nothing of it stays.

import type { Random } from "../../shared/environment.ts";
import { RustreError } from "../../shared/errors.ts";
import { platformCode } from "../../shared/platform_errors.ts";
import { localCall, localError } from "./local_errors.ts";
import { findLocal } from "./local_files.ts";
import { setTimes, type Times } from "./local_times.ts";
import { temporaryPath } from "./temporary_path.ts";

export class LocalDraft implements AsyncDisposable {
  readonly #path: string;
  readonly #temporaryPath: string;
  readonly #file: Deno.FsFile;
  #state: "open" | "published" | "dropped" = "open";

  private constructor(path: string, temporaryPath: string, file: Deno.FsFile) {
    this.#path = path;
    this.#temporaryPath = temporaryPath;
    this.#file = file;
  }

  /**
   * Nobody else can read it before {@link publish} gives it its mode. Refuses early what that would
   * refuse; it checks again.
   */
  static async create(
    path: string,
    { random, replace }: { random: Random; replace: boolean },
  ): Promise<LocalDraft> {
    await (replace ? requireReplaceable(path) : requireFree(path));
    const temporary = temporaryPath(path, random);
    const options = { write: true, createNew: true, mode: 0o600 };
    const file = await localCall(`create "${path}"`, () => Deno.open(temporary, options));
    return new LocalDraft(path, temporary, file);
  }

  get file(): Deno.FsFile {
    return this.#file;
  }

  /** Gives the file its mode, times and name. Without `replace` an existing name is an error. */
  async publish(
    attributes: Times & { mode: number },
    { replace }: { replace: boolean },
  ): Promise<void> {
    await localCall(`create "${this.#path}"`, async () => {
      await Deno.chmod(this.#temporaryPath, attributes.mode);
      await setTimes(this.#temporaryPath, attributes);
    });
    await giveName(this.#temporaryPath, this.#path, { replace });
    this.#state = "published";
    this.#file.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#state !== "open") return;
    this.#state = "dropped";
    this.#file.close();
    await removeTemporary(this.#temporaryPath);
  }
}

/** A local symbolic link, complete under its name from the start. */
export async function makeLocalLink(
  path: string,
  link: Times & { target: string },
  { replace, random }: { replace: boolean; random: Random },
): Promise<void> {
  const temporary = temporaryPath(path, random);
  await localCall(`create "${path}"`, () => Deno.symlink(link.target, temporary));
  try {
    await localCall(`create "${path}"`, () => setTimes(temporary, link));
    await giveName(temporary, path, { replace });
  } catch (error) {
    await removeTemporary(temporary);
    throw error;
  }
}

async function giveName(
  temporary: string,
  path: string,
  { replace }: { replace: boolean },
): Promise<void> {
  const action = `create "${path}"`;
  if (!replace) {
    await localCall(action, () => linkOrReserve(temporary, path));
    return;
  }
  await requireReplaceable(path);
  await localCall(action, () => Deno.rename(temporary, path));
}

/** A link, unlike a rename, never takes the place of what has come to be there meanwhile. */
async function linkOrReserve(temporary: string, path: string): Promise<void> {
  try {
    await Deno.link(temporary, path);
  } catch (error) {
    if (!["EPERM", "EOPNOTSUPP", "ENOTSUP"].includes(platformCode(error) ?? "")) throw error;
    // A file system without hard links: an empty file holds the name for the moment.
    (await Deno.open(path, { write: true, createNew: true })).close();
    await Deno.rename(temporary, path);
    return;
  }
  await Deno.remove(temporary);
}

async function requireFree(path: string): Promise<void> {
  const action = `create "${path}"`;
  const existing = await findLocal(path, { follow: false, action });
  if (existing) throw new RustreError("EEXIST", `Cannot ${action}: already exists`);
}

/** Only a file or a link to one: a rename would put a file in the place of /dev/null, too. */
async function requireReplaceable(path: string): Promise<void> {
  const action = `replace "${path}"`;
  const existing = await findLocal(path, { follow: true, action });
  if (existing === undefined || existing.type === "file") return;
  if (existing.type === "directory") {
    throw new RustreError("EISDIR", `Cannot ${action}: is a directory`);
  }
  throw new RustreError("EINVAL", `Cannot ${action}: not a regular file ("-" is standard output)`);
}

/** That the name is gone already is fine. Anything else that is left over has to be said. */
async function removeTemporary(path: string): Promise<void> {
  try {
    await Deno.remove(path);
  } catch (error) {
    if (platformCode(error) !== "ENOENT") throw localError(`remove "${path}"`, error);
  }
}
