// What every executable must pass before it is given to anybody: it starts where nothing is set, it
// serves with workers and with native code, and it gives back what was stored.

import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { randomBytes } from "node:crypto";
import { version } from "../shared/version.ts";
import { run } from "./run.ts";

/** Rejects where the executable fails. */
export async function smokeTest(executable: string): Promise<void> {
  const directory = await mkdtemp(`${tmpdir()}/rustre-smoke-`);
  const rustre = (...args: string[]) => ["-i", executable, "--cache-dir", directory, ...args];
  try {
    const { stdout } = await run("env", rustre("--version"));
    if (!stdout.startsWith(`rustre ${version}, `)) {
      throw new Error(`It says it is ${stdout.trim()}`);
    }
    await using mgs = await serve(
      rustre("mgs", "--listen=127.0.0.1:0", `--store=sqlite:${directory}/db`, "--workers=2"),
    );
    const asked = await run("env", rustre("--mgs", mgs.address, "--json", "status"));
    if (!asked.stdout.includes(mgs.address)) throw new Error(`Its status says ${asked.stdout}`);
    await using up = await serve(rustre("up", "--listen=127.0.0.1:0", `--dir=${directory}/up`));
    const [from, to] = [`${directory}/from`, `${directory}/to`];
    await writeFile(from, randomBytes(300_000));
    await run("env", rustre("--mgs", up.address, "client", "put", from, "/file"));
    await run("env", rustre("--mgs", up.address, "client", "get", "/file", to));
    if (!(await readFile(from)).equals(await readFile(to))) throw new Error("It changed a file");
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

interface Serving extends AsyncDisposable {
  readonly address: string;
}

/** Starts a server, with `env` and these arguments; resolves when it is ready. */
async function serve(args: readonly string[]): Promise<Serving> {
  const command = new Deno.Command("env", {
    args: [...args],
    stdin: "null",
    stdout: "piped",
    stderr: "inherit",
  });
  const child = command.spawn();
  const reader = child.stdout.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  let address: string | undefined;
  while ((address = /^ready mgs=(\S+)/m.exec(text)?.[1]) === undefined) {
    const { value, done } = await reader.read();
    if (done) throw new Error(`It ended before it was ready: ${text}`);
    text += value;
  }
  return {
    address,
    [Symbol.asyncDispose]: async () => {
      const drained = (async () => {
        while (!(await reader.read()).done);
      })();
      child.kill("SIGTERM");
      await Promise.all([child.status, drained]);
    },
  };
}
