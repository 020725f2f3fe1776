// `rustre admin install-units`: what a host needs to run rustre as services, written into its tree or
// into that of a package.

import { dirname, isAbsolute, join } from "node:path";
import type { Command } from "commander";
import { Output } from "../client/cli/output.ts";
import { type CommandContext, UsageError } from "../shared/command_line.ts";
import { RustreError } from "../shared/errors.ts";
import { platformReason } from "../shared/platform_errors.ts";
import { sampleConfiguration } from "./sample_configuration.ts";
import { defaultConfigPath, rootOf } from "./settings.ts";
import { type InstalledFile, serviceUser, unitFiles, userFile } from "./units.ts";

interface InstallFlags {
  readonly root: string;
  readonly exec: string;
}

type Outcome = "written" | "replaced" | "unchanged" | "kept";

export async function installUnits(
  context: CommandContext,
  { root, exec }: InstallFlags,
  command: Command,
): Promise<void> {
  if (!isAbsolute(exec) || /\p{Cc}/u.test(exec)) {
    throw new UsageError(`Cannot start "${exec}" from a unit: it must be an absolute path`);
  }
  const sample = {
    path: defaultConfigPath.slice(1),
    text: sampleConfiguration(rootOf(command)),
  };
  const files: { path: string; outcome: Outcome }[] = [];
  for (const file of [...unitFiles(exec), userFile]) {
    files.push({ path: join(root, file.path), outcome: await write(root, file, "replace") });
  }
  files.push({ path: join(root, sample.path), outcome: await write(root, sample, "keep") });
  const output = new Output(Deno.stdout);
  if (context.globalsOf(command).json) await output.json({ files });
  else await output.line(report(files));
  await output.flush();
}

/** The file appears as a whole, or stays as it was. */
async function write(
  root: string,
  { path, text }: InstalledFile,
  ifThere: "replace" | "keep",
): Promise<Outcome> {
  const target = join(root, path);
  const draft = `${target}.rustre-new`;
  try {
    const before = await readIfThere(target);
    if (before === text) return "unchanged";
    if (before !== undefined && ifThere === "keep") return "kept";
    await Deno.mkdir(dirname(target), { recursive: true });
    await Deno.writeTextFile(draft, text, { mode: 0o644 });
    // The mode above is less what the umask takes, and everybody may read these files.
    await Deno.chmod(draft, 0o644);
    await Deno.rename(draft, target);
    return before === undefined ? "written" : "replaced";
  } catch (error) {
    const { code, reason } = platformReason(error);
    throw new RustreError(code, `Cannot write "${target}": ${reason}`, { cause: error });
  }
}

async function readIfThere(path: string): Promise<string | undefined> {
  try {
    return await Deno.readTextFile(path);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw error;
  }
}

function report(files: readonly { path: string; outcome: Outcome }[]): string {
  const lines = files.map(({ path, outcome }) => `${outcome.padEnd(9)}  ${path}`);
  return `${lines.join("\n")}

Next, as root:
  systemd-sysusers                                   makes the user "${serviceUser}"
  edit ${defaultConfigPath}                       mgs in [common]; store, dir, listen
  install -d -o ${serviceUser} -g ${serviceUser} -m 0700 DIR          for the dir of each OST
  rustre config show                                 whether the configuration is right
  systemctl daemon-reload
  systemctl enable --now rustre-mgs rustre-mds       on the host of the store
  systemctl enable --now rustre-oss@0 rustre-oss@1   one for each OST of this host, by its index
  rustre status`;
}
