// The commands of `rustre client`, and those of `rustre admin` that are clients too, with their
// operands and flags. What a command does is loaded when it runs.

import { Command } from "commander";
import type { CommandContext } from "../../shared/command_line.ts";
import {
  bytesFlag,
  modeFlag,
  replicasFlag,
  sizeChangeFlag,
  stripeBytesFlag,
  stripeCountFlag,
  targetIndexFlag,
} from "./arguments.ts";
import type { Job } from "./session.ts";

/** Checks operands and flags; what is wrong with them is an error before anything is done. */
type Plan<Flags> = (operands: readonly string[], flags: Flags) => Job | Promise<Job>;

export function clientCommands(context: CommandContext): Command[] {
  return [
    ...copyCommands(context),
    ...readCommands(context),
    ...treeCommands(context),
    ...attributeCommands(context),
    ...spaceCommands(context),
    ...stripeCommands(context),
  ];
}

export function adminCommands(context: CommandContext): Command[] {
  return [
    new Command("scrub")
      .description("check every object of the OSTs against its checksums, and repair it")
      .option("--ost <INDEX>", "only the objects of this OST", targetIndexFlag)
      .option("--no-repair", "only say what is damaged")
      .action(runs(context, async () => (await import("./scrub.ts")).scrub)),
  ];
}

/** The action of a command whose plan `load` gives. */
function runs<Flags>(context: CommandContext, load: () => Promise<Plan<Flags>>) {
  return async (...given: unknown[]): Promise<void> => {
    const command = given.at(-1) as Command;
    const plan = await load();
    const job = await plan(command.args, command.opts() as Flags);
    const { runJob } = await import("./session.ts");
    await runJob(context, command, job);
  };
}

function striped(command: Command): Command {
  return command
    .option("-c, --stripes <COUNT>", "stripes of new files; 0 is one for each OST", stripeCountFlag)
    .option("-S, --stripe-size <SIZE>", "bytes of a stripe, as 1M", stripeBytesFlag)
    .option("-R, --replicas <COUNT>", "copies of every byte, on different OSTs", replicasFlag);
}

function copyCommands(context: CommandContext): Command[] {
  const copying = (command: Command) =>
    command
      .argument("<path...>", "sources, then where to")
      .option("-r, --recursive", "copy directories, and symbolic links as links")
      .option("-f, --force", "replace existing files, each at once when its copy is complete");
  return [
    striped(copying(new Command("put")))
      .usage("[options] SRC... DST")
      .description('upload files or trees; SRC "-" is standard input')
      .action(runs(context, async () => (await import("./copy.ts")).put)),
    copying(new Command("get"))
      .usage("[options] SRC... DST")
      .description('download files or trees; DST "-" is standard output')
      .action(runs(context, async () => (await import("./copy.ts")).get)),
    striped(copying(new Command("cp")))
      .usage("[options] SRC... HOST:PORT:/DST | HOST:PORT:/SRC... DST")
      .description("put or get with the cluster in the path")
      .action(runs(context, async () => (await import("./copy.ts")).cp)),
  ];
}

function readCommands(context: CommandContext): Command[] {
  return [
    new Command("ls")
      .description("list directories and files")
      .argument("[path...]", "default: /")
      .option("-l, --long", "mode, links, owner, group, size, time, stripes x replicas, name")
      .option("-R, --recursive", "also what is in the directories below")
      .option("-a, --all", "also names that begin with a dot")
      .action(runs(context, async () => (await import("./list.ts")).ls)),
    new Command("cat")
      .description("write files to standard output")
      .argument("<path...>")
      .option("--offset <SIZE>", "begin at this byte; only the range is fetched", bytesFlag)
      .option("--length <SIZE>", "at most so many bytes", bytesFlag)
      .action(runs(context, async () => (await import("./read.ts")).cat)),
    new Command("readlink")
      .description("print the targets of symbolic links")
      .argument("<path...>")
      .action(runs(context, async () => (await import("./read.ts")).readlink)),
    new Command("find")
      .description("print the paths below a directory that meet all conditions")
      .argument("<path...>")
      .usage("PATH... [-name GLOB] [-type f|d|l] [-size [+-]SIZE]")
      .addHelpText(
        "after",
        "\nConditions:\n" +
          "  -name GLOB         names that the pattern fits, as '*.md'\n" +
          "  -type f|d|l        files, directories or symbolic links\n" +
          "  -size [+-]SIZE     files of more (+), less (-) or exactly so many bytes, as +64K",
      )
      .allowUnknownOption()
      .action(runs(context, async () => (await import("./find.ts")).find)),
  ];
}

function treeCommands(context: CommandContext): Command[] {
  return [
    new Command("mkdir")
      .description("make directories")
      .argument("<path...>")
      .option("-p, --parents", "also those above; one that is there is no error")
      .option("-m, --mode <MODE>", "octal or symbolic, whatever the umask", modeFlag)
      .action(runs(context, async () => (await import("./tree.ts")).mkdir)),
    new Command("rmdir")
      .description("remove empty directories")
      .argument("<path...>")
      .action(runs(context, async () => (await import("./tree.ts")).rmdir)),
    new Command("rm")
      .description("remove files, and with -r trees; symbolic links are never followed")
      .argument("[path...]")
      .option("-r, --recursive", "directories with what is in them")
      .option("-f, --force", "what is not there is no error")
      .action(runs(context, async () => (await import("./tree.ts")).rm)),
    new Command("mv")
      .usage("[options] SRC... DST")
      .description("rename, or move into a directory; replaces existing files")
      .argument("<path...>", "sources, then where to")
      .option("-f, --force", "as without it: existing files are replaced")
      .action(runs(context, async () => (await import("./tree.ts")).mv)),
    new Command("ln")
      .description("give a file another name, or make a symbolic link")
      .argument("<target>", "what it leads to")
      .argument("<name>", "the new name, or a directory for it")
      .option("-s, --symbolic", "make a symbolic link")
      .action(runs(context, async () => (await import("./tree.ts")).ln)),
  ];
}

function attributeCommands(context: CommandContext): Command[] {
  return [
    new Command("touch")
      .description("set the times of files to now; make those that are missing")
      .argument("<path...>")
      .action(runs(context, async () => (await import("./attributes.ts")).touch)),
    new Command("truncate")
      .description("set the size of files; make those that are missing")
      .argument("<path...>")
      .requiredOption("-s, --size <SIZE>", "as 10M; +SIZE and -SIZE change it", sizeChangeFlag)
      .action(runs(context, async () => (await import("./attributes.ts")).truncate)),
    new Command("chmod")
      .usage("[options] MODE PATH...")
      .description("change modes; MODE is octal or symbolic, such as u+x,go-w")
      .argument("<mode>")
      .argument("<path...>")
      .option("-R, --recursive", "also what is in directories")
      // A mode may begin with a dash, as in -w.
      .allowUnknownOption()
      .action(runs(context, async () => (await import("./attributes.ts")).chmod)),
    new Command("chown")
      .usage("[options] OWNER[:GROUP]|:GROUP PATH...")
      .description("change owner and group, by name or number")
      .argument("<owner>")
      .argument("<path...>")
      .option("-R, --recursive", "also what is in directories")
      .action(runs(context, async () => (await import("./attributes.ts")).chown)),
  ];
}

function spaceCommands(context: CommandContext): Command[] {
  return [
    new Command("df")
      .description("space by OST and in all")
      .action(runs(context, async () => (await import("./space.ts")).df)),
    new Command("du")
      .description("bytes of the files in trees; one with several names counts once")
      .argument("[path...]", "default: /")
      .option("-s, --summarize", "only the sum of each PATH")
      .action(runs(context, async () => (await import("./space.ts")).du)),
  ];
}

function stripeCommands(context: CommandContext): Command[] {
  return [
    new Command("stat")
      .description("every attribute, the layout, and which OSTs hold which bytes")
      .argument("<path...>")
      .action(runs(context, async () => (await import("./stripe.ts")).stat)),
    striped(new Command("setstripe"))
      .description("set the striping of new files in directories and below")
      .argument("<dir...>")
      .action(runs(context, async () => (await import("./stripe.ts")).setstripe)),
    new Command("getstripe")
      .description("show the striping of files, and of new files in directories")
      .argument("<path...>")
      .action(runs(context, async () => (await import("./stripe.ts")).getstripe)),
  ];
}
