// A root directory with nothing but what the self-extracting executable needs of a host: a C library,
// /proc, /dev/null and eight small programs. Only root can make one.

import { chmod, chown, copyFile, mkdir, readFile } from "node:fs/promises";
import { basename, dirname } from "node:path";

const programs = ["sh", "ls", "mkdir", "dd", "gzip", "chmod", "rm", "id"];

export interface EmptyRoot {
  readonly directory: string;
  /** Put before a command line to run it in there, as `user`, with nothing in its environment but this. */
  prefix(options?: { user?: number; environment?: Record<string, string> }): string[];
}

/** Why this machine cannot have one, if it cannot. */
export async function obstacleToEmptyRoot(): Promise<string | undefined> {
  if (Deno.build.os !== "linux" || Deno.uid() !== 0) {
    return "only root on Linux can change the root";
  }
  try {
    await output("unshare", "--mount", "mount", "-t", "proc", "proc", "/proc");
    return undefined;
  } catch (error) {
    return `no mount namespaces: ${error instanceof Error ? error.message : String(error)}`;
  }
}

/** The directory is the caller's to remove. Mounts are those of each process, and end with it. */
export async function makeEmptyRoot(directory: string): Promise<EmptyRoot> {
  for (const name of ["bin", "dev", "proc", "home", "tmp"]) await mkdir(`${directory}/${name}`);
  await chmod(`${directory}/tmp`, 0o1777);
  await chmod(directory, 0o755);
  await output("mknod", "-m", "666", `${directory}/dev/null`, "c", "1", "3");
  const pathOf = async (name: string) => (await output("sh", "-c", `command -v ${name}`)).trim();
  const libraries = new Set(await librariesOf(Deno.execPath()));
  for (const name of programs) {
    const path = await pathOf(name);
    // Some of them may be scripts on this machine.
    const bytes = await readFile(path);
    if (bytes[0] === 0x7f) { for (const each of await librariesOf(path)) libraries.add(each); }
    await copyFile(path, `${directory}/bin/${basename(path)}`);
  }
  for (const path of libraries) {
    await mkdir(dirname(directory + path), { recursive: true });
    await copyFile(path, directory + path);
  }
  // A home whose owner cannot write it either.
  await chown(`${directory}/home`, 65534, 65534);
  await chmod(`${directory}/home`, 0o555);
  const chroot = await pathOf("chroot");
  const script = 'mount -t proc proc "$0/proc" && exec env -i "$@"';
  return {
    directory,
    prefix: ({ user = 0, environment = {} } = {}) => [
      ...["unshare", "--mount", "sh", "-c", script, directory],
      ...Object.entries(environment).map(([name, value]) => `${name}=${value}`),
      // env has no PATH now to find it by.
      ...[chroot, `--userspec=${user}:${user}`, directory],
    ],
  };
}

async function librariesOf(path: string): Promise<string[]> {
  const text = await output("ldd", path);
  return [...text.matchAll(/(\/\S+) \(0x/g)].map(([, library]) => library!);
}

async function output(program: string, ...args: string[]): Promise<string> {
  const { success, stdout, stderr } = await new Deno.Command(program, { args }).output();
  const decoder = new TextDecoder();
  if (!success) throw new Error(`${program} ${args.join(" ")}: ${decoder.decode(stderr).trim()}`);
  return decoder.decode(stdout);
}
