// Where each setting of a command comes from: its flag, else its environment variable, else the
// configuration file, else its default.

import { existsSync } from "node:fs";
import type { Command } from "commander";
import { formatAddress } from "../shared/address.ts";
import { UsageError } from "../shared/command_line.ts";
import type { Address } from "../shared/environment.ts";
import type { ConfigurationFile } from "./configuration_file.ts";
import { parseSetting } from "./setting_values.ts";
import {
  commonSection,
  configVariable,
  defaultConfigPath,
  defaultLogLevel,
  globalSettings,
  ownSettings,
  type RoleSection,
  rootOf,
  sectionOf,
  type Setting,
} from "./settings.ts";

/** What surrounds the program. */
export interface Surroundings {
  /** `undefined` where it is not set. */
  variable(name: string): string | undefined;
  /** Read where neither flag nor variable names a file, and only if it is there. */
  readonly defaultPath: string;
}

const systemSurroundings: Surroundings = {
  variable: (name) => Deno.env.get(name),
  defaultPath: defaultConfigPath,
};

export type Origin =
  | { readonly kind: "flag" }
  | { readonly kind: "environment"; readonly variable: string }
  | { readonly kind: "file"; readonly path: string; readonly line: number }
  | { readonly kind: "default" };

/** The value of a setting that is in force. */
export interface Effective {
  readonly setting: Setting;
  /** As a person would write it; of a default that is worked out, what the help says of it. */
  readonly text: string | undefined;
  readonly value: unknown;
  readonly origin: Origin;
}

/** Gives a command that is about to run what its flags have not said. */
export async function applyConfiguration(
  command: Command,
  surroundings: Surroundings = systemSurroundings,
): Promise<void> {
  const section = sectionOf(command);
  const configuration = await Configuration.read(command, surroundings);
  for (const { setting, value, origin } of configuration.effective(section)) {
    if (origin.kind === "environment" || origin.kind === "file") {
      const owner = setting.isGlobal ? rootOf(command) : command;
      const source = origin.kind === "environment" ? "env" : "config";
      owner.setOptionValueWithSource(setting.option.attributeName(), value, source);
    } else if (setting.isRequired && origin.kind === "default") {
      throw missing(setting, section);
    }
  }
}

function missing({ option, variable, key }: Setting, section: RoleSection): UsageError {
  return new UsageError(
    `required option '${option.flags}' not specified: give the flag, set ${variable}, ` +
      `or write ${key} in [${section}] of the configuration file`,
  );
}

export class Configuration {
  readonly file: ConfigurationFile | undefined;
  /** Whose flags hold. */
  readonly #command: Command;
  readonly #surroundings: Surroundings;

  private constructor(
    command: Command,
    surroundings: Surroundings,
    file: ConfigurationFile | undefined,
  ) {
    this.#command = command;
    this.#surroundings = surroundings;
    this.file = file;
  }

  /** Rejects with a {@link UsageError} where the file has a mistake. */
  static async read(
    command: Command,
    surroundings: Surroundings = systemSurroundings,
  ): Promise<Configuration> {
    const flag = flagOf(command, "config");
    const named = flag?.value ?? variableIn(surroundings, configVariable);
    const path = named === undefined ? surroundings.defaultPath : String(named);
    // Without a file nobody pays for its parser.
    if (named === undefined && !existsSync(path)) {
      return new Configuration(command, surroundings, undefined);
    }
    const { readConfigurationFile } = await import("./configuration_file.ts");
    const file = await readConfigurationFile(path, rootOf(command));
    return new Configuration(command, surroundings, file);
  }

  /** Of the servers' own settings first. `targetIndex`: which OST, where flags do not say. */
  effective(section: RoleSection, targetIndex?: number): Effective[] {
    const program = rootOf(this.#command);
    const index = section === "oss" ? targetIndex ?? this.targetIndex() : undefined;
    const sections = [
      ...(index === undefined ? [] : [`oss.${index}`]),
      section,
      commonSection,
    ];
    return [...ownSettings(program, section), ...globalSettings(program)].map((setting) => {
      if (setting.key === "index" && targetIndex !== undefined) {
        const value = targetIndex;
        return { setting, text: String(value), value, origin: { kind: "flag" } };
      }
      return this.#effective(setting, section, sections);
    });
  }

  /** Of the OST that an oss without further flags would serve. */
  targetIndex(): number {
    const setting = ownSettings(rootOf(this.#command), "oss").find(({ key }) => key === "index");
    return setting ? Number(this.#effective(setting, "oss", ["oss"]).value) : 0;
  }

  #effective(setting: Setting, section: RoleSection, sections: readonly string[]): Effective {
    const { option, variable, isGlobal } = setting;
    const isOfCommand = isGlobal || sectionOf(this.#command) === section;
    const flag = isOfCommand ? flagOf(this.#command, option.attributeName()) : undefined;
    if (flag) {
      const { value } = flag;
      return { setting, text: describeValue(value), value, origin: { kind: "flag" } };
    }
    const given = variableIn(this.#surroundings, variable);
    if (given !== undefined) {
      const parsed = parseSetting(setting, given, variable);
      return { setting, ...parsed, origin: { kind: "environment", variable } };
    }
    for (const name of sections) {
      if (!holdsFor(name, section, setting)) continue;
      const entry = this.file?.sections.get(name)?.get(setting.key);
      if (!this.file || !entry) continue;
      const { text, value, line } = entry;
      return { setting, text, value, origin: { kind: "file", path: this.file.path, line } };
    }
    const value = option.defaultValue;
    return { setting, text: defaultTextOf(setting, section), value, origin: { kind: "default" } };
  }
}

/**
 * Where a host's servers log is common to them, and not to clients: anybody may run one, and hardly
 * anybody may write there.
 */
function holdsFor(name: string, section: RoleSection, { key }: Setting): boolean {
  return !(name === commonSection && section === "client" && key === "log-dir");
}

/** Given on the command line, for the command itself or one before it. */
function flagOf(command: Command, name: string): { value: unknown } | undefined {
  if (command.getOptionValueSource(name) === "cli") return { value: command.getOptionValue(name) };
  return command.parent ? flagOf(command.parent, name) : undefined;
}

/** One that is empty counts as not set. */
function variableIn({ variable }: Surroundings, name: string): string | undefined {
  const value = variable(name);
  return value === "" ? undefined : value;
}

function defaultTextOf({ option, key }: Setting, section: RoleSection): string | undefined {
  if (key === "log-level") return defaultLogLevel(section);
  if (option.isBoolean()) return "false";
  if (option.defaultValueDescription !== undefined) return option.defaultValueDescription;
  if (option.defaultValue !== undefined) return describeValue(option.defaultValue);
  return /\(default: (.*)\)$/.exec(option.description)?.[1];
}

/** What a flag was parsed to, as it is written. */
function describeValue(value: unknown): string {
  if (Array.isArray(value)) return value.map(describeValue).join(",");
  if (typeof value !== "object" || value === null) return String(value);
  return formatAddress(value as Address);
}
