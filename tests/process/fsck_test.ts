// admin fsck with real servers on real sqlite stores.

import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { Schema } from "../../mds/schema.ts";
import { encodeChild } from "../../mds/values.ts";
import { runRustre, startRustre } from "../support/processes.ts";
import { inDirectory } from "../support/directory.ts";
import { mgsOf, ok, plant, startUp } from "../support/store_commands.ts";

const schema = new Schema("rustre");

Deno.test("admin fsck checks a cluster that runs, repairs it, and says so by its exit status", async () => {
  await inDirectory(async (directory) => {
    await using server = await startUp(directory);
    const mgs = ["--mgs", mgsOf(server)];
    const store = `sqlite:${directory}/cluster/meta.db`;
    const fsck = (...flags: string[]) => {
      return runRustre([...mgs, "admin", "fsck", "--store", store, ...flags]);
    };
    await Deno.writeFile(`${directory}/data`, new Uint8Array(3 * 2 ** 20).fill(7));
    await ok([...mgs, "client", "put", "-R", "2", `${directory}/data`, "/a"]);
    await ok([...mgs, "client", "mkdir", "/d"]);
    const clean = await fsck();
    assert.equal(clean.code, 0, clean.stdout + clean.stderr);
    assert.match(clean.stdout, /^3 inodes, 2 names and \d+ objects checked, all is well\n$/);
    await plant(store, (transaction) => {
      transaction.set(schema.child(1, "ghost"), encodeChild({ ino: 4000, type: "symlink" }));
      transaction.add(schema.inodeCount, 5n);
    });
    const found = await fsck("--json");
    assert.equal(found.code, 1);
    const documents = found.stdout.trim().split("\n").map((line) => JSON.parse(line));
    assert.deepEqual(documents.map(({ type, kind, outcome }) => [type, kind, outcome]), [
      ["finding", "entry-without-inode", "found"],
      ["finding", "wrong-inode-count", "found"],
      ["summary", undefined, undefined],
    ]);
    assert.equal(documents[0].ino, "4000");
    assert.deepEqual(documents[2].findings, { found: 2, repaired: 0, unrepaired: 0 });
    // Programs read these.
    assert.deepEqual(Object.keys(documents[0]), ["type", "kind", "message", "outcome", "ino"]);
    assert.deepEqual(Object.keys(documents[2]), [
      ...["type", "inodes", "entries", "objects", "bytes", "findings", "undecided"],
      ...["uncomparedCounters", "failedOsts"],
    ]);
    const repaired = await fsck("--repair");
    assert.equal(repaired.code, 0, repaired.stdout + repaired.stderr);
    assert.match(repaired.stdout, /^entry-without-inode: "ghost" in directory 1 .*: repaired$/m);
    assert.match(repaired.stdout, /2 findings: 2 repaired\n$/);
    const after = await fsck("--no-objects");
    assert.equal(after.code, 0, after.stdout);
    assert.match(after.stdout, /and 0 objects checked, all is well/);
  });
});

Deno.test("admin fsck asks each worker of an oss for its objects", async () => {
  await inDirectory(async (directory) => {
    const store = `sqlite:${directory}/meta.db`;
    const listen = ["-l", "127.0.0.1:0"];
    await using servers = new AsyncDisposableStack();
    const mgs = servers.use(await startRustre(["mgs", ...listen, "--store", store]));
    const globals = ["--mgs", mgsOf(mgs)];
    servers.use(await startRustre([...globals, "mds", ...listen, "--store", store]));
    const place = [...listen, "-d", `${directory}/ost`, "--workers", "2"];
    const oss = servers.use(await startRustre([...globals, "oss", ...place]));
    const files = 40;
    await Deno.mkdir(`${directory}/tree`);
    for (let index = 0; index < files; index++) {
      await Deno.writeTextFile(`${directory}/tree/${index}`, `file ${index}`);
    }
    await ok([...globals, "client", "put", "-r", `${directory}/tree`, "/"]);
    const fsck = () => runRustre([...globals, "admin", "fsck", "--store", store, "--json"]);
    const clean = await fsck();
    assert.equal(clean.code, 0, clean.stdout + clean.stderr);
    assert.equal(JSON.parse(clean.stdout).objects, files);
    // Both workers have lost one; what is in their journals comes into the files at a stop.
    await oss.stop();
    await servers.use(await startRustre([...globals, "oss", ...place])).stop();
    const lost = await removeObjects(`${directory}/ost/objects`);
    servers.use(await startRustre([...globals, "oss", ...place]));
    const found = await fsck();
    assert.equal(found.code, 1, found.stderr);
    const documents = found.stdout.trim().split("\n").map((line) => JSON.parse(line));
    assert.deepEqual(
      documents.slice(0, -1).map(({ kind }) => kind),
      lost.map(() => "missing-object"),
    );
    assert.deepEqual(documents.slice(0, -1).map(({ object }) => object).sort(), lost.sort());
    assert.equal(documents.at(-1).objects, files - lost.length);
  });
});

/** One of an even and one of an odd inode number, with its checksums. */
async function removeObjects(directory: string): Promise<string[]> {
  const removed = new Map<number, string>();
  for (const prefix of Deno.readDirSync(directory)) {
    for (const { name } of Deno.readDirSync(`${directory}/${prefix.name}`)) {
      const parity = Number.parseInt(name.slice(0, 16), 16) % 2;
      if (name.endsWith(".sum") || removed.has(parity)) continue;
      removed.set(parity, name.replace("_", ":"));
      const path = `${directory}/${prefix.name}/${name}`;
      await Deno.remove(path);
      if (existsSync(`${path}.sum`)) await Deno.remove(`${path}.sum`);
    }
  }
  return [...removed.values()];
}

Deno.test("admin fsck says what is wrong with how it was called", async () => {
  await inDirectory(async (directory) => {
    const none = await runRustre(["admin", "fsck", "--store", `sqlite:${directory}/none`]);
    assert.equal(none.code, 2);
    assert.match(none.stderr, /there is no such file/);
    await assert.rejects(Deno.stat(`${directory}/none`), Deno.errors.NotFound);
    const bad = await runRustre(["admin", "fsck", "--store", "what"]);
    assert.deepEqual([bad.code, /it must be/.test(bad.stderr)], [2, true]);
    assert.equal((await runRustre(["admin", "fsck"])).code, 2);
  });
});
