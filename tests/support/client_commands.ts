// `rustre client …` against a cluster of its own: a real `rustre up` on sqlite in a temporary
// directory, for the tests of one file.

import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import { type RustreProcess, startRustre } from "./processes.ts";

const mainPath = fileURLToPath(import.meta.resolve("../../main.ts"));

export interface ClientResult {
  readonly code: number;
  readonly bytes: Uint8Array;
  readonly stdout: string;
  readonly stderr: string;
}

export interface ClientOptions {
  readonly stdin?: Uint8Array | string;
  /** A program, with its arguments, that runs what follows. */
  readonly prefix?: readonly string[];
  readonly env?: Record<string, string>;
}

export class ClientCommands implements AsyncDisposable {
  readonly #server: RustreProcess;
  /** For local files; gone at the end. */
  readonly directory: string;
  /** HOST:PORT */
  readonly mgs: string;

  private constructor(server: RustreProcess, directory: string, mgs: string) {
    this.#server = server;
    this.directory = directory;
    this.mgs = mgs;
  }

  static async start(): Promise<ClientCommands> {
    const directory = await Deno.makeTempDir({ prefix: "rustre-client-" });
    const up = ["up", "--dir", `${directory}/.cluster`, "--listen", "127.0.0.1:0", "--osts", "4"];
    const server = await startRustre(up);
    const mgs = /mgs=(\S+)/.exec(server.ready)?.[1];
    assert.ok(mgs, server.ready);
    return new ClientCommands(server, directory, mgs);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#server.stop();
    await Deno.remove(this.directory, { recursive: true });
  }

  /** Starts `rustre client ARGS` in the local directory. */
  spawn(args: readonly string[], options: ClientOptions = {}): Deno.ChildProcess {
    const { stdin, prefix = [], env = {} } = options;
    const deno = [Deno.execPath(), "run", "--quiet", "--no-check", "--allow-all", mainPath];
    const all = [...prefix, ...deno, "--mgs", this.mgs, "client", ...args];
    return new Deno.Command(all[0]!, {
      args: all.slice(1),
      cwd: this.directory,
      env: { RUSTRE_CONFIG: "/dev/null", ...env },
      stdin: stdin === undefined ? "null" : "piped",
      stdout: "piped",
      stderr: "piped",
    }).spawn();
  }

  /** The same for a shell. No word of it may need quoting. */
  commandLine(args: readonly string[]): string {
    const deno = [Deno.execPath(), "run", "--quiet", "--no-check", "--allow-all", mainPath];
    return [...deno, "--mgs", this.mgs, "client", ...args].join(" ");
  }

  async run(args: readonly string[], options: ClientOptions = {}): Promise<ClientResult> {
    const child = this.spawn(args, options);
    if (options.stdin !== undefined) {
      const bytes = typeof options.stdin === "string"
        ? new TextEncoder().encode(options.stdin)
        : options.stdin;
      const writer = child.stdin.getWriter();
      // A command that fails early does not read all of it.
      await writer.write(bytes).then(() => writer.close()).catch(() => {});
    }
    const { code, stdout, stderr } = await child.output();
    const decoder = new TextDecoder();
    return { code, bytes: stdout, stdout: decoder.decode(stdout), stderr: decoder.decode(stderr) };
  }

  /** Standard output of a command that must succeed and say nothing else. */
  async ok(...args: readonly string[]): Promise<string> {
    const { code, stdout, stderr } = await this.run(args);
    assert.deepEqual({ code, stderr }, { code: 0, stderr: "" }, args.join(" "));
    return stdout;
  }

  /** A file with `text` in it. */
  async putText(path: string, text: string): Promise<void> {
    const { code, stderr } = await this.run(["put", "-f", "-", path], { stdin: text });
    assert.equal(code, 0, stderr);
  }

  /** Every document that a command prints. */
  async jsonLines(...args: readonly string[]): Promise<Document[]> {
    const output = await this.ok("--json", ...args);
    return output.split("\n").filter((line) => line !== "").map((line) => JSON.parse(line));
  }

  /** The one document that a command prints. */
  async json(...args: readonly string[]): Promise<Document> {
    const documents = await this.jsonLines(...args);
    assert.equal(documents.length, 1, args.join(" "));
    return documents[0]!;
  }

  /** A command that must end with `code` and a message that matches. */
  async fails(code: number, message: RegExp, ...args: readonly string[]): Promise<ClientResult> {
    const result = await this.run(args);
    assert.equal(result.code, code, `${args.join(" ")}: ${result.stderr}`);
    assert.match(result.stderr, message, args.join(" "));
    assert.match(result.stderr, /^rustre: /, args.join(" "));
    assert.doesNotMatch(result.stderr, /a bug|file:\/\//, args.join(" "));
    return result;
  }

  local(path: string): string {
    return `${this.directory}/${path}`;
  }

  /** What `stat --json` says of a path. */
  stat(path: string): Promise<Document> {
    return this.json("stat", path);
  }

  /** The names that a directory has. */
  async names(path: string): Promise<string[]> {
    return (await this.jsonLines("ls", "-a", path)).map(({ name }) => String(name));
  }
}

// deno-lint-ignore no-explicit-any -- tests look into documents of every command
export type Document = Record<string, any>;

/** Bytes that differ from stripe to stripe. */
export function patternBytes(length: number, seed = 1): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(length);
  let state = seed;
  for (let index = 0; index < length; index++) {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) | 0;
    bytes[index] = state >>> 24;
  }
  return bytes;
}
