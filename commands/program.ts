// The whole command line: the commands with their flags, and what all of them have in common. What
// a command does is loaded only when it runs.

import { Command, Help, type Option } from "commander";
import { adminCommands, clientCommands } from "../client/cli/commands.ts";
import { statusCommand } from "../client/cli/status.ts";
import { type CommandContext, UsageError } from "../shared/command_line.ts";
import { isRustreError } from "../shared/errors.ts";
import { type LogOutput, setUpLogging } from "../shared/logging.ts";
import { adminStoreCommands } from "./admin.ts";
import type { ProgramContext } from "./context.ts";
import { applyConfiguration } from "./configuration.ts";
import { addGlobalFlags } from "./globals.ts";
import { addHelpCommands, isHelpCommand } from "./help.ts";
import { completionCommand, configCommand, installUnitsCommand } from "./host_commands.ts";
import { serverCommands } from "./servers.ts";
import { defaultLogLevel, noteSettings, sectionOf, variableOf } from "./settings.ts";
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
    .configureHelp({ optionDescription: describeOption })
    .hook("preAction", async (_program, command) => {
      if (isHelpCommand(command)) return;
      await applyConfiguration(command);
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
  admin.addCommand(installUnitsCommand(context));
  for (const command of adminStoreCommands(context)) admin.addCommand(command);
  program.addCommand(admin);
  program.addCommand(configCommand(context));
  program.addCommand(completionCommand());
  addHelpCommands(program);
  inheritSettings(program);
  addGlobalFlags(program);
  noteSettings(program);
  return program;
}

/** addCommand does not pass on what all commands are to do alike. */
function inheritSettings(parent: Command, before = parent.name()): void {
  for (const command of parent.commands) {
    command.copyInheritedSettings(parent);
    const path = `${before} ${command.name()}`;
    command.showHelpAfterError(
      command.commands.length > 0
        ? `(${path} --help lists the commands)`
        : `(${path} --help says more, rustre --help lists the global flags)`,
    );
    inheritSettings(command, path);
  }
}

/** With the name of its environment variable, which commander is not told: see configuration.ts. */
function describeOption(this: Help, option: Option): string {
  const description = Help.prototype.optionDescription.call(this, option);
  const variable = variableOf(option);
  return variable === undefined ? description : `${description} (env: ${variable})`;
}

function setUpLog(context: CommandContext, command: Command): LogOutput {
  const { logLevel, logFormat, logDirectory } = context.globalsOf(command);
  const roles = rolesOfServers[command.name()];
  const isServer = roles !== undefined && command.parent?.parent === null;
  try {
    return setUpLogging({
      level: logLevel ?? defaultLogLevel(sectionOf(command)),
      format: logFormat,
      stream: isServer ? "stdout" : "stderr",
      roles: isServer ? roles : ["client"],
      ...(logDirectory === undefined ? {} : { directory: logDirectory }),
    });
  } catch (error) {
    throw isRustreError(error) ? new UsageError(error.message, { cause: error }) : error;
  }
}
