// Which line each key of a TOML document stands on. The parser does not tell, so it is asked: a line
// that it takes alone, or with those behind it, is a statement, and what it then has are its keys.

import { parse, TomlError, type TomlTable } from "smol-toml";

/** No setting needs as many; each of them takes one more attempt to parse all before it. */
const statementLinesMax = 200;
/** Of section, index and key. Whatever is in there has its line. */
const depthMax = 3;

export class TomlLines {
  /** By the path of the key, each part quoted. */
  readonly #lines = new Map<string, number>();
  /** That the keys which follow belong to. */
  #table: readonly string[] = [];
  /** Where a statement begins that has too many lines; nothing is known of what stands behind it. */
  #restFrom: number | undefined;

  /** `text` must be valid as a whole. */
  constructor(text: string) {
    let statement = "";
    let start = 1;
    for (const [index, line] of text.split("\n").entries()) {
      statement += line + "\n";
      const parsed = tryParse(statement);
      // A string or a list goes on in the next line.
      if (!parsed) {
        if (index + 1 - start < statementLinesMax) continue;
        this.#restFrom = start;
        break;
      }
      this.#add(parsed, /^\s*\[/.test(statement), start);
      statement = "";
      start = index + 2;
    }
  }

  /** Of a table or key; of a table that is only there because of what is in it, that of the first. */
  lineOf(path: readonly string[]): number {
    const line = this.#lines.get(nameOf(path.slice(0, depthMax))) ?? this.#restFrom;
    if (line === undefined) throw new TypeError(`no key ${path.join(".")}`);
    return line;
  }

  #add(parsed: TomlTable, isHeader: boolean, line: number): void {
    const paths = [...pathsIn(parsed)];
    const base = isHeader ? [] : this.#table;
    for (const path of paths) {
      const name = nameOf([...base, ...path]);
      if (!this.#lines.has(name)) this.#lines.set(name, line);
    }
    if (isHeader) this.#table = paths.at(-1) ?? [];
  }
}

function tryParse(statement: string): TomlTable | undefined {
  try {
    return parse(statement);
  } catch (error) {
    if (error instanceof TomlError) return undefined;
    throw error;
  }
}

/** Each table before what is in it. */
function* pathsIn(table: TomlTable, depth = depthMax): Generator<readonly string[]> {
  for (const [key, value] of Object.entries(table)) {
    yield [key];
    const inner = Array.isArray(value) ? value.at(-1) : value;
    if (!isTable(inner) || depth === 1) continue;
    for (const path of pathsIn(inner, depth - 1)) yield [key, ...path];
  }
}

export function isTable(value: unknown): value is TomlTable {
  // Dates of TOML are objects with a prototype.
  return typeof value === "object" && value !== null && Object.getPrototypeOf(value) === null;
}

function nameOf(path: readonly string[]): string {
  return JSON.stringify(path);
}
