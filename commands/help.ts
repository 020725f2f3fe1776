// `rustre help COMMAND...`: the help of a command however deep it stands. Commander's own takes one
// word, and says nothing of a command that is not there.

import { Command } from "commander";
import { nearest } from "./nearest.ts";

const helpName = "help";

/** Gives `group`, and every group of commands below it, the command that explains the others. */
export function addHelpCommands(group: Command): void {
  for (const command of group.commands) {
    if (command.commands.length > 0) addHelpCommands(command);
  }
  group.addCommand(helpCommand(group));
}

/** It is to work whatever the configuration is: help is where one looks when that is wrong. */
export function isHelpCommand(command: Command): boolean {
  return command.name() === helpName;
}

function helpCommand(group: Command): Command {
  return new Command(helpName)
    .description("display help for command")
    .argument("[command...]")
    .action((words: readonly string[]) => commandAt(group, words).help());
}

function commandAt(group: Command, words: readonly string[]): Command {
  return words.reduce((command, word) => {
    const found = command.commands.find((each) => each.name() === word);
    if (found) return found;
    const meant = nearest(word, command.commands.map((each) => each.name()));
    const hint = meant === undefined ? "" : `\n(Did you mean ${meant}?)`;
    return command.error(`error: unknown command '${word}'${hint}`);
  }, group);
}
