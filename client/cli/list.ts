// ls: names, or one line with the attributes of each. Prints page by page, so that a directory of
// any size needs the memory of one.

import { limits } from "../../shared/limits.ts";
import type { DirectoryEntry } from "../../shared/protocol/mds.ts";
import type { EntryWithAttributes } from "../mod.ts";
import { joinPath } from "../paths.ts";
import { remotePaths } from "./arguments.ts";
import { describeAttributes, formatMode, formatStripes, formatTimeShort } from "./format.ts";
import { alignRow } from "./output.ts";
import { Owners } from "./owners.ts";
import type { ClientSession, Job } from "./session.ts";

export interface ListFlags {
  readonly long?: boolean;
  readonly recursive?: boolean;
  readonly all?: boolean;
}

export function ls(operands: readonly string[], flags: ListFlags): Job {
  const paths = operands.length > 0 ? remotePaths(operands) : ["/"];
  return {
    async run(session) {
      const listing = new Listing(session, flags, await Owners.load());
      await listing.operands(paths);
    },
  };
}

/** links, size */
const rightColumns = [1, 4];

class Listing {
  readonly #session: ClientSession;
  readonly #flags: ListFlags;
  readonly #owners: Owners;
  /** Of the columns, as wide as they have been so far. */
  #widths: number[] = [];
  #sections = 0;

  constructor(session: ClientSession, flags: ListFlags, owners: Owners) {
    this.#session = session;
    this.#flags = flags;
    this.#owners = owners;
  }

  /** Files first, then directories with what is in them. */
  async operands(paths: readonly string[]): Promise<void> {
    const { fileSystem, signal } = this.#session;
    const directories: string[] = [];
    const others: EntryWithAttributes[] = [];
    await this.#session.each(paths, async (path) => {
      // As ls has it: a link that is asked for in detail is not followed.
      const follow = !this.#flags.long;
      const attributes = await fileSystem.find(path, { follow, signal }) ??
        await fileSystem.stat(path, { follow: false, signal });
      const { ino, type } = attributes;
      if (type === "directory") directories.push(path);
      else others.push({ name: path, ino, type, attributes });
    });
    if (others.length > 0) this.#sections++;
    await this.#printBatch(others, (name) => name);
    const withHeaders = paths.length > 1 || this.#flags.recursive === true;
    await this.#session.each(directories, (path) => this.#directory(path, withHeaders));
  }

  async #directory(path: string, withHeader: boolean): Promise<void> {
    const { output, json, failed } = this.#session;
    if (withHeader && !json) {
      if (this.#sections > 0) await output.line("");
      await output.line(`${output.name(path)}:`);
    }
    this.#sections++;
    const directories: string[] = [];
    try {
      await this.#entries(path, directories);
    } catch (error) {
      failed(error);
    }
    for (const name of directories) await this.#directory(joinPath(path, name), withHeader);
  }

  /** Prints the entries, and collects the directories among them where they are wanted. */
  async #entries(path: string, directories: string[]): Promise<void> {
    const { fileSystem, signal, json, output } = this.#session;
    const { all, long, recursive } = this.#flags;
    const wanted = ({ name, type }: DirectoryEntry) => {
      if (!all && name.startsWith(".")) return false;
      if (recursive && type === "directory") directories.push(name);
      return true;
    };
    if (!long && !json) {
      for await (const entry of fileSystem.readdir(path, { signal })) {
        if (wanted(entry)) await output.line(output.name(entry.name));
      }
      return;
    }
    let batch: EntryWithAttributes[] = [];
    const pathOf = (name: string) => joinPath(path, name);
    for await (const entry of fileSystem.readdirPlus(path, { signal })) {
      if (!wanted(entry)) continue;
      batch.push(entry);
      if (batch.length < limits.readdirPlusPageMax) continue;
      await this.#printBatch(batch, pathOf);
      batch = [];
    }
    await this.#printBatch(batch, pathOf);
  }

  async #printBatch(
    entries: readonly EntryWithAttributes[],
    pathOf: (name: string) => string,
  ): Promise<void> {
    const { output, json } = this.#session;
    const { long } = this.#flags;
    if (!long && !json) {
      for (const { name } of entries) await output.line(output.name(name));
      return;
    }
    const targets = await Promise.all(entries.map((entry) => this.#target(entry, pathOf)));
    if (json) {
      for (const [index, { name, attributes }] of entries.entries()) {
        const target = targets[index];
        const path = pathOf(name);
        const more = target === undefined ? {} : { target };
        await output.json({ path, name, ...describeAttributes(attributes), ...more });
      }
      return;
    }
    const rows = entries.map((entry, index) => this.#row(entry, targets[index]));
    for (const row of rows) this.#widen(row);
    for (const row of rows) await output.line(alignRow(row, this.#widths, rightColumns));
  }

  /** Of a symbolic link that is still there. */
  async #target(
    { name, type }: EntryWithAttributes,
    pathOf: (name: string) => string,
  ): Promise<string | undefined> {
    if (type !== "symlink") return undefined;
    const { fileSystem, signal, failed } = this.#session;
    return await fileSystem.readlink(pathOf(name), { signal }).catch((error) => {
      failed(error);
      return undefined;
    });
  }

  #row({ name, type, attributes }: EntryWithAttributes, target: string | undefined): string[] {
    const { output } = this.#session;
    const { mode, links, uid, gid, sizeBytes, mtimeNs } = attributes;
    const shown = output.name(name);
    return [
      formatMode(type, mode),
      String(links),
      this.#owners.userName(uid),
      this.#owners.groupName(gid),
      String(sizeBytes),
      formatTimeShort(mtimeNs),
      formatStripes(attributes),
      target === undefined ? shown : `${shown} -> ${output.name(target)}`,
    ];
  }

  /** All columns but the name, which is the last one. */
  #widen(row: readonly string[]): void {
    for (const [column, cell] of row.slice(0, -1).entries()) {
      this.#widths[column] = Math.max(this.#widths[column] ?? 0, cell.length);
    }
  }
}
