// Disks that are soon full: tmpfs mounts, which only root makes.

import assert from "node:assert/strict";

export const mayMount = Deno.uid() === 0;

export interface SmallDisk extends AsyncDisposable {
  readonly path: string;
  resize(sizeBytes: number): Promise<void>;
}

/** A file system of so many bytes, unmounted at the end. */
export async function smallDisk(sizeBytes: number): Promise<SmallDisk> {
  const path = await Deno.makeTempDir({ prefix: "rustre-test-" });
  await run("mount", "-t", "tmpfs", "-o", `size=${sizeBytes}`, "tmpfs", path);
  return {
    path,
    resize: (sizeBytes) => run("mount", "-o", `remount,size=${sizeBytes}`, path),
    [Symbol.asyncDispose]: async () => {
      await run("umount", path);
      await Deno.remove(path);
    },
  };
}

async function run(command: string, ...args: string[]): Promise<void> {
  const { success, stderr } = await new Deno.Command(command, { args }).output();
  assert(success, `${command} ${args.join(" ")}: ${new TextDecoder().decode(stderr)}`);
}
