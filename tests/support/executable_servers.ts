// Four server processes from the executable, and trees of files for them to store.

import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import * as fs from "node:fs";
import { runRustre, type RustreProcess, startRustre } from "./processes.ts";

/** Four processes on one host that has nothing else. */
export class Servers implements AsyncDisposable {
  readonly #prefix: string[];
  readonly #running = new Map<string, RustreProcess>();
  mgs = "";

  constructor(prefix: string[]) {
    this.#prefix = prefix;
  }

  async start(name: string, ...args: string[]): Promise<void> {
    const globals = this.mgs ? ["--mgs", this.mgs] : [];
    const options = { executable: "/rustre", prefix: this.#prefix };
    this.#running.set(name, await startRustre([...globals, ...args, "--workers=2"], options));
  }

  async startAll(): Promise<void> {
    const store = ["--listen=127.0.0.1:0", "--store=sqlite:/meta.db"];
    await this.start("mgs", "mgs", ...store);
    this.mgs = this.#running.get("mgs")!.ready.replace("mgs=", "");
    const others = [this.start("mds", "mds", ...store)];
    for (const index of [0, 1]) others.push(this.startOss(index));
    await Promise.all(others);
  }

  startOss(index: number): Promise<void> {
    return this.start(
      `oss${index}`,
      "oss",
      "--listen=127.0.0.1:0",
      `--index=${index}`,
      `--dir=/ost${index}`,
    );
  }

  async kill(name: string): Promise<void> {
    const process = this.#running.get(name)!;
    this.#running.delete(name);
    process.kill("SIGKILL");
    await process.status;
  }

  async run(...args: string[]): Promise<string> {
    const options = { executable: "/rustre", prefix: this.#prefix };
    const result = await runRustre(["--mgs", this.mgs, ...args], options);
    assert.equal(result.code, 0, `${args.join(" ")}: ${result.stderr}`);
    return result.stdout;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all([...this.#running.values()].map((process) => process.stop()));
  }
}

export function makeTree(path: string): Map<string, string> {
  const digests = new Map<string, string>();
  fs.mkdirSync(`${path}/inner`, { recursive: true });
  for (const [name, length] of Object.entries({ empty: 0, "inner/small": 10, large: 3_000_000 })) {
    const bytes = new Uint8Array(length).map((_, index) => index * 31 % 251);
    fs.writeFileSync(`${path}/${name}`, bytes);
  }
  for (const [name, digest] of digestsOf(path)) digests.set(name, digest);
  return digests;
}

export function digestsOf(path: string): Map<string, string> {
  const names = fs.readdirSync(path, { recursive: true, encoding: "utf8" }).sort();
  const files = names.filter((name) => fs.statSync(`${path}/${name}`).isFile());
  const digest = (name: string) =>
    createHash("sha256").update(fs.readFileSync(`${path}/${name}`)).digest("hex");
  return new Map(files.map((name) => [name, digest(name)]));
}
