// The tree: names, directories of any size, recursive removal, what clients see of it.

import assert from "node:assert/strict";
import type { FileSystem } from "../../client/mod.ts";
import { Schema } from "../../mds/schema.ts";
import { decodeInode, encodeChild, encodeInode } from "../../mds/values.ts";
import { limits } from "../../shared/limits.ts";
import { mdsService } from "../../shared/protocol/mds.ts";
import { transact } from "../../shared/store/transact.ts";
import { root, type TestCluster, withCluster } from "../support/cluster.ts";

async function namesIn(fileSystem: FileSystem, path: string): Promise<string[]> {
  return await Array.fromAsync(fileSystem.readdir(path), ({ name }) => name);
}

/** So many names of one file in a directory, put there without the mds: making them takes longer. */
async function fillDirectory(cluster: TestCluster, path: string, count: number): Promise<string[]> {
  const fileSystem = cluster.fileSystem();
  const directory = await fileSystem.mkdir(path);
  const file = await fileSystem.createEmpty(`${path}/0`);
  const schema = new Schema("test");
  const context = { store: cluster.store, environment: cluster.environment("filler") };
  const names = Array.from({ length: count }, (_, index) => `entry ${index}`);
  for (let first = 0; first < count; first += 20_000) {
    await transact(context, (transaction) => {
      for (const name of names.slice(first, first + 20_000)) {
        transaction.set(schema.child(directory.ino, name), encodeChild(file));
      }
      return Promise.resolve();
    });
  }
  await transact(context, async (transaction) => {
    const inode = decodeInode((await transaction.get(schema.inode(file.ino)))!);
    transaction.set(schema.inode(file.ino), encodeInode({ ...inode, links: count + 1 }));
  });
  return [...names, "0"];
}

Deno.test("a directory of 200,000 entries lists completely while others come and go", async () => {
  await withCluster({ osts: 1 }, async (cluster) => {
    const expected = await fillDirectory(cluster, "/d", 200_000);
    const [reader, writer] = [cluster.fileSystem(), cluster.fileSystem()];
    const listed: string[] = [];
    const churned = new Set<string>();
    let round = 0;
    for await (const { name } of reader.readdir("/d")) {
      listed.push(name);
      if (listed.length % 2_000 !== 0) continue;
      // Some behind the cursor, some before it, some just there.
      const fresh = [`a ${round}`, `entry ${round}+`, `z ${round}`, `${name}+`];
      for (const each of fresh) {
        churned.add(each);
        await writer.createEmpty(`/d/${each}`);
      }
      if (round > 0) await writer.unlink(`/d/z ${round - 1}`);
      round++;
    }
    assert.equal(new Set(listed).size, listed.length, "no entry twice");
    const stable = listed.filter((name) => !churned.has(name));
    assert.equal(stable.length, expected.length);
    assert.deepEqual(new Set(stable), new Set(expected));
    assert.equal(round, 100);
  });
});

Deno.test("readdir() gives the byte order of names, page by page", async () => {
  await withCluster({ osts: 1 }, async (cluster) => {
    const fileSystem = cluster.fileSystem();
    const names = ["a", "A", "ä", "a b", "\u{1f600}", "\uffee", "~", "0", "-", "aa", "a\u0001"];
    for (const name of names) await fileSystem.createEmpty(`/${name}`);
    const encoder = new TextEncoder();
    const inByteOrder = names.toSorted((left, right) => {
      const [a, b] = [encoder.encode(left), encoder.encode(right)];
      const at = a.findIndex((byte, index) => byte !== b[index]);
      return at < 0 ? a.length - b.length : a[at]! - (b[at] ?? -1);
    });
    assert.deepEqual(await namesIn(fileSystem, "/"), inByteOrder);
    const rpc = cluster.rpc("reader");
    const paged: string[] = [];
    for (let after = "";;) {
      const request = {
        caller: root,
        directory: { ino: 1, path: "" },
        after,
        limit: 2,
        withAttributes: true,
      };
      const page = await rpc.call(cluster.endpoint("mds0"), mdsService, "readdir", request);
      paged.push(...page.entries.map(({ name }) => name));
      after = paged.at(-1)!;
      if (!page.more) break;
    }
    assert.deepEqual(paged, inByteOrder);
  });
});

Deno.test("readdirPlus() gives what stat() gives", async () => {
  await withCluster({}, async (cluster) => {
    const fileSystem = cluster.fileSystem();
    await fileSystem.mkdir("/d", { mode: 0o700 });
    await fileSystem.mkdir("/d/sub");
    await fileSystem.symlink("/d", "/link");
    for (let index = 0; index < 600; index++) await fileSystem.createEmpty(`/f${index}`);
    let count = 0;
    for await (const { name, attributes } of fileSystem.readdirPlus("/")) {
      assert.deepEqual(attributes, await fileSystem.stat(`/${name}`, { follow: false }));
      count++;
    }
    assert.equal(count, 602);
  });
});

Deno.test("names of 255 bytes, with spaces, in any script; none that is no name", async () => {
  await withCluster({ osts: 1 }, async (cluster) => {
    const fileSystem = cluster.fileSystem();
    const good = [
      "x".repeat(255),
      "ä".repeat(127),
      " ",
      "a\nb",
      "\u{1f600}".repeat(63),
      "...",
      "\\",
    ];
    for (const name of good) {
      await fileSystem.mkdir(`/${name}`);
      assert.equal((await fileSystem.stat(`/${name}`)).type, "directory");
    }
    assert.deepEqual(new Set(await namesIn(fileSystem, "/")), new Set(good));
    const bad: [string, string][] = [
      ["x".repeat(256), "ENAMETOOLONG"],
      ["ä".repeat(128), "ENAMETOOLONG"],
      ["a\0b", "EINVAL"],
      ["\ud800", "EINVAL"],
    ];
    for (const [name, code] of bad) {
      await assert.rejects(fileSystem.mkdir(`/${name}`), { code });
      await assert.rejects(fileSystem.rename(`/${good[0]}`, `/${name}`), { code });
      await assert.rejects(fileSystem.stat(`/${name}/x`), { code });
    }
    await assert.rejects(fileSystem.mkdir("/."), { code: "EEXIST" });
    await assert.rejects(fileSystem.mkdir("/.."), { code: "EEXIST" });
    await assert.rejects(fileSystem.rmdir(`/${good[0]}/.`), { code: "EINVAL" });
    await assert.rejects(fileSystem.stat(`/${"a/".repeat(2100)}`), { code: "ENAMETOOLONG" });
  });
});

Deno.test("an mds takes no name with a slash and survives odd ones", async () => {
  await withCluster({ osts: 1 }, async (cluster) => {
    const rpc = cluster.rpc("stranger");
    const mds = cluster.endpoint("mds0");
    const { clientId } = await rpc.call(mds, mdsService, "openSession", {});
    let requestId = 0;
    const mkdir = (name: string) =>
      rpc.call(mds, mdsService, "mkdir", {
        clientId,
        requestId: ++requestId,
        caller: root,
        directory: { ino: 1, path: "" },
        name,
        mode: 0o755,
      });
    for (const name of ["a/b", "/", "a\0", "\udc00"]) {
      await assert.rejects(mkdir(name), { code: "EINVAL" });
    }
    await assert.rejects(mkdir(""), { code: "ENOENT" });
    await assert.rejects(mkdir("x".repeat(60_000)), { code: "ENAMETOOLONG" });
    const list = (after: string) =>
      rpc.call(mds, mdsService, "readdir", {
        caller: root,
        directory: { ino: 1, path: "" },
        after,
        limit: 10,
        withAttributes: false,
      });
    for (const after of ["x".repeat(60_000), "\0", "\udc00", "a/b"]) {
      await list(after).catch((error) => assert.notEqual(error.code, "INTERNAL"));
    }
    await mkdir("fine");
    assert.deepEqual((await list("")).entries.map(({ name }) => name), ["fine"]);
    await rpc.call(mds, mdsService, "closeSession", { clientId });
  });
});

Deno.test("symbolic links: relative, absolute, up, in a circle, to nothing", async () => {
  await withCluster({ osts: 1 }, async (cluster) => {
    const fileSystem = cluster.fileSystem();
    await fileSystem.mkdir("/d");
    await fileSystem.createEmpty("/d/f");
    for (
      const [target, path] of [["d", "/rel"], ["/d", "/abs"], ["../d/f", "/d/up"], [
        "loop",
        "/loop",
      ]]
    ) await fileSystem.symlink(target!, path!);
    await fileSystem.symlink("nowhere", "/dangling");
    const { ino } = await fileSystem.stat("/d/f");
    for (const path of ["/rel/f", "/abs/f", "/d/up", "/rel/../abs/./f", "/../d/up"]) {
      assert.equal((await fileSystem.stat(path)).ino, ino, path);
    }
    await assert.rejects(fileSystem.stat("/loop"), { code: "ELOOP" });
    await assert.rejects(fileSystem.stat("/dangling"), { code: "ENOENT" });
    assert.equal((await fileSystem.stat("/dangling", { follow: false })).sizeBytes, 7);
    await assert.rejects(fileSystem.readlink("/d"), { code: "EINVAL" });
    await assert.rejects(fileSystem.symlink("", "/empty"), { code: "ENOENT" });
    await assert.rejects(fileSystem.symlink("x".repeat(4096), "/long"), { code: "ENAMETOOLONG" });
    await fileSystem.symlink("x".repeat(4095), "/long");
    let path = "/d";
    for (let depth = 0; depth < limits.symlinksFollowedMax; depth++) {
      await fileSystem.symlink(path, `/chain${depth}`);
      path = `/chain${depth}`;
    }
    assert.equal((await fileSystem.stat(path)).type, "directory");
    await fileSystem.symlink(path, "/one too many");
    await assert.rejects(fileSystem.stat("/one too many"), { code: "ELOOP" });
  });
});

async function removeTree(fileSystem: FileSystem, path: string, budget: { left: number }) {
  for await (const { name, type } of fileSystem.readdir(path)) {
    if (budget.left-- <= 0) throw new Error("interrupted");
    const child = `${path}/${name}`;
    if (type === "directory") await removeTree(fileSystem, child, budget);
    else await fileSystem.unlink(child);
  }
  await fileSystem.rmdir(path);
}

Deno.test("recursive removal frees the whole tree, also when it was interrupted before", async () => {
  await withCluster({}, async (cluster) => {
    const fileSystem = cluster.fileSystem();
    const before = await fileSystem.statfs();
    for (const directory of ["", "/a", "/a/b", "/c"]) {
      await fileSystem.mkdir(`/t${directory}`);
      for (let index = 0; index < 10; index++) {
        await using file = await fileSystem.create(`/t${directory}/f${index}`);
        await file.write(0, new Uint8Array(1000));
        await file.close();
      }
    }
    await assert.rejects(removeTree(fileSystem, "/t", { left: 17 }), /interrupted/);
    assert(await fileSystem.find("/t"));
    await removeTree(cluster.fileSystem(), "/t", { left: 1000 });
    await cluster.eventually(() => cluster.usage().objects === 0, 5_000);
    assert.deepEqual((await fileSystem.statfs()).inodes, before.inodes);
  });
});

Deno.test("times of a directory: entries change mtime and ctime, an explicit mtime only itself", async () => {
  await withCluster({ osts: 1 }, async (cluster) => {
    const fileSystem = cluster.fileSystem();
    await fileSystem.mkdir("/d");
    const made = await fileSystem.stat("/d");
    await cluster.sleep(1_000);
    await fileSystem.createEmpty("/d/f");
    const changed = await fileSystem.stat("/d");
    assert(changed.mtimeNs > made.mtimeNs && changed.ctimeNs === changed.mtimeNs);
    await cluster.sleep(1_000);
    const future = changed.mtimeNs + 10n ** 18n;
    await fileSystem.setAttributes("/d", { mtimeNs: future });
    const set = await fileSystem.stat("/d");
    assert.equal(set.mtimeNs, future);
    assert(
      set.ctimeNs > changed.ctimeNs && set.ctimeNs < future,
      "ctime is the time of the change",
    );
    await cluster.sleep(1_000);
    await fileSystem.unlink("/d/f");
    const last = await fileSystem.stat("/d");
    assert(last.mtimeNs < future && last.mtimeNs > set.ctimeNs && last.ctimeNs === last.mtimeNs);
  });
});
