// A local file while it is written: without a name, or where the file system knows only named files
// under a temporary one beside its own. It gets its name when it is complete; dropped before that,
// nothing of it stays.
//
// What is done once for each file is done on this thread: the way to another one and back takes
// longer than any of it.

import * as fs from "node:fs";
import type { Random } from "../../shared/environment.ts";
import { isRustreError, RustreError } from "../../shared/errors.ts";
import { linkOpenFile, openUnnamed, preallocate } from "../../shared/libc.ts";
import { platformCode } from "../../shared/platform_errors.ts";
import { localCallSync, localError } from "./local_errors.ts";
import { findLocal, localDirectoryOf } from "./local_files.ts";
import { setTimes, setTimesOf, type Times } from "./local_times.ts";
import { temporaryPath } from "./temporary_path.ts";

export interface DraftOptions {
  readonly random: Random;
  /** Take the place of an existing file. */
  readonly replace: boolean;
}

/** How a file without a name is made, where that can be done. */
type OpenUnnamed = (directory: string) => number | undefined;

export class LocalDraft implements Disposable {
  readonly #path: string;
  readonly #options: DraftOptions;
  readonly #descriptor: number;
  /** `undefined` where it has none. */
  #temporaryPath: string | undefined;
  #isOpen = true;

  private constructor(
    path: string,
    options: DraftOptions,
    draft: { descriptor: number; temporaryPath: string | undefined },
  ) {
    this.#path = path;
    this.#options = options;
    this.#descriptor = draft.descriptor;
    this.#temporaryPath = draft.temporaryPath;
  }

  /** Nobody else can read it before {@link publish} gives it its mode. */
  static create(
    path: string,
    options: DraftOptions,
    openWithoutName: OpenUnnamed = openUnnamed,
  ): LocalDraft {
    const descriptor = openWithoutName(localDirectoryOf(path));
    if (descriptor !== undefined) {
      return new LocalDraft(path, options, { descriptor, temporaryPath: undefined });
    }
    const temporary = temporaryPath(path, options.random);
    const named = localCallSync(`create "${path}"`, () => fs.openSync(temporary, "wx+", 0o600));
    return new LocalDraft(path, options, { descriptor: named, temporaryPath: temporary });
  }

  /** Refuses early what {@link publish} would refuse, which looks again. */
  requirePublishable(): void {
    if (this.#options.replace) requireReplaceable(this.#path);
    else requireFree(this.#path);
  }

  /**
   * Has room on the disk for bytes up to `lengthBytes`, all of which will be written: a disk that is
   * too full shows now.
   */
  async allocate(lengthBytes: number): Promise<void> {
    try {
      await preallocate(this.#descriptor, lengthBytes);
    } catch (error) {
      if (!isRustreError(error)) throw error;
      const message = `Cannot write "${this.#path}": ${error.message}`;
      throw new RustreError(error.code, message, { cause: error });
    }
  }

  /** Ends the file there; what was not written before are zeros. */
  setSize(sizeBytes: number): void {
    this.#call("write", () => fs.ftruncateSync(this.#descriptor, sizeBytes));
  }

  /** Puts bytes at an offset, on this thread: a megabyte takes a tenth of a millisecond. */
  write(bytes: Uint8Array, offsetBytes: number): void {
    this.#call("write", () => {
      for (let start = 0; start < bytes.length;) {
        const [length, at] = [bytes.length - start, offsetBytes + start];
        start += fs.writeSync(this.#descriptor, bytes, start, length, at);
      }
    });
  }

  /** Gives the file its mode, times and name. Without `replace` an existing name is an error. */
  publish(attributes: Times & { mode: number }): void {
    this.#call("create", () => {
      fs.fchmodSync(this.#descriptor, attributes.mode);
      setTimesOf(this.#descriptor, attributes);
    });
    const { replace, random } = this.#options;
    if (this.#temporaryPath === undefined && replace) {
      // Only what has a name can take the place of another.
      const temporary = temporaryPath(this.#path, random);
      this.#link(temporary);
      this.#temporaryPath = temporary;
    }
    if (this.#temporaryPath === undefined) this.#link(this.#path);
    // A network's file system says at the close what it could not write.
    this.#call("write", () => this.#close());
    if (this.#temporaryPath !== undefined) giveName(this.#temporaryPath, this.#path, { replace });
    this.#temporaryPath = undefined;
  }

  [Symbol.dispose](): void {
    try {
      this.#close();
    } catch {
      // What is dropped need not be on a disk.
    }
    if (this.#temporaryPath !== undefined) removeTemporary(this.#temporaryPath);
  }

  #close(): void {
    if (!this.#isOpen) return;
    this.#isOpen = false;
    fs.closeSync(this.#descriptor);
  }

  /** Names the file that has no name. */
  #link(name: string): void {
    if (linkOpenFile(this.#descriptor, name)) return;
    const action = `create "${this.#path}"`;
    if (name === this.#path && findLocal(name, { follow: false, action })) throw taken(name);
    const trial = temporaryPath(this.#path, this.#options.random);
    this.#call("create", () => {
      // What fails for the same reason as the link, and says it.
      fs.closeSync(fs.openSync(trial, "wx"));
      fs.unlinkSync(trial);
    });
    throw new RustreError("EIO", `Cannot create "${this.#path}": it cannot be given its name`);
  }

  #call<T>(verb: string, call: () => T): T {
    return localCallSync(`${verb} "${this.#path}"`, call);
  }
}

/** A local symbolic link, complete under its name from the start. */
export async function makeLocalLink(
  path: string,
  link: Times & { target: string },
  { replace, random }: DraftOptions,
): Promise<void> {
  const temporary = temporaryPath(path, random);
  localCallSync(`create "${path}"`, () => Deno.symlinkSync(link.target, temporary));
  try {
    await setTimes(temporary, link).catch((error) => {
      throw localError(`create "${path}"`, error);
    });
    giveName(temporary, path, { replace });
  } catch (error) {
    removeTemporary(temporary);
    throw error;
  }
}

function giveName(temporary: string, path: string, { replace }: { replace: boolean }): void {
  const action = `create "${path}"`;
  if (!replace) {
    localCallSync(action, () => linkOrReserve(temporary, path));
    return;
  }
  requireReplaceable(path);
  localCallSync(action, () => Deno.renameSync(temporary, path));
}

/** A link, unlike a rename, never takes the place of what has come to be there meanwhile. */
function linkOrReserve(temporary: string, path: string): void {
  try {
    Deno.linkSync(temporary, path);
  } catch (error) {
    if (!["EPERM", "EOPNOTSUPP", "ENOTSUP"].includes(platformCode(error) ?? "")) throw error;
    // A file system without hard links: an empty file holds the name for the moment.
    Deno.openSync(path, { write: true, createNew: true }).close();
    Deno.renameSync(temporary, path);
    return;
  }
  Deno.removeSync(temporary);
}

/** That there is a link to nothing shows when the name is given; this costs next to nothing. */
function requireFree(path: string): void {
  if (fs.existsSync(path)) throw taken(path);
}

function taken(path: string): RustreError {
  return new RustreError("EEXIST", `Cannot create "${path}": already exists`);
}

/** Only a file or a link to one: a rename would put a file in the place of /dev/null, too. */
function requireReplaceable(path: string): void {
  const action = `replace "${path}"`;
  const existing = findLocal(path, { follow: true, action });
  if (existing === undefined || existing.type === "file") return;
  if (existing.type === "directory") {
    throw new RustreError("EISDIR", `Cannot ${action}: is a directory`);
  }
  throw new RustreError("EINVAL", `Cannot ${action}: not a regular file ("-" is standard output)`);
}

/** That the name is gone already is fine. Anything else that is left over has to be said. */
function removeTemporary(path: string): void {
  try {
    Deno.removeSync(path);
  } catch (error) {
    if (platformCode(error) !== "ENOENT") throw localError(`remove "${path}"`, error);
  }
}
