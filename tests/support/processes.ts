// Real rustre processes for tests, the demo and the benchmarks: started from this checkout, waited
// for by their ready line, ended by their pid.

import { fileURLToPath } from "node:url";

const mainPath = fileURLToPath(import.meta.resolve("../../main.ts"));
/** Its workers can be killed. */
const mortalMainPath = fileURLToPath(import.meta.resolve("./mortal_main.ts"));
/** As the task "rustre" of deno.json, from any directory; modules were checked before. */
const runMain = [
  "run",
  "--quiet",
  "--no-check",
  "--allow-all",
  "--v8-flags=--max-semi-space-size=4",
];

export interface RustreProcess extends AsyncDisposable {
  readonly pid: number;
  /** What follows "ready" on its first line of standard output. */
  readonly ready: string;
  /** Standard output after the ready line, so far. */
  output(): string;
  errors(): string;
  kill(signal: Deno.Signal): void;
  readonly status: Promise<Deno.CommandStatus>;
  /** Ends it with SIGTERM, with SIGKILL where that does not help within 10 seconds. */
  stop(): Promise<Deno.CommandStatus>;
}

export interface CommandResult {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** `prefix`: a program, with its arguments, that runs what follows, as `ip netns exec NAME`. */
interface CommandPrefix {
  readonly prefix?: readonly string[];
  /** Each SIGUSR2 kills one of its workers; see mortal_main.ts. */
  readonly mortal?: boolean;
  /** In place of this checkout. */
  readonly executable?: string;
}

function command(
  args: readonly string[],
  { prefix = [], mortal = false, executable, env = {}, ...options }:
    & Deno.CommandOptions
    & CommandPrefix,
): Deno.Command {
  // What this machine is configured to be is no concern of a test.
  const hermetic = { RUSTRE_CONFIG: "/dev/null", ...env };
  const main = mortal ? mortalMainPath : mainPath;
  const rustre = executable === undefined ? [Deno.execPath(), ...runMain, main] : [executable];
  const [program, ...rest] = [...prefix, ...rustre, ...args];
  return new Deno.Command(program!, { args: rest, env: hermetic, ...options });
}

/** Starts rustre with these arguments, and does no more. */
export function spawnRustre(
  args: readonly string[],
  options: Deno.CommandOptions & CommandPrefix = {},
): Deno.ChildProcess {
  return command(args, options).spawn();
}

/** Starts a server and waits for its ready line. Rejects with what it said where it ends instead. */
export async function startRustre(
  args: readonly string[],
  options: { env?: Record<string, string> } & CommandPrefix = {},
): Promise<RustreProcess> {
  const child = command(args, { stdin: "null", stdout: "piped", stderr: "piped", ...options })
    .spawn();
  const stdout = collect(child.stdout);
  const stderr = collect(child.stderr);
  const ready = await Promise.race([
    stdout.line(/^ready (.*)$/m),
    child.status.then(async ({ code }) => {
      await Promise.all([stdout.ended, stderr.ended]);
      throw new Error(`rustre ${args.join(" ")} ended with ${code}: ${stderr.text()}`);
    }),
  ]);
  const kill = (signal: Deno.Signal) => {
    try {
      child.kill(signal);
    } catch (error) {
      if (!(error instanceof TypeError) && !(error instanceof Deno.errors.NotFound)) throw error;
    }
  };
  const stop = async () => {
    kill("SIGTERM");
    const timer = setTimeout(() => kill("SIGKILL"), 10_000);
    const status = await child.status;
    clearTimeout(timer);
    await Promise.all([stdout.ended, stderr.ended]);
    return status;
  };
  return {
    pid: child.pid,
    ready,
    output: stdout.text,
    errors: stderr.text,
    kill,
    status: child.status,
    stop,
    [Symbol.asyncDispose]: async () => void (await stop()),
  };
}

/** Runs a command to its end. */
export async function runRustre(
  args: readonly string[],
  options: { stdin?: Uint8Array; env?: Record<string, string>; cwd?: string } & CommandPrefix = {},
): Promise<CommandResult> {
  const { stdin, ...rest } = options;
  const child = command(args, {
    stdin: stdin ? "piped" : "null",
    stdout: "piped",
    stderr: "piped",
    ...rest,
  }).spawn();
  if (stdin && "stdin" in child) {
    const writer = child.stdin.getWriter();
    await writer.write(stdin).then(() => writer.close()).catch(() => {});
  }
  const { code, stdout, stderr } = await child.output();
  const decoder = new TextDecoder();
  return { code, stdout: decoder.decode(stdout), stderr: decoder.decode(stderr) };
}

interface Collected {
  text(): string;
  /** The first group of the first match. */
  line(pattern: RegExp): Promise<string>;
  readonly ended: Promise<void>;
}

function collect(stream: ReadableStream<Uint8Array>): Collected {
  let text = "";
  let changed = Promise.withResolvers<void>();
  const ended = (async () => {
    const decoder = new TextDecoder();
    for await (const chunk of stream) {
      text += decoder.decode(chunk, { stream: true });
      changed.resolve();
      changed = Promise.withResolvers();
    }
  })();
  const line = async (pattern: RegExp): Promise<string> => {
    for (;;) {
      const match = pattern.exec(text);
      if (match) return match[1] ?? "";
      await changed.promise;
    }
  };
  return { text: () => text, line, ended };
}
