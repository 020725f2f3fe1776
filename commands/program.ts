// The whole command line: the commands with their flags, and what all of them have in common. What
// a command does is loaded only when it runs.

import { Command } from "commander";
import { clientCommands } from "../client/cli/commands.ts";
import { statusCommand } from "../client/cli/status.ts";
import type { CommandContext } from "../shared/command_line.ts";
import { type LogOutput, setUpLogging } from "../shared/logging.ts";
import { version } from "../shared/version.ts";
import { addGlobalFlags } from "./globals.ts";
import { serverCommands } from "./servers.ts";
import { upCommand } from "./up.ts";

/** The roles that a server command runs; the first one is the process's own. */
const rolesOfServers: Readonly<Record<string, readonly [string, ...string[]]>> = {
  mgs: ["mgs"],
  mds: ["mds"],
  oss: ["oss"],
  up: ["up", "mgs", "mds", "oss"],
};

/** What main.ts gives to the program, and takes back when it has run. */
export interface ProgramContext extends CommandContext {
  /** Set before an action runs. */
  output: LogOutput | undefined;
}

export function buildProgram(context: ProgramContext): Command {
  const program = new Command("rustre")
    .description("A parallel distributed file system.")
    .version(version)
    .enablePositionalOptions()
    .exitOverride()
    .configureOutput({ outputError: (text, write) => write(text.replace(/^error: /, "rustre: ")) })
    .showHelpAfterError("(rustre --help lists the commands and the global flags)")
    .hook("preAction", (_program, command) => {
      context.output = setUpLog(context, command);
    });
  program.addCommand(upCommand(context));
  for (const command of serverCommands(context)) program.addCommand(command);
  program.addCommand(statusCommand(context));
  const client = new Command("client").description("work with files, from the command line");
  for (const command of clientCommands(context)) client.addCommand(command);
  program.addCommand(client);
  inheritSettings(program);
  addGlobalFlags(program);
  return program;
}

/** addCommand does not pass on what all commands are to do alike. */
function inheritSettings(parent: Command): void {
  for (const command of parent.commands) {
    command.copyInheritedSettings(parent);
    inheritSettings(command);
  }
}

function setUpLog(context: CommandContext, command: Command): LogOutput {
  const { logLevel, logFormat, logDirectory } = context.globalsOf(command);
  const roles = rolesOfServers[command.name()];
  const isServer = roles !== undefined && command.parent?.parent === null;
  return setUpLogging({
    level: logLevel ?? (isServer ? "info" : "warn"),
    format: logFormat,
    stream: isServer ? "stdout" : "stderr",
    roles: isServer ? roles : ["client"],
    ...(logDirectory === undefined ? {} : { directory: logDirectory }),
  });
}
