// The completion script of fish.

import { type CompletedCommand, type CompletedFlag, namesOf } from "./command_tree.ts";

/** Whether the words before the cursor lead to this command. */
const walk = `function __rustre_is
    set -l at rustre
    set -l skip no
    for word in (commandline -opc)[2..-1]
        if test $skip = yes
            set skip no
        else if contains -- $word (__rustre_valued $at)
            set skip yes
        else if contains -- $word (__rustre_subcommands $at)
            set at "$at $word"
        end
    end
    test "$at" = "$argv"
end
`;

export function fishScript(commands: readonly CompletedCommand[]): string {
  const valued = (flags: readonly CompletedFlag[]) => flags.filter(({ isValued }) => isValued);
  return [
    ...lookup("__rustre_valued", commands, ({ flags }) => namesOf(valued(flags))),
    "",
    ...lookup(
      "__rustre_subcommands",
      commands,
      ({ subcommands }) => subcommands.map(({ name }) => name),
    ),
    "",
    walk,
    ...commands.flatMap(completions),
    "",
  ].join("\n");
}

/** A function that prints words for a command, one on each line. */
function lookup(
  name: string,
  commands: readonly CompletedCommand[],
  wordsOf: (command: CompletedCommand) => readonly string[],
): string[] {
  const cases = commands.filter((command) => wordsOf(command).length > 0).flatMap((command) => [
    `        case ${quoteFish(command.path)}`,
    `            printf '%s\\n' ${wordsOf(command).join(" ")}`,
  ]);
  return [`function ${name}`, '    switch "$argv"', ...cases, "    end", "end"];
}

function completions({ path, subcommands, flags, operands }: CompletedCommand): string[] {
  const here = `complete -c rustre -n ${quoteFish(`__rustre_is ${path}`)}`;
  return [
    ...subcommands.map(({ name, description }) => {
      return `${here} -f -a ${quoteFish(name)} -d ${quoteFish(description)}`;
    }),
    ...(operands.length > 0 ? [`${here} -f -a ${quoteFish(operands.join(" "))}`] : []),
    ...flags.map((flag) => `${here} ${describeFlag(flag)}`),
  ];
}

function describeFlag({ names, description, isValued, choices }: CompletedFlag): string {
  const parts = names.map((name) => {
    return name.startsWith("--") ? `-l ${name.slice(2)}` : `-s ${name.slice(1)}`;
  });
  if (choices.length > 0) parts.push(`-x -a ${quoteFish(choices.join(" "))}`);
  else if (isValued) parts.push("-r");
  return [...parts, `-d ${quoteFish(description)}`].join(" ");
}

function quoteFish(text: string): string {
  return `'${text.replace(/['\\]/g, "\\$&")}'`;
}
