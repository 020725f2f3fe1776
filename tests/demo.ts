// deno-lint-ignore-file no-console -- what it prints is for people
// `deno task demo`: a cluster of six processes in a temporary directory stores real files, loses an
// OST, and gives everything back. Ends with "demo: ok", or says what differed and exits with 1.

import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { runRustre, type RustreProcess, startRustre } from "./support/processes.ts";

const { values: { keep } } = parseArgs({ args: Deno.args, options: { keep: { type: "boolean" } } });
const checkout = fileURLToPath(import.meta.resolve("../"));
const bigFile = Deno.execPath();
const bigFileBytesMin = 64 * 2 ** 20;
/** What of the checkout is stored: source text, no build products. */
const treeParts = ["shared", "mgs", "mds", "oss", "client", "tests"];

class DemoError extends Error {}

class Demo {
  readonly #directory: string;
  readonly #servers = new Map<string, RustreProcess>();
  #mgs = "";

  constructor(directory: string) {
    this.#directory = directory;
  }

  async run(): Promise<void> {
    await this.#startServers();
    const source = await this.#makeSource();
    const expected = await hashTree(source);
    const bytes = await totalBytes(source);
    say(`storing ${expected.size} entries, ${mebibytes(bytes)}, with 2 replicas`);
    await this.#client("mkdir", "/demo");
    await this.#client("setstripe", "-c", "0", "-R", "2", "/demo");
    const putSeconds = await this.#timed(["put", "-r", source, "/demo/"]);
    await this.#show("ls", "-l", "/demo/source");
    await this.#show("stat", "/demo/source/big");
    const getSeconds = await this.#readBack("before", expected);
    say(`put ${rate(bytes, putSeconds)}, get ${rate(bytes, getSeconds)}`);

    say("stopping OST 2");
    await this.#servers.get("oss 2")?.stop();
    this.#servers.delete("oss 2");
    await this.#waitUntilDown(2);
    await this.#readBack("after", expected);
    say("everything was read again from the replicas");
  }

  async stop(): Promise<void> {
    for (const server of [...this.#servers.values()].reverse()) await server.stop();
  }

  async #startServers(): Promise<void> {
    const store = `sqlite:${this.#directory}/meta.db`;
    const listen = ["--listen", "127.0.0.1:0"];
    const mgs = await this.#start("mgs", ["mgs", ...listen, "--store", store]);
    this.#mgs = /mgs=(\S+)/.exec(mgs.ready)?.[1] ?? "";
    const osts = [0, 1, 2, 3].map((index) => {
      const directory = `${this.#directory}/ost${index}`;
      return this.#start(`oss ${index}`, ["oss", ...listen, "-i", String(index), "-d", directory]);
    });
    await Promise.all([this.#start("mds", ["mds", ...listen, "--store", store]), ...osts]);
    await this.#waitUntilAllUp();
    await this.#show("status");
  }

  async #start(name: string, args: string[]): Promise<RustreProcess> {
    const globals = ["--log-level", "error", ...(this.#mgs ? ["--mgs", this.#mgs] : [])];
    const server = await startRustre([...globals, ...args]);
    this.#servers.set(name, server);
    say(`started ${name}: ${server.ready}`);
    return server;
  }

  /** A directory with part of this checkout and one big file. */
  async #makeSource(): Promise<string> {
    const { size } = await Deno.stat(bigFile);
    if (size < bigFileBytesMin) throw new DemoError(`${bigFile} has only ${size} bytes`);
    const source = `${this.#directory}/source`;
    await Deno.mkdir(source);
    for (const part of treeParts) await copyTree(`${checkout}/${part}`, `${source}/${part}`);
    await Deno.copyFile(bigFile, `${source}/big`);
    await Deno.symlink("big", `${source}/link to big`);
    await Deno.writeTextFile(`${source}/empty`, "");
    return source;
  }

  async #readBack(name: string, expected: Map<string, string>): Promise<number> {
    const destination = `${this.#directory}/${name}`;
    await Deno.mkdir(destination);
    const seconds = await this.#timed(["get", "-r", "/demo/source", `${destination}/`]);
    compare(expected, await hashTree(`${destination}/source`));
    await Deno.remove(destination, { recursive: true });
    say(`read back ${expected.size} entries: every SHA-256 agrees`);
    return seconds;
  }

  async #waitUntilAllUp(): Promise<void> {
    await this.#waitForStatus("all servers to be up", (status) => {
      const osts = status.osts.filter(({ state }) => state === "up");
      return osts.length === 4 && status.mds.some(({ state }) => state === "up");
    });
  }

  async #waitUntilDown(index: number): Promise<void> {
    await this.#waitForStatus(
      `OST ${index} to be down`,
      (status) => status.osts.some((target) => target.index === index && target.state === "down"),
    );
  }

  async #waitForStatus(what: string, holds: (status: Status) => boolean): Promise<void> {
    const endMs = Date.now() + 15_000;
    for (;;) {
      const { stdout } = await runRustre(["--mgs", this.#mgs, "status", "--json"]);
      if (stdout !== "" && holds(JSON.parse(stdout))) return;
      if (Date.now() > endMs) throw new DemoError(`waited in vain for ${what}`);
      await new Promise((resolve) => setTimeout(resolve, 200));
    }
  }

  async #timed(args: string[]): Promise<number> {
    const startMs = performance.now();
    await this.#client(...args);
    return (performance.now() - startMs) / 1000;
  }

  async #client(...args: string[]): Promise<string> {
    return await this.#rustre("client", ...args);
  }

  async #show(...args: string[]): Promise<void> {
    const words = args[0] === "status" ? args : ["client", ...args];
    console.log(await this.#rustre(...words));
  }

  async #rustre(...args: string[]): Promise<string> {
    console.log(`$ rustre ${args.map((arg) => /[\s]/.test(arg) ? `'${arg}'` : arg).join(" ")}`);
    const { code, stdout, stderr } = await runRustre(["--mgs", this.#mgs, ...args]);
    if (code !== 0) throw new DemoError(`rustre ${args.join(" ")} exited with ${code}: ${stderr}`);
    return stdout;
  }
}

interface Status {
  readonly mds: { readonly state: string }[];
  readonly osts: { readonly index: number; readonly state: string }[];
}

function say(message: string): void {
  console.log(`demo: ${message}`);
}

function mebibytes(bytes: number): string {
  return `${(bytes / 2 ** 20).toFixed(1)} MiB`;
}

function rate(bytes: number, seconds: number): string {
  return `${mebibytes(bytes / seconds)}/s`;
}

async function copyTree(from: string, to: string): Promise<void> {
  await Deno.mkdir(to);
  for await (const entry of Deno.readDir(from)) {
    if (entry.isDirectory) await copyTree(`${from}/${entry.name}`, `${to}/${entry.name}`);
    else if (entry.isFile) await Deno.copyFile(`${from}/${entry.name}`, `${to}/${entry.name}`);
  }
}

/** Every entry below `directory` by its path: type, mode, and what it holds. */
async function hashTree(directory: string, prefix = ""): Promise<Map<string, string>> {
  const hashes = new Map<string, string>();
  for await (const { name } of Deno.readDir(directory)) {
    const path = `${directory}/${name}`;
    const { isDirectory, isSymlink, mode, mtime } = await Deno.lstat(path);
    const attributes = `${(mode ?? 0).toString(8)} ${mtime?.toISOString()}`;
    if (isSymlink) {
      hashes.set(`${prefix}${name}`, `symlink ${await Deno.readLink(path)}`);
    } else if (isDirectory) {
      hashes.set(`${prefix}${name}`, `directory ${attributes}`);
      const below = await hashTree(path, `${prefix}${name}/`);
      for (const [key, value] of below) hashes.set(key, value);
    } else {
      hashes.set(`${prefix}${name}`, `file ${attributes} ${await sha256(path)}`);
    }
  }
  return hashes;
}

async function sha256(path: string): Promise<string> {
  const hash = createHash("sha256");
  for await (const chunk of createReadStream(path)) hash.update(chunk);
  return hash.digest("hex");
}

async function totalBytes(directory: string): Promise<number> {
  let bytes = 0;
  for await (const entry of Deno.readDir(directory)) {
    const path = `${directory}/${entry.name}`;
    if (entry.isDirectory) bytes += await totalBytes(path);
    else if (entry.isFile) bytes += (await Deno.stat(path)).size;
  }
  return bytes;
}

function compare(expected: Map<string, string>, found: Map<string, string>): void {
  for (const [path, value] of expected) {
    const other = found.get(path);
    if (other !== value) {
      throw new DemoError(
        `"${path}" differs: stored "${value}", read back "${other ?? "nothing"}"`,
      );
    }
  }
  for (const path of found.keys()) {
    if (!expected.has(path)) throw new DemoError(`"${path}" was read back and never stored`);
  }
}

/** Says what differed or failed, if anything did. */
async function failureOf(demo: Demo): Promise<string | undefined> {
  try {
    await demo.run();
    return undefined;
  } catch (error) {
    if (!(error instanceof DemoError)) throw error;
    return error.message;
  } finally {
    await demo.stop();
  }
}

const directory = await Deno.makeTempDir({ prefix: "rustre-demo-" });
try {
  const failure = await failureOf(new Demo(directory));
  if (failure !== undefined) console.error(`demo: failed: ${failure}`);
  else say("ok");
  Deno.exitCode = failure === undefined ? 0 : 1;
} finally {
  if (!keep) await Deno.remove(directory, { recursive: true });
}
