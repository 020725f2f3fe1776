// The cluster on three hosts that docs/operating.md leads to, made by the very lines that stand there.

import assert from "node:assert/strict";
import * as fs from "node:fs";
import { basename } from "node:path";
import { digestsOf, makeTree } from "./executable_servers.ts";
import { readDocument, sectionOf } from "./markdown.ts";
import { type CommandResult, runRustre, type RustreProcess, startRustre } from "./processes.ts";
import type { ThreeHosts } from "./three_hosts.ts";

/** What the release is called there. */
const documentedName = "rustre-0.1.0-linux-x86_64";

/** The scripts of the steps, in their order. */
function documentedSteps() {
  const document = readDocument("docs/operating.md");
  const section = sectionOf(document, "From the file to a cluster on three hosts");
  // The blocks of a list are indented.
  const scripts = [...section.matchAll(/^ *```sh$(.*?)^ *```$/gms)]
    .map(([, script]) => script!.split("\n").map((line) => line.trim()).join("\n").trim());
  assert.equal(scripts.length, 5, "steps");
  const [, install, first, others, use] = scripts as [string, string, string, string, string];
  const [, second, third] = others.split(/^# on 10\.0\.0\.[23]$/m).map((each) => each.trim());
  assert(second !== undefined && third !== undefined);
  return { install, use, hosts: [first, second, third] as const };
}

export class DocumentedCluster implements AsyncDisposable {
  readonly #hosts: ThreeHosts;
  readonly #steps = documentedSteps();
  readonly #running: RustreProcess[][] = [[], [], [], []];

  constructor(hosts: ThreeHosts) {
    this.#hosts = hosts;
  }

  /** Makes each host run what is in the archive of a release. */
  async install(archive: string): Promise<void> {
    const name = basename(archive, ".tar.gz");
    const script = this.#steps.install.replaceAll(documentedName, name);
    await Promise.all([1, 2, 3].map(async (host) => {
      fs.copyFileSync(archive, this.#hosts.path(host, `home/${name}.tar.gz`));
      makeTree(this.#hosts.path(host, "etc/tree"));
      assert.match(await this.#hosts.shell(host, script), /^rustre \S+, commit /);
    }));
  }

  /** Follows the lines for a host. Those that start a server are waited for until it is ready. */
  async start(host: number): Promise<void> {
    for (const line of this.#steps.hosts[host - 1]!.split("\n")) {
      const [program, ...args] = line.split(" ");
      // The host has it from before.
      if (program === "mkdir" && fs.existsSync(this.#hosts.path(host, "srv/rustre"))) continue;
      if (program !== "rustre") await this.#hosts.shell(host, line);
      else {
        const options = { executable: program, prefix: this.#hosts.prefix(host) };
        this.#running[host]!.push(await startRustre(args, options));
      }
    }
  }

  /** Follows the lines for a host that uses it, and gives what they print. */
  use(host: number): Promise<string> {
    return this.#hosts.shell(host, this.#steps.use);
  }

  async run(host: number, ...args: string[]): Promise<CommandResult> {
    const options = { executable: "rustre", prefix: this.#hosts.prefix(host) };
    return await runRustre(["--mgs", "10.0.0.1:9400", ...args], options);
  }

  /** Does it again, as the documentation says, where the mds has not heard yet of an OST's end. */
  async put(host: number, path: string): Promise<void> {
    const args = ["client", "put", "-r", "-f", "/etc/tree", path];
    let result = await this.run(host, ...args);
    if (/OST \d is down\n$/.test(result.stderr)) result = await this.run(host, ...args);
    assert.deepEqual([result.code, result.stderr], [0, ""]);
  }

  /** Reads what {@link put} has stored, and compares it. */
  async get(host: number, path: string): Promise<void> {
    const { code, stderr } = await this.run(host, "client", "get", "-r", path, "/root/again");
    assert.deepEqual([code, stderr], [0, ""]);
    const again = this.#hosts.path(host, "home/again");
    assert.deepEqual(digestsOf(again), digestsOf(this.#hosts.path(host, "etc/tree")));
    fs.rmSync(again, { recursive: true });
  }

  /** Resolves when the cluster map has this of the OST. */
  async shows(targetIndex: number, state: "up" | "down"): Promise<void> {
    const row = new RegExp(`^ost ${targetIndex} +\\S+ +${state} `, "m");
    const endMs = performance.now() + 30_000;
    for (;;) {
      const { stdout, stderr } = await this.run(1, "status");
      if (row.test(stdout)) return;
      assert(performance.now() < endMs, stdout + stderr);
    }
  }

  async kill(host: number): Promise<void> {
    await this.#hosts.kill(host);
    await Promise.all(this.#running[host]!.splice(0).map((process) => process.stop()));
  }

  /** In the order that the documentation asks for. */
  async [Symbol.asyncDispose](): Promise<void> {
    for (const host of [3, 2, 1]) {
      for (const process of this.#running[host]!.splice(0).reverse()) await process.stop();
    }
  }
}
