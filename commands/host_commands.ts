// The commands about this host alone, which need no cluster: its configuration, its services, its
// shells. What a command does is loaded when it runs.

import { Argument, Command } from "commander";
import { targetIndexFlag } from "../client/cli/arguments.ts";
import type { CommandContext } from "../shared/command_line.ts";
import { parsePath } from "./globals.ts";
import { roleSections, rootOf } from "./settings.ts";

export function configCommand(context: CommandContext): Command {
  const show = new Command("show")
    .description("print every setting in force and where it comes from")
    .addArgument(new Argument("[section]", "of one role (default: of all)").choices(roleSections))
    .option("--index <INDEX>", "of oss: for the OST with this index", targetIndexFlag)
    .action(async (section, flags, command: Command) => {
      const { showConfiguration } = await import("./config_show.ts");
      await showConfiguration(context, section, flags, command);
    });
  return new Command("config").description("the configuration of this host").addCommand(show);
}

export function completionCommand(): Command {
  return new Command("completion")
    .description("print a script that completes commands and flags in a shell")
    .addArgument(new Argument("<shell>", "whose script").choices(shells))
    .action(async (shell: Shell, _flags, command: Command) => {
      const { completionScript } = await import("./completion.ts");
      const { Output } = await import("../client/cli/output.ts");
      const output = new Output(Deno.stdout);
      await output.line(completionScript(shell, rootOf(command)).trimEnd());
      await output.flush();
    });
}

export const shells = ["bash", "zsh", "fish"] as const;
export type Shell = (typeof shells)[number];

export function installUnitsCommand(context: CommandContext): Command {
  return new Command("install-units")
    .description("write systemd units, and a sample configuration where there is none")
    .option("--root <DIR>", "a tree to write them into, such as that of a package", parsePath, "/")
    .option("--exec <PATH>", "the rustre that the units start", "/usr/local/bin/rustre")
    .action(async (flags, command: Command) => {
      const { installUnits } = await import("./install_units.ts");
      await installUnits(context, flags, command);
    });
}
