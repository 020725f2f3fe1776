// Disks that go bad below a real cluster: what readers get, what is repaired, what is said.

import assert from "node:assert/strict";
import { fileNameOf, prefixOf } from "../../oss/file_names.ts";
import { objectId } from "../../shared/layout.ts";
import {
  type CommandResult,
  runRustre,
  type RustreProcess,
  startRustre,
} from "../support/processes.ts";

const MiB = 1024 * 1024;
const blockBytes = 4096;

class DamagedCluster implements AsyncDisposable {
  readonly directory: string;
  #server: RustreProcess;

  private constructor(directory: string, server: RustreProcess) {
    this.directory = directory;
    this.#server = server;
  }

  static async start(): Promise<DamagedCluster> {
    const directory = await Deno.makeTempDir({ prefix: "rustre-damage-" });
    return new DamagedCluster(directory, await start(directory));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#server.stop();
    await Deno.remove(this.directory, { recursive: true });
  }

  /** Stops the cluster, changes what is on its disks, and starts it again. */
  async whileStopped(change: () => Promise<void>): Promise<void> {
    // What is in the journals comes into the files at a start.
    for (const step of [() => Promise.resolve(), change]) {
      await this.#server.stop();
      await step();
      this.#server = await start(this.directory);
    }
  }

  log(): string {
    return this.#server.output();
  }

  run(...args: readonly string[]): Promise<CommandResult> {
    const mgs = /mgs=(\S+)/.exec(this.#server.ready)![1]!;
    return runRustre(["--mgs", mgs, ...args], { cwd: this.directory });
  }

  async ok(...args: readonly string[]): Promise<string> {
    const { code, stdout, stderr } = await this.run(...args);
    assert.equal(code, 0, `${args.join(" ")}: ${stderr}`);
    return stdout;
  }

  /** A file of random bytes in the cluster, with its one object on some OSTs. */
  async put(name: string, { bytes, replicas }: { bytes: number; replicas: number }) {
    const content = new Uint8Array(bytes);
    for (let start = 0; start < bytes; start += 65_536) {
      crypto.getRandomValues(content.subarray(start, start + 65_536));
    }
    await Deno.writeFile(`${this.directory}/${name}`, content);
    await this.ok("client", "put", "-c", "1", "-R", `${replicas}`, name, `/${name}`);
    const { ino, layout } = JSON.parse(await this.ok("client", "--json", "stat", `/${name}`));
    const [targets] = layout.targets as number[][];
    return new StoredFile(this, { name, content, ino: Number(ino), targets: targets! });
  }

  async usageOf(index: number): Promise<{ corruptBlocks: number; repairedBlocks: number }> {
    const { osts } = JSON.parse(await this.ok("--json", "status"));
    return osts[index];
  }
}

function start(directory: string): Promise<RustreProcess> {
  const place = ["--dir", `${directory}/cluster`, "--listen", "127.0.0.1:0"];
  return startRustre(["up", ...place, "--osts", "3"]);
}

class StoredFile {
  readonly name: string;
  readonly content: Uint8Array;
  readonly ino: number;
  readonly object: string;
  readonly targets: readonly number[];
  readonly #cluster: DamagedCluster;

  constructor(
    cluster: DamagedCluster,
    file: { name: string; content: Uint8Array; ino: number; targets: readonly number[] },
  ) {
    this.#cluster = cluster;
    this.name = file.name;
    this.content = file.content;
    this.ino = file.ino;
    this.object = objectId(file.ino, 0);
    this.targets = file.targets;
  }

  /** The object's file on an OST. */
  path(index: number): string {
    const prefix = prefixOf(this.ino);
    return `${this.#cluster.directory}/cluster/ost${index}/objects/${prefix}/${
      fileNameOf(this.object)
    }`;
  }

  /** Makes a byte of the object's file, or of its list of checksums, another one. */
  async flip(index: number, offsetBytes: number, suffix: "" | ".sum" = ""): Promise<void> {
    using file = await Deno.open(this.path(index) + suffix, { read: true, write: true });
    const byte = new Uint8Array(1);
    await file.seek(offsetBytes, Deno.SeekMode.Start);
    assert.equal(await file.read(byte), 1);
    byte[0]! ^= 0x01;
    await file.seek(offsetBytes, Deno.SeekMode.Start);
    await file.write(byte);
  }

  /** Gets the file, which must come back as it went. */
  async assertReadable(): Promise<CommandResult> {
    const copy = `${this.name}.copy`;
    const result = await this.#cluster.run("client", "get", "-f", `/${this.name}`, copy);
    assert.equal(result.code, 0, result.stderr);
    const bytes = await Deno.readFile(`${this.#cluster.directory}/${copy}`);
    assert.ok(Buffer.compare(bytes, this.content) === 0, "other bytes came back");
    return result;
  }

  /** After a stop and a start, the object's files have the right bytes. */
  async assertRightOnDisk(): Promise<void> {
    await this.#cluster.whileStopped(async () => {
      for (const index of this.targets) {
        const bytes = await Deno.readFile(this.path(index));
        assert.ok(Buffer.compare(bytes, this.content) === 0, `the file on OST ${index}`);
      }
    });
  }
}

async function withCluster(test: (cluster: DamagedCluster) => Promise<void>): Promise<void> {
  await using cluster = await DamagedCluster.start();
  await test(cluster);
}

/** Whether a log has a line with all of the parts. */
function hasLine(log: string, ...parts: readonly string[]): boolean {
  return log.split("\n").some((line) => parts.every((part) => line.includes(part)));
}

Deno.test("a flipped byte on a disk: the reader gets the right bytes, and the copy is repaired", async () => {
  await withCluster(async (cluster) => {
    const file = await cluster.put("file", { bytes: 3 * MiB + 100, replicas: 2 });
    const primary = file.targets[0]!;
    const source = file.targets[1]!;
    // In the second MiB, and in the block at the end that is not whole.
    await cluster.whileStopped(() => file.flip(primary, 3 * MiB + 99));
    await file.flip(primary, MiB + 5 * blockBytes + 7);
    const { stderr } = await file.assertReadable();
    assert.match(stderr, /A copy of an object is damaged/);
    const { object } = file;
    const where = [`object=${object}`, `ost=${primary}`, `source=${source}`];
    for (const offset of [MiB + 5 * blockBytes, 3 * MiB]) {
      const said = hasLine(cluster.log(), "WARN", "Repaired", `offsetBytes=${offset}`, ...where);
      assert.ok(said, cluster.log());
    }
    const { corruptBlocks, repairedBlocks } = await eventuallyCounted(cluster, primary);
    assert.deepEqual([corruptBlocks, repairedBlocks], [2, 2]);
    for (const command of [["status"], ["client", "df"]]) {
      assert.match(
        await cluster.ok(...command),
        new RegExp(`^ost ${primary}: 2 damaged blocks found since its start, 2 repaired$`, "m"),
      );
    }
    const { osts, total } = JSON.parse(await cluster.ok("client", "--json", "df"));
    assert.deepEqual([osts[primary].corruptBlocks, total.corruptBlocks], [2, 2]);
    assert.deepEqual([osts[source].repairedBlocks, total.repairedBlocks], [0, 2]);
    const again = await file.assertReadable();
    assert.equal(again.stderr, "");
    await file.assertRightOnDisk();
  });
});

/** The map's usage follows the probes, which go out each second. */
async function eventuallyCounted(cluster: DamagedCluster, index: number) {
  const endMs = performance.now() + 20_000;
  for (;;) {
    const usage = await cluster.usageOf(index);
    if (usage.corruptBlocks > 0 || performance.now() > endMs) return usage;
  }
}

Deno.test("a damaged list of checksums: the same", async () => {
  await withCluster(async (cluster) => {
    const file = await cluster.put("file", { bytes: 2 * MiB + 1, replicas: 2 });
    const primary = file.targets[0]!;
    await cluster.whileStopped(() => file.flip(primary, 100, ".sum"));
    const { stderr } = await file.assertReadable();
    assert.match(stderr, /damaged/);
    await cluster.ok("admin", "scrub");
    assert.equal((await file.assertReadable()).stderr, "");
    await file.assertRightOnDisk();
    assert.equal((await file.assertReadable()).stderr, "");
  });
});

Deno.test("a flipped byte in the only copy: get fails and leaves no file", async () => {
  await withCluster(async (cluster) => {
    const file = await cluster.put("file", { bytes: 3 * MiB, replicas: 1 });
    const [ost] = file.targets;
    await file.flip(ost!, 2 * MiB + 1);
    const { code, stderr } = await cluster.run("client", "get", "/file", "copy");
    assert.equal(code, 1);
    const message = stderr.split("\n").find((line) => line.startsWith("rustre: "));
    for (const part of ['"/file"', file.object, `OST ${ost}`]) {
      assert.ok(message?.includes(part), `"${stderr}" lacks "${part}"`);
    }
    const names = [...Deno.readDirSync(cluster.directory)].map(({ name }) => name).sort();
    assert.deepEqual(names, ["cluster", "file"]);
    // The rest can be read.
    await cluster.ok("client", "cat", "--length", "2M", "/file");
  });
});

Deno.test("admin scrub finds damage that nobody read, says what it is, and repairs it", async () => {
  await withCluster(async (cluster) => {
    const file = await cluster.put("file", { bytes: 2 * MiB + 100, replicas: 2 });
    const alone = await cluster.put("alone", { bytes: MiB, replicas: 1 });
    assert.match(await cluster.ok("admin", "scrub"), /^3 objects with .* nothing is damaged\n$/);
    const [primary, replica] = file.targets as [number, number];
    await cluster.whileStopped(async () => {
      await file.flip(primary, 0);
      for (const block of [3, 4]) await file.flip(replica, block * blockBytes);
      await file.flip(replica, 2 * MiB + 99);
    });
    const finding = (ost: number, range: string, outcome: string) =>
      `damaged: object ${file.object} of inode ${file.ino} on OST ${ost}, bytes ${range}: ${outcome}`;
    const ranges: [ost: number, range: string][] = [
      [primary, "0-4095"],
      [replica, "12288-20479"],
      [replica, `${2 * MiB}-${2 * MiB + 99}`],
    ];

    const found = await cluster.run("admin", "scrub", "--no-repair");
    assert.equal(found.code, 1);
    assert.match(found.stderr, /^rustre: Cannot repair 3 damaged ranges: .*--no-repair$/m);
    for (const [ost, range] of ranges) {
      assert.ok(found.stdout.includes(finding(ost, range, "not repaired")), found.stdout);
    }
    const one = await cluster.run("admin", "scrub", "--no-repair", "--ost", `${primary}`);
    assert.ok(!one.stdout.includes(`on OST ${replica}`) && one.stdout.includes("0-4095"));

    const repaired = await cluster.ok("admin", "scrub");
    for (const [ost, range] of ranges) {
      assert.ok(repaired.includes(finding(ost, range, "repaired")), repaired);
    }
    assert.match(repaired, /^3 objects with .*, 3 damaged ranges: 3 repaired, 0 lost\n$/m);
    assert.match(await cluster.ok("admin", "scrub"), /nothing is damaged/);
    await file.assertRightOnDisk();

    await alone.flip(alone.targets[0]!, 100);
    const lost = await cluster.run("admin", "--json", "scrub");
    assert.equal(lost.code, 1);
    assert.match(
      lost.stderr,
      /^rustre: Cannot repair 1 damaged range: no replica has a good copy/m,
    );
    const documents = lost.stdout.trim().split("\n").map((line) => JSON.parse(line));
    const fields = { offsetBytes: 0, lengthBytes: blockBytes, outcome: "lost" };
    const where = { ost: alone.targets[0]!, ino: String(alone.ino), object: alone.object };
    assert.deepEqual(documents[0], { type: "damaged", ...where, ...fields });
    const findings = { repaired: 0, lost: 1, gone: 0, failed: 0, damaged: 0 };
    const sums = { objects: 3, bytes: 5 * MiB + 200, findings, failedOsts: [] };
    assert.deepEqual(documents[1], { type: "summary", ...sums });
    assert.ok(hasLine(cluster.log(), "ERROR", "Lost a range of an object", alone.object));

    const unknown = await cluster.run("admin", "scrub", "--ost", "9");
    assert.deepEqual([unknown.code, unknown.stdout], [1, ""]);
    assert.match(unknown.stderr, /^rustre: Cannot find OST 9/);
    assert.equal((await cluster.run("admin", "scrub", "--ost", "two")).code, 2);
  });
});
