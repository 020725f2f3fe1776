// `rustre completion`: scripts for shells, made from the commands that there are.

import type { Command } from "commander";
import { version } from "../shared/version.ts";
import { bashScript } from "./completion/bash.ts";
import { commandTree, type CompletedCommand } from "./completion/command_tree.ts";
import { fishScript } from "./completion/fish.ts";
import { zshScript } from "./completion/zsh.ts";
import type { Shell } from "./host_commands.ts";

const makers: Record<Shell, (commands: readonly CompletedCommand[]) => string> = {
  bash: bashScript,
  zsh: zshScript,
  fish: fishScript,
};

export function completionScript(shell: Shell, program: Command): string {
  const script = makers[shell](commandTree(program));
  const note = `# Made by "rustre completion ${shell}" of rustre ${version}.`;
  // zsh looks for "#compdef" in the first line.
  const [first = "", ...rest] = script.split("\n");
  return shell === "zsh" ? [first, note, ...rest].join("\n") : `${note}\n\n${script}`;
}
