// A process of its own that works on a store: the parent's side. The child's is store_child.ts.

import { strict as assert } from "node:assert";
import { fileURLToPath } from "node:url";

export type ChildTask = "pairs" | "counters" | "echo";

export class ChildProcess {
  readonly #process: Deno.ChildProcess;
  readonly #input: WritableStreamDefaultWriter<Uint8Array>;
  readonly #lines: AsyncGenerator<string, undefined>;

  constructor(task: ChildTask, storeUrl: string, argument: string) {
    const script = fileURLToPath(new URL("./store_child.ts", import.meta.url));
    this.#process = new Deno.Command(Deno.execPath(), {
      args: ["run", "--quiet", "--allow-all", script, task, storeUrl, argument],
      stdin: "piped",
      stdout: "piped",
      stderr: "inherit",
    }).spawn();
    this.#input = this.#process.stdin.getWriter();
    this.#lines = readLines(this.#process.stdout);
  }

  /** What it prints. A loop that breaks out does not end it. */
  lines(): AsyncIterableIterator<string> {
    const next = () => this.#lines.next();
    const lines: AsyncIterableIterator<string> = { next, [Symbol.asyncIterator]: () => lines };
    return lines;
  }

  send(line: string): Promise<void> {
    return this.#input.write(new TextEncoder().encode(line + "\n"));
  }

  /** kill -9; returns the whole lines that it had still printed. */
  async kill(): Promise<string[]> {
    this.#process.kill("SIGKILL");
    const rest: string[] = [];
    for await (const line of this.#lines) rest.push(line);
    await this.#process.status;
    await this.#input.abort().catch(() => {/* the pipe broke with the process */});
    return rest;
  }

  /** Resolves when it has ended with exit status 0. */
  async succeeds(): Promise<void> {
    await this.#input.close();
    for await (const _ of this.#lines) { /* to its end */ }
    const { code } = await this.#process.status;
    assert.equal(code, 0);
  }
}

async function* readLines(stream: ReadableStream<Uint8Array>): AsyncGenerator<string, undefined> {
  let rest = "";
  for await (const text of stream.pipeThrough(new TextDecoderStream())) {
    const lines = (rest + text).split("\n");
    rest = lines.pop()!;
    yield* lines;
  }
}
