// The command tree as completion scripts need it: what may follow each command.

import type { Command, Option } from "commander";

export interface CompletedFlag {
  /** `-r`, `--recursive` */
  readonly names: readonly string[];
  readonly description: string;
  /** Whether a value follows it. */
  readonly isValued: boolean;
  /** That it takes; none where it takes any. */
  readonly choices: readonly string[];
}

export interface CompletedCommand {
  /** With those before it: `rustre client put`. */
  readonly path: string;
  readonly subcommands: readonly { readonly name: string; readonly description: string }[];
  readonly flags: readonly CompletedFlag[];
  /** Operands that it takes; none where it takes any. */
  readonly operands: readonly string[];
}

/** A command and all below it. */
export function commandTree(command: Command, before = ""): CompletedCommand[] {
  const path = before === "" ? command.name() : `${before} ${command.name()}`;
  const help = command.createHelp();
  const subcommands = help.visibleCommands(command);
  return [
    {
      path,
      subcommands: subcommands.map((each) => {
        return { name: each.name(), description: each.description() };
      }),
      flags: optionsOf(command).map(describeFlag),
      operands: command.registeredArguments.flatMap(({ argChoices }) => argChoices ?? []),
    },
    ...command.commands.flatMap((each) => commandTree(each, path)),
  ];
}

/** With those that its help does not show: the global ones are taken behind every command. */
function optionsOf(command: Command): Option[] {
  return [...new Set([...command.createHelp().visibleOptions(command), ...command.options])];
}

function describeFlag(option: Option): CompletedFlag {
  const { short, long, description, argChoices = [] } = option;
  return {
    names: [short, long].filter((name) => name !== undefined),
    description,
    isValued: option.required || option.optional,
    choices: argChoices,
  };
}

/** One word of a shell, whatever is in it. */
export function quote(text: string): string {
  return `'${text.replaceAll("'", `'\\''`)}'`;
}

export function namesOf(flags: readonly CompletedFlag[]): string[] {
  return flags.flatMap(({ names }) => names);
}
