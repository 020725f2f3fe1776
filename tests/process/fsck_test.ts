// admin fsck and admin store copy with real servers on real sqlite stores.

import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { DatabaseSync } from "node:sqlite";
import { encodeChild, Schema } from "../../mds/schema.ts";
import { limits } from "../../shared/limits.ts";
import { systemEnvironment } from "../../shared/platform.ts";
import { openStore } from "../../shared/store/open.ts";
import type { Store, Transaction } from "../../shared/store/store.ts";
import { transact } from "../../shared/store/transact.ts";
import { runRustre, spawnRustre, startRustre } from "../support/processes.ts";

const environment = systemEnvironment();
const schema = new Schema("rustre");

async function withDirectory(test: (directory: string) => Promise<void>): Promise<void> {
  const directory = await Deno.makeTempDir({ prefix: "rustre-fsck-" });
  try {
    await test(directory);
  } finally {
    await Deno.remove(directory, { recursive: true });
  }
}

function startUp(directory: string, ...flags: string[]) {
  const place = ["--dir", `${directory}/cluster`, "--listen", "127.0.0.1:0"];
  return startRustre(["up", ...place, "--osts", "2", ...flags]);
}

function mgsOf({ ready }: { ready: string }): string {
  return /mgs=(\S+)/.exec(ready)![1]!;
}

async function ok(args: readonly string[]): Promise<string> {
  const { code, stdout, stderr } = await runRustre(args);
  assert.equal(code, 0, `${args.join(" ")}: ${stdout}${stderr}`);
  return stdout;
}

async function withStore<T>(url: string, use: (store: Store) => Promise<T>): Promise<T> {
  const store = await openStore(url, environment.clock);
  try {
    return await use(store);
  } finally {
    await store.close();
  }
}

function plant(url: string, change: (transaction: Transaction) => void): Promise<void> {
  return withStore(url, (store) =>
    transact({ store, environment }, (transaction) => {
      change(transaction);
      return Promise.resolve();
    }));
}

Deno.test("admin fsck checks a cluster that runs, repairs it, and says so by its exit status", async () => {
  await withDirectory(async (directory) => {
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
  await withDirectory(async (directory) => {
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
  await withDirectory(async (directory) => {
    const none = await runRustre(["admin", "fsck", "--store", `sqlite:${directory}/none`]);
    assert.equal(none.code, 2);
    assert.match(none.stderr, /there is no such file/);
    await assert.rejects(Deno.stat(`${directory}/none`), Deno.errors.NotFound);
    const bad = await runRustre(["admin", "fsck", "--store", "what"]);
    assert.deepEqual([bad.code, /it must be/.test(bad.stderr)], [2, true]);
    assert.equal((await runRustre(["admin", "fsck"])).code, 2);
  });
});

// ── copies ─────────────────────────────────────────────────────────────────────────────────────

/** So much that a copy takes a while. */
async function fillStore(url: string, pairs: number): Promise<void> {
  await withStore(url, async (store) => {
    for (let start = 0; start < pairs; start += 2000) {
      await transact({ store, environment }, (transaction) => {
        for (let index = start; index < start + 2000; index++) {
          transaction.set(`rustre/test/${index}`, new Uint8Array(200).fill(index));
        }
        return Promise.resolve();
      });
    }
  });
}

/** Without opening it as a store, which a copy that runs beside it need not notice. */
function pairsIn(path: string): number {
  try {
    const database = new DatabaseSync(path, { readOnly: true });
    try {
      return Number(database.prepare("SELECT COUNT(*) AS pairs FROM kv").get()!.pairs);
    } finally {
      database.close();
    }
  } catch {
    // It is not there yet, or just being made.
    return 0;
  }
}

Deno.test("admin store copy moves a cluster, killed on the way and run again", async () => {
  await withDirectory(async (directory) => {
    const from = `sqlite:${directory}/cluster/meta.db`;
    const [toPath, to] = [`${directory}/to.db`, `sqlite:${directory}/to.db`];
    const copy = ["admin", "store", "copy", from, to];
    {
      await using server = await startUp(directory);
      const mgs = ["--mgs", mgsOf(server)];
      await Deno.writeTextFile(`${directory}/data`, "moved");
      await ok([...mgs, "client", "put", `${directory}/data`, "/a"]);
      const used = await runRustre(copy);
      assert.equal(used.code, 1);
      assert.match(used.stderr, /a server uses it; stop every mgs and mds first/);
    }
    const pairs = 200_000;
    await fillStore(from, pairs);
    for (const killedAt of [1, pairs / 4]) {
      const before = pairsIn(toPath);
      const child = spawnRustre(copy, { stdin: "null", stdout: "piped", stderr: "piped" });
      while (pairsIn(toPath) < before + killedAt) {
        await new Promise((resolve) => setTimeout(resolve, 2));
      }
      child.kill("SIGKILL");
      const { code } = await child.output();
      assert.notEqual(code, 0, "it was killed before its end");
      const refused = await runRustre(["mgs", "-l", "127.0.0.1:0", "--store", to]);
      assert.equal(refused.code, 2);
      assert.match(refused.stderr, /a copy into it is not complete; run "rustre admin store copy"/);
    }
    const summary = JSON.parse(await ok([...copy, "--json"]));
    assert.ok(summary.resumedAtPairs > 0 && summary.pairs > pairs, JSON.stringify(summary));
    assert.match(summary.sha256, /^[0-9a-f]{64}$/);
    const again = await runRustre(copy);
    assert.equal(again.code, 1);
    assert.match(again.stderr, /holds this cluster already/);

    await using server = await startUp(directory, "--store", to);
    const mgs = ["--mgs", mgsOf(server)];
    assert.equal(await ok([...mgs, "client", "cat", "/a"]), "moved");
    await ok([...mgs, "client", "mkdir", "/new"]);
    const { code, stdout } = await runRustre([...mgs, "admin", "fsck", "--store", to]);
    assert.deepEqual([code, /all is well/.test(stdout)], [0, true], stdout);
  });
});

Deno.test("admin store copy refuses a store of a newer format, and one that is not there", async () => {
  await withDirectory(async (directory) => {
    const [from, to] = [`sqlite:${directory}/from.db`, `sqlite:${directory}/to.db`];
    const missing = await runRustre(["admin", "store", "copy", from, to]);
    assert.equal(missing.code, 2);
    assert.match(missing.stderr, /there is no such file/);
    {
      await using mgs = await startRustre(["mgs", "-l", "127.0.0.1:0", "--store", from]);
      assert.ok(mgs.ready);
    }
    // [1, 99]: format 99, in the way in which formats are written.
    await plant(from, (transaction) => {
      transaction.set("rustre/format", new Uint8Array([0x92, 1, 99]));
    });
    const newer = await runRustre(["admin", "store", "copy", from, to]);
    assert.equal(newer.code, 1);
    assert.match(newer.stderr, /it has format 99, and this version of rustre copies format 1/);
    assert.ok(limits.storeCopyPageEntries > 0);
  });
});
