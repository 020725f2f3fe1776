// The commands of `rustre admin` that open the store: they run where the mgs and mds do. What a
// command does is loaded when it runs.

import { Command, Option } from "commander";
import type { ProgramContext } from "./context.ts";
import type { FsckFlags } from "./admin_fsck.ts";

export function adminStoreCommands(context: ProgramContext): Command[] {
  const store = new Command("store").description("look after the store of the metadata");
  store.addCommand(copyCommand(context));
  return [fsckCommand(context), store];
}

function fsckCommand(context: ProgramContext): Command {
  return new Command("fsck")
    .description("check that the store and the OSTs fit together, while the cluster runs")
    .addOption(
      new Option("--store <URL>", "the cluster's store: sqlite:PATH or fdb:CLUSTER_FILE")
        .makeOptionMandatory(),
    )
    .option("--repair", "repair what can be repaired without losing anything")
    .option(
      "--delete-orphans",
      "with --repair, destroy objects and bytes of which nobody knows the file",
    )
    .option("--no-objects", "check the store alone, without any server")
    .action(async (flags: FsckFlags, command: Command) => {
      const { runFsck } = await import("./admin_fsck.ts");
      await runFsck(context, flags, context.globalsOf(command));
    });
}

function copyCommand(context: ProgramContext): Command {
  return new Command("copy")
    .usage("[options] FROM TO")
    .description("copy a cluster to another store, all of its servers being stopped")
    .argument("<from>", "store URL of the cluster")
    .argument("<to>", "store URL of an empty store, or of a copy that was interrupted")
    .action(async (from: string, to: string, _flags: unknown, command: Command) => {
      const { runStoreCopy } = await import("./admin_store_copy.ts");
      await runStoreCopy(context, { from, to }, context.globalsOf(command));
    });
}
