// The global flags. They are accepted before the command and behind it, so every command has them;
// a short form that a command uses itself, as `put -c`, means the command's own there.

import { type Command, InvalidArgumentError, Option } from "commander";
import { parseAddressList } from "../shared/address.ts";
import type { Globals } from "../shared/command_line.ts";
import type { Address } from "../shared/environment.ts";
import { messageOf } from "../shared/errors.ts";
import { logFormats, logLevelNames } from "../shared/logging.ts";
import { dataPathChoices } from "../shared/tcp_transport.ts";
import { defaultConfigPath } from "./settings.ts";

interface GlobalFlag {
  readonly short?: string;
  readonly long: string;
  readonly description: string;
  readonly defaultValue?: unknown;
  readonly defaultText?: string;
  readonly choices?: readonly string[];
  readonly parse?: (text: string) => unknown;
}

const flags: readonly GlobalFlag[] = [
  {
    short: "-m",
    long: "--mgs <HOST:PORT,...>",
    description: "management servers",
    defaultValue: [{ host: "127.0.0.1", port: 9400 }],
    defaultText: "127.0.0.1:9400",
    parse: parsed(parseAddressList),
  },
  {
    short: "-c",
    long: "--cluster-name <NAME>",
    description: "of servers: the name of the cluster in the store",
    defaultValue: "rustre",
    parse: parseClusterName,
  },
  {
    long: "--log-level <LEVEL>",
    description: "least important level logged (default: servers info, client warn)",
    choices: logLevelNames,
  },
  {
    long: "--log-dir <DIR>",
    description: "also log to DIR/ROLE.log",
    parse: parsePath,
  },
  {
    long: "--log-format <FORMAT>",
    description: "of log lines",
    defaultValue: "text",
    choices: logFormats,
  },
  {
    long: "--data-path <PATH>",
    description: "how files are sent: without copying them where that works, or never so",
    defaultValue: "auto",
    choices: dataPathChoices,
  },
  {
    long: "--cache-dir <DIR>",
    description: "of a self-extracting executable: where it unpacks itself",
  },
  { long: "--json", description: "results as JSON" },
  {
    long: "--config <FILE>",
    description: `configuration (default: ${defaultConfigPath} where it is there)`,
  },
];

/** Gives the program its global flags, and every command below it hidden copies of them. */
export function addGlobalFlags(program: Command): void {
  for (const flag of flags) program.addOption(makeOption(flag, flag.short));
  addCopies(program);
}

/** The flags in force for `command`. */
export function globalsOf(command: Command): Globals {
  return {
    mgs: valueOf(command, "mgs") as Address[],
    clusterName: valueOf(command, "clusterName") as string,
    logLevel: valueOf(command, "logLevel") as Globals["logLevel"],
    logDirectory: valueOf(command, "logDir") as string | undefined,
    logFormat: valueOf(command, "logFormat") as Globals["logFormat"],
    dataPath: valueOf(command, "dataPath") as Globals["dataPath"],
    json: valueOf(command, "json") === true,
  };
}

/** For the parser of a flag: any error of `parse` is the user's. */
export function parsed<T>(parse: (text: string) => T): (text: string) => T {
  return (text) => {
    try {
      return parse(text);
    } catch (error) {
      throw new InvalidArgumentError(messageOf(error));
    }
  };
}

export function parsePath(text: string): string {
  if (text !== "" && !text.includes("\0")) return text;
  throw new InvalidArgumentError("It must be a path.");
}

/** It is part of every key in the store. */
function parseClusterName(text: string): string {
  if (/^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$/.test(text)) return text;
  throw new InvalidArgumentError(
    "A cluster name has 1 to 63 letters, digits, dots, underscores and hyphens.",
  );
}

function makeOption(flag: GlobalFlag, short: string | undefined): Option {
  const option = new Option(short ? `${short}, ${flag.long}` : flag.long, flag.description);
  if (flag.choices) option.choices(flag.choices);
  if (flag.parse) option.argParser(flag.parse);
  if (flag.defaultValue !== undefined) option.default(flag.defaultValue, flag.defaultText);
  return option;
}

/** Copies have no default: they only tell what stands behind the command. */
function addCopies(parent: Command): void {
  for (const command of parent.commands) {
    const taken = (name: string) =>
      command.options.some((option) => option.short === name || option.long === name);
    for (const { defaultValue: _, ...flag } of flags) {
      if (taken(flag.long.split(" ")[0] ?? flag.long)) continue;
      const short = flag.short && !taken(flag.short) ? flag.short : undefined;
      command.addOption(makeOption(flag, short).hideHelp());
    }
    addCopies(command);
  }
}

/**
 * Of the command itself if given there, else of the commands before it up to the program, which has
 * what the configuration says.
 */
function valueOf(command: Command, name: string): unknown {
  const given = command.getOptionValueSource(name) === "cli";
  if (given || !command.parent) return command.getOptionValue(name);
  return valueOf(command.parent, name);
}
