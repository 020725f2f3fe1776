// The configuration file: TOML with a table for all commands, one for each role, and one for each
// OST. The whole file is checked whatever part of it is used, so that a mistake shows at once.

import type { Command } from "commander";
import { parse, TomlError, type TomlTable, type TomlValue } from "smol-toml";
import { UsageError } from "../shared/command_line.ts";
import { otherThanFile } from "../shared/file_kind.ts";
import { limits } from "../shared/limits.ts";
import { platformReason } from "../shared/platform_errors.ts";
import { nearest } from "./nearest.ts";
import { isList, isNumber, parseSetting, type SettingValue } from "./setting_values.ts";
import { commonSection, roleSections, type Setting, settingsOf } from "./settings.ts";
import { isTable, TomlLines } from "./toml_lines.ts";

/** A value, checked. */
export interface FileEntry extends SettingValue {
  readonly line: number;
}

export interface ConfigurationFile {
  readonly path: string;
  /** By section, such as `oss` and `oss.0`, and then by key. */
  readonly sections: ReadonlyMap<string, ReadonlyMap<string, FileEntry>>;
}

/** Rejects with a {@link UsageError}. */
export async function readConfigurationFile(
  path: string,
  program: Command,
): Promise<ConfigurationFile> {
  const refuse = (reason: string) =>
    new UsageError(`Cannot read the configuration "${path}": ${reason}`);
  let bytes: Uint8Array;
  try {
    const other = otherThanFile(await Deno.stat(path));
    if (other !== undefined) throw refuse(`it is ${other}; name a file`);
    bytes = await readBounded(path);
  } catch (error) {
    throw error instanceof UsageError ? error : refuse(platformReason(error).reason);
  }
  if (bytes.length > limits.configurationBytesMax) {
    throw refuse(`it has more than ${limits.configurationBytesMax} bytes`);
  }
  let text: string;
  try {
    text = new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch {
    throw refuse("it is not UTF-8");
  }
  return parseConfiguration(path, text, program);
}

/** Up to one byte more than it may have: it may be a device without an end. */
async function readBounded(path: string): Promise<Uint8Array> {
  using file = await Deno.open(path);
  const bytes = new Uint8Array(limits.configurationBytesMax + 1);
  let length = 0;
  while (length < bytes.length) {
    const count = await file.read(bytes.subarray(length));
    if (count === null) break;
    length += count;
  }
  return bytes.subarray(0, length);
}

/** Throws a {@link UsageError} that names the line. */
export function parseConfiguration(
  path: string,
  text: string,
  program: Command,
): ConfigurationFile {
  const document = parseToml(path, text);
  const reader = new Reader(path, new TomlLines(text), program);
  for (const [name, value] of Object.entries(document)) reader.section(name, value);
  return { path, sections: reader.sections };
}

function parseToml(path: string, text: string): TomlTable {
  try {
    return parse(text);
  } catch (error) {
    if (!(error instanceof TomlError)) throw error;
    const [reason = ""] = error.message.replace(/^Invalid TOML document: /, "").split("\n");
    throw new UsageError(`Cannot read the configuration at ${path}:${error.line}: ${reason}`);
  }
}

class Reader {
  readonly sections = new Map<string, Map<string, FileEntry>>();
  readonly #path: string;
  readonly #lines: TomlLines;
  readonly #program: Command;

  constructor(path: string, lines: TomlLines, program: Command) {
    this.#path = path;
    this.#lines = lines;
    this.#program = program;
  }

  section(name: string, value: TomlValue): void {
    const sections = [commonSection, ...roleSections];
    if (!isTable(value)) {
      const reason = sections.includes(name)
        ? `it is a section, written [${name}], and stands there once`
        : `it must stand in a section, such as [${commonSection}]`;
      throw this.#refusal(`the key "${name}"`, [name], reason);
    }
    if (!sections.includes(name)) {
      const reason = `there is no such section${insteadOf(name, sections)}`;
      throw this.#refusal(`the section "${name}"`, [name], reason);
    }
    const settings = settingsOf(this.#program, name);
    for (const [key, each] of Object.entries(value)) {
      if (name === "oss" && isTable(each)) this.#target(key, each);
      else this.#entry([name], key, each, settings);
    }
  }

  /** `[oss.INDEX]`: what holds for one OST. */
  #target(name: string, table: TomlTable): void {
    if (!/^(0|[1-9][0-9]*)$/.test(name) || Number(name) > limits.targetIndexMax) {
      const reason = `[oss.INDEX] has an index from 0 to ${limits.targetIndexMax}`;
      throw this.#refusal(`the section "oss.${name}"`, ["oss", name], reason);
    }
    // Its index is in its name.
    const settings = settingsOf(this.#program, "oss").filter(({ key }) => key !== "index");
    for (const [key, value] of Object.entries(table)) {
      this.#entry(["oss", name], key, value, settings);
    }
    this.#entriesOf(`oss.${name}`);
  }

  #entry(table: string[], key: string, value: TomlValue, settings: readonly Setting[]): void {
    const section = table.join(".");
    const path = [...table, key];
    const setting = settings.find((each) => each.key === key);
    if (!setting) {
      const instead = insteadOf(key, settings.map((each) => each.key).sort());
      throw this.#refusal(`the key "${key}"`, path, `[${section}] has no such key${instead}`);
    }
    const text = textOf(setting, value);
    if (text === undefined) {
      throw this.#refusal(`the value of "${key}"`, path, `it must be ${kindOf(setting)}`);
    }
    const line = this.#lines.lineOf(path);
    const parsed = parseSetting(setting, text, `${this.#path}:${line}`);
    this.#entriesOf(section).set(key, { ...parsed, line });
  }

  #entriesOf(section: string): Map<string, FileEntry> {
    const entries = this.sections.get(section) ?? new Map<string, FileEntry>();
    this.sections.set(section, entries);
    return entries;
  }

  #refusal(what: string, path: readonly string[], reason: string): UsageError {
    const line = this.#lines.lineOf(path);
    return new UsageError(`Cannot use ${what} at ${this.#path}:${line}: ${reason}`);
  }
}

/** As the flag takes it; `undefined` where it is of another type. */
function textOf(setting: Setting, value: TomlValue): string | undefined {
  if (setting.option.isBoolean()) return typeof value === "boolean" ? String(value) : undefined;
  if (typeof value === "string") return value;
  if (typeof value === "number" && isNumber(setting)) return String(value);
  const isTexts = Array.isArray(value) && value.every((each) => typeof each === "string");
  return isTexts && isList(setting) ? value.join(",") : undefined;
}

function kindOf(setting: Setting): string {
  if (setting.option.isBoolean()) return "true or false";
  if (isNumber(setting)) return "a number";
  return isList(setting) ? "a string, or a list of strings" : "a string";
}

function insteadOf(name: string, names: readonly string[]): string {
  const meant = nearest(name, names);
  const hint = meant === undefined ? "" : `; did you mean "${meant}"?`;
  return `${hint === "" ? "; " : `${hint} `}allowed are ${names.join(", ")}`;
}
