// admin store copy of real sqlite stores: killed, onto a disk that is full, from and to damaged files.

import assert from "node:assert/strict";
import { DatabaseSync } from "node:sqlite";
import { transact } from "../../shared/store/transact.ts";
import { inDirectory } from "../support/directory.ts";
import { runRustre, spawnRustre, startRustre } from "../support/processes.ts";
import { mayMount, smallDisk } from "../support/small_disk.ts";
import { environment, mgsOf, ok, plant, startUp, withStore } from "../support/store_commands.ts";

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
  await inDirectory(async (directory) => {
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
  await inDirectory(async (directory) => {
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
    assert.match(newer.stderr, /it has format 99, and this version of rustre reads format 1/);
  });
});

/** A store of a cluster without servers, with some pairs. */
async function makeStore(url: string, pairs: number): Promise<void> {
  {
    await using mgs = await startRustre(["mgs", "-l", "127.0.0.1:0", "--store", url]);
    assert.ok(mgs.ready);
  }
  await fillStore(url, pairs);
}

Deno.test({
  name: "admin store copy goes on when a full disk has space again",
  ignore: !mayMount,
  fn: async () => {
    await inDirectory(async (directory) => {
      const from = `sqlite:${directory}/from.db`;
      await makeStore(from, 20_000);
      await using disk = await smallDisk(4 * 2 ** 20);
      const to = `sqlite:${disk.path}/to.db`;
      const full = await runRustre(["admin", "store", "copy", from, to]);
      assert.equal(full.code, 1);
      assert.match(full.stderr, /full|no space left/i);
      const refused = await runRustre(["admin", "fsck", "--no-objects", "--store", to]);
      assert.equal(refused.code, 1);
      await disk.resize(64 * 2 ** 20);
      const { resumedAtPairs } = JSON.parse(
        await ok(["admin", "store", "copy", from, to, "--json"]),
      );
      assert.ok(resumedAtPairs > 0);
    });
  },
});

/** Cuts a file in half, or overwrites its middle. */
async function damage(path: string, how: "cut" | "overwritten"): Promise<void> {
  const { size } = await Deno.stat(path);
  if (how === "cut") return await Deno.truncate(path, Math.floor(size / 2));
  using file = await Deno.open(path, { write: true });
  await file.seek(Math.floor(size / 2), Deno.SeekMode.Start);
  await file.write(new Uint8Array(64 * 1024).fill(0xa5));
}

for (const how of ["cut", "overwritten"] as const) {
  Deno.test(`admin store copy takes no store for whole that was ${how}`, async () => {
    await inDirectory(async (directory) => {
      const [path, whole] = [`${directory}/from.db`, `${directory}/to.db`];
      await makeStore(`sqlite:${path}`, 20_000);
      await ok(["admin", "store", "copy", `sqlite:${path}`, `sqlite:${whole}`]);
      await damage(path, how);
      const target = `sqlite:${directory}/other.db`;
      const { code, stdout, stderr } = await runRustre(
        ["admin", "store", "copy", `sqlite:${path}`, target],
      );
      // One that was cut cannot even be opened, as no server would.
      assert.deepEqual([code, stdout], [how === "cut" ? 2 : 1, ""]);
      assert.match(stderr, /malformed|not a database|damaged|disk image/i);
      // What has come of it is no store that anybody would use.
      const used = await runRustre(["admin", "fsck", "--no-objects", "--store", target]);
      assert.notEqual(used.code, 0);
      assert.match(used.stderr, /a copy into it is not complete|no such file|has no cluster/);
    });
  });
}
