// Runs a program to its end, for what builds and releases.

export interface Ran {
  readonly stdout: string;
  readonly stderr: string;
}

export class RunError extends Error {
  override name = "RunError";
  readonly stderr: string;

  constructor(program: string, code: number, stderr: string) {
    super(`${program} ended with ${code}: ${stderr.trim()}`);
    this.stderr = stderr;
  }
}

/** Rejects with {@link RunError} where it does not end with 0. */
export async function run(
  program: string,
  args: readonly string[],
  options: Pick<Deno.CommandOptions, "cwd" | "env"> = {},
): Promise<Ran> {
  const command = new Deno.Command(program, {
    args: [...args],
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
    ...options,
  });
  const output = await command.output();
  const decoder = new TextDecoder();
  const [stdout, stderr] = [decoder.decode(output.stdout), decoder.decode(output.stderr)];
  if (!output.success) throw new RunError(program, output.code, stderr || stdout);
  return { stdout, stderr };
}
