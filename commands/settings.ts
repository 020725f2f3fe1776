// What can be configured: every global flag and every flag of a server. Each one is also an
// environment variable and a key of the configuration file, whose names follow from the flag's, so
// that a new flag has both.

import type { Command, Option } from "commander";
import { assert } from "../shared/assert.ts";
import type { LogLevelName } from "../shared/logging.ts";

/** Parts of a configuration file: one for all commands, one for each server, one for the others. */
export const roleSections = ["up", "mgs", "mds", "oss", "client"] as const;
export type RoleSection = (typeof roleSections)[number];
export const commonSection = "common";

export interface Setting {
  /** The long flag without its dashes. */
  readonly key: string;
  readonly variable: string;
  readonly option: Option;
  /** A flag of all commands, not of one server. */
  readonly isGlobal: boolean;
  /** The server does not start without it. */
  readonly isRequired: boolean;
}

export const configVariable = "RUSTRE_CONFIG";

/** Flags that no file can say, with their variables: they are needed before one is read. */
const notConfigurable: ReadonlyMap<string, string | undefined> = new Map([
  ["--config", configVariable],
  ["--cache-dir", "RUSTRE_CACHE_DIR"],
  ["--version", undefined],
  ["--help", undefined],
]);

/** Names that are older than the rule. */
const oldVariables: Readonly<Record<string, string>> = {
  "cluster-name": "RUSTRE_CLUSTER",
  "log-level": "RUSTRE_LOG",
};

export const defaultConfigPath = "/etc/rustre/rustre.toml";
const requiredOptions = new WeakSet<Option>();
const variables = new WeakMap<Option, string>();

export function rootOf(command: Command): Command {
  return command.parent ? rootOf(command.parent) : command;
}

/** The part of the configuration that holds for a command, beside the common one. */
export function sectionOf(command: Command): RoleSection {
  const isTopLevel = command.parent?.parent === null;
  const name = roleSections.find((section) => section === command.name());
  return isTopLevel && name ? name : "client";
}

export function globalSettings(program: Command): Setting[] {
  return program.options
    .filter(({ long }) => !notConfigurable.has(long ?? ""))
    .map((option) => settingOf(option, true));
}

/** The flags of a server alone; the others have none that a configuration should decide. */
export function ownSettings(program: Command, section: RoleSection): Setting[] {
  const isGlobal = ({ long }: Option) => program.options.some((other) => other.long === long);
  // Of the clients there is no one command, and no flag of theirs is a setting.
  if (section === "client") return [];
  const command = program.commands.find((each) => each.name() === section);
  assert(command, `there is no command ${section}`);
  return command.options
    .filter((option) => !isGlobal(option))
    .map((option) => settingOf(option, false));
}

/** Everything that a section may have. */
export function settingsOf(program: Command, section: string): Setting[] {
  const role = roleSections.find((each) => each === section);
  return [...(role ? ownSettings(program, role) : []), ...globalSettings(program)];
}

/**
 * To be called once all commands and flags are there. The parser would miss required flags before
 * the configuration is read: from here on whoever has read it asks {@link Setting.isRequired}.
 */
export function noteSettings(program: Command): void {
  const own = roleSections.flatMap((section) => ownSettings(program, section));
  for (const { option, variable } of [...globalSettings(program), ...own]) {
    variables.set(option, variable);
    if (option.mandatory) requiredOptions.add(option);
    option.mandatory = false;
  }
  for (const option of program.options) {
    const variable = notConfigurable.get(option.long ?? "");
    if (variable !== undefined) variables.set(option, variable);
  }
}

/** The environment variable of a flag, for its help; `undefined` where it has none. */
export function variableOf(option: Option): string | undefined {
  return variables.get(option);
}

export function defaultLogLevel(section: RoleSection): LogLevelName {
  return section === "client" ? "warn" : "info";
}

function settingOf(option: Option, isGlobal: boolean): Setting {
  assert(option.long, `a flag without a long name: ${option.flags}`);
  assert(!option.negate, `a flag that only a configuration could take back: ${option.flags}`);
  const key = option.long.slice("--".length);
  const variable = oldVariables[key] ?? `RUSTRE_${key.toUpperCase().replaceAll("-", "_")}`;
  return { key, variable, option, isGlobal, isRequired: requiredOptions.has(option) };
}
