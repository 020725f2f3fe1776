// The whole command line: the commands with their flags, and what all of them have in common. What
// a command does is loaded only when it runs.

import { Command } from "commander";
import { adminCommands, clientCommands } from "../client/cli/commands.ts";
import { statusCommand } from "../client/cli/status.ts";
import { type CommandContext, UsageError } from "../shared/command_line.ts";
import { isRustreError } from "../shared/errors.ts";
import { type LogOutput, setUpLogging } from "../shared/logging.ts";
import type { ProgramContext } from "./context.ts";
import { addGlobalFlags } from "./globals.ts";
import { serverCommands } from "./servers.ts";
import { upCommand } from "./up.ts";
import { describeVersion } from "./version.ts";

/** The roles that a server command runs; the first one is the process's own. */
const rolesOfServers: Readonly<Record<string, readonly [string, ...string[]]>> = {
  mgs: ["mgs"],
  mds: ["mds"],
  oss: ["oss"],
  up: ["up", "mgs", "mds", "oss"],
};

export function buildProgram(context: ProgramContext): Command {
  const program = new Command("rustre")
    .description("A parallel distributed file system.")
    .version(describeVersion())
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
  const admin = new Command("admin").description("keep the cluster in good order");
  for (const command of adminCommands(context)) admin.addCommand(command);
  program.addCommand(admin);
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
  try {
    return setUpLogging({
      level: logLevel ?? (isServer ? "info" : "warn"),
      format: logFormat,
      stream: isServer ? "stdout" : "stderr",
      roles: isServer ? roles : ["client"],
      ...(logDirectory === undefined ? {} : { directory: logDirectory }),
    });
  } catch (error) {
    throw isRustreError(error) ? new UsageError(error.message, { cause: error }) : error;
  }
}
