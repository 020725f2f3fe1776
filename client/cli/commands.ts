// The commands of `rustre client`.

import type { Command } from "commander";
import type { CommandContext } from "../../shared/command_line.ts";

export function clientCommands(_context: CommandContext): Command[] {
  return [];
}
