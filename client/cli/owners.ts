// Names of users and groups on this machine, and their numbers.

import { UsageError } from "../../shared/command_line.ts";

/** Numbers by name and names by number, of a file in the format of /etc/passwd. */
interface Names {
  readonly numbers: ReadonlyMap<string, number>;
  readonly names: ReadonlyMap<number, string>;
}

const noNames: Names = { numbers: new Map(), names: new Map() };

export class Owners {
  readonly #users: Names;
  readonly #groups: Names;

  private constructor(users: Names, groups: Names) {
    this.#users = users;
    this.#groups = groups;
  }

  static async load(
    { passwd = "/etc/passwd", group = "/etc/group" }: { passwd?: string; group?: string } = {},
  ): Promise<Owners> {
    return new Owners(await readNames(passwd), await readNames(group));
  }

  /** The number itself where it has no name. */
  userName(uid: number): string {
    return this.#users.names.get(uid) ?? String(uid);
  }

  groupName(gid: number): string {
    return this.#groups.names.get(gid) ?? String(gid);
  }

  /** `OWNER`, `OWNER:GROUP` or `:GROUP`, each a name or a number. */
  parse(text: string): { uid?: number; gid?: number } {
    const [owner = "", group = "", ...rest] = text.split(":");
    if ((owner === "" && group === "") || rest.length > 0 || text.endsWith(":")) {
      throw new UsageError(`Cannot use "${text}" as an owner: write OWNER, OWNER:GROUP or :GROUP`);
    }
    return {
      ...(owner === "" ? {} : { uid: numberOf(this.#users, owner, "user") }),
      ...(group === "" ? {} : { gid: numberOf(this.#groups, group, "group") }),
    };
  }
}

const idMax = 0xffff_fffe;

function numberOf({ numbers }: Names, text: string, what: string): number {
  const named = numbers.get(text);
  if (named !== undefined) return named;
  const number = Number(text);
  if (/^[0-9]+$/.test(text) && number <= idMax) return number;
  throw new UsageError(
    `Cannot use "${text}" as a ${what}: this machine knows no ${what} of that name`,
  );
}

async function readNames(path: string): Promise<Names> {
  let text: string;
  try {
    text = await Deno.readTextFile(path);
  } catch {
    // Names are a convenience: without the file numbers are shown and taken.
    return noNames;
  }
  const numbers = new Map<string, number>();
  const names = new Map<number, string>();
  for (const line of text.split("\n")) {
    const [name = "", , id = ""] = line.split(":");
    if (name === "" || !/^[0-9]+$/.test(id)) continue;
    if (!numbers.has(name)) numbers.set(name, Number(id));
    if (!names.has(Number(id))) names.set(Number(id), name);
  }
  return { numbers, names };
}
