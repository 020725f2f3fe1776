// rename: what moves with it, what it replaces, what it refuses.

import assert from "node:assert/strict";
import type { FileSystem } from "../../client/mod.ts";
import { type TestCluster, withCluster } from "../support/cluster.ts";

async function put(fileSystem: FileSystem, path: string, text: string): Promise<void> {
  await using file = await fileSystem.create(path);
  await file.write(0, new TextEncoder().encode(text));
  await file.close();
}

async function read(fileSystem: FileSystem, path: string): Promise<string> {
  await using file = await fileSystem.open(path);
  return new TextDecoder().decode(await file.read(0, file.sizeBytes));
}

async function onCluster(test: (fileSystem: FileSystem, cluster: TestCluster) => Promise<void>) {
  await withCluster({ osts: 2 }, (cluster) => test(cluster.fileSystem(), cluster));
}

Deno.test("a directory that is renamed takes everything along", async () => {
  await onCluster(async (fileSystem) => {
    for (const path of ["/a", "/a/b", "/a/b/c", "/x"]) await fileSystem.mkdir(path);
    await put(fileSystem, "/a/f", "f");
    await put(fileSystem, "/a/b/c/g", "g");
    await fileSystem.symlink("../f", "/a/b/l");
    await fileSystem.rename("/a", "/x/y");
    assert.equal(await fileSystem.find("/a"), undefined);
    assert.equal(await read(fileSystem, "/x/y/f"), "f");
    assert.equal(await read(fileSystem, "/x/y/b/c/g"), "g");
    assert.equal(await read(fileSystem, "/x/y/b/l"), "f");
    const { ino } = await fileSystem.stat("/x");
    assert.equal((await fileSystem.stat("/x/y/..")).ino, ino, "it knows its new parent");
    assert.equal((await fileSystem.stat("/")).links, 3);
    assert.equal((await fileSystem.stat("/x")).links, 3);
  });
});

Deno.test("a directory does not move into itself or below", async () => {
  await onCluster(async (fileSystem) => {
    for (const path of ["/a", "/a/b", "/a/b/c"]) await fileSystem.mkdir(path);
    await fileSystem.symlink("/a/b", "/l");
    for (const target of ["/a/x", "/a/b/x", "/a/b/c/x", "/l/x", "/a/b"]) {
      await assert.rejects(fileSystem.rename("/a", target), { code: "EINVAL" }, target);
    }
    await fileSystem.rename("/a/b/c", "/a/c");
    await fileSystem.rename("/a/b", "/b");
    await assert.rejects(fileSystem.rename("/", "/a/x"), { code: "EBUSY" });
    await assert.rejects(fileSystem.rename("/a", "/"), { code: "EBUSY" });
  });
});

Deno.test("what may replace what", async () => {
  await onCluster(async (fileSystem, cluster) => {
    await put(fileSystem, "/f", "f");
    await put(fileSystem, "/g", "g");
    for (const path of ["/d", "/d/inside", "/e"]) await fileSystem.mkdir(path);
    await fileSystem.symlink("nowhere", "/l");
    await assert.rejects(fileSystem.rename("/f", "/e"), { code: "EISDIR" });
    await assert.rejects(fileSystem.rename("/e", "/f"), { code: "ENOTDIR" });
    await assert.rejects(fileSystem.rename("/e", "/l"), { code: "ENOTDIR" });
    await assert.rejects(fileSystem.rename("/e", "/d"), { code: "ENOTEMPTY" });
    await assert.rejects(fileSystem.rename("/f", "/g", { noReplace: true }), { code: "EEXIST" });
    await assert.rejects(fileSystem.rename("/none", "/g"), { code: "ENOENT" });
    await fileSystem.rename("/d", "/e");
    assert.equal((await fileSystem.stat("/e/inside")).type, "directory");
    await fileSystem.rename("/f", "/g");
    assert.equal(await read(fileSystem, "/g"), "f");
    await cluster.eventually(() => cluster.usage().bytes === 1, 5_000);
    await fileSystem.rename("/l", "/g");
    assert.equal(await fileSystem.readlink("/g"), "nowhere");
    await cluster.eventually(() => cluster.usage().bytes === 0, 5_000);
    await fileSystem.rename("/e", "/e");
  });
});

Deno.test("rename onto a file with two links leaves the other, onto its own does nothing", async () => {
  await onCluster(async (fileSystem) => {
    await put(fileSystem, "/a", "old");
    await fileSystem.link("/a", "/b");
    await fileSystem.rename("/a", "/b");
    assert.equal((await fileSystem.stat("/a")).links, 2);
    assert.equal((await fileSystem.stat("/b")).links, 2);
    await put(fileSystem, "/new", "new");
    await fileSystem.rename("/new", "/b");
    assert.equal(await read(fileSystem, "/a"), "old");
    assert.equal(await read(fileSystem, "/b"), "new");
    assert.equal((await fileSystem.stat("/a")).links, 1);
  });
});

Deno.test("links: one file under many names, of no directory", async () => {
  await onCluster(async (fileSystem, cluster) => {
    await put(fileSystem, "/a", "text");
    await fileSystem.mkdir("/d");
    await fileSystem.link("/a", "/d/b");
    await fileSystem.symlink("/a", "/l");
    await fileSystem.link("/l", "/d/l");
    assert.equal(await fileSystem.readlink("/d/l"), "/a");
    assert.equal((await fileSystem.stat("/l", { follow: false })).links, 2);
    await assert.rejects(fileSystem.link("/d", "/e"), { code: "EPERM" });
    await assert.rejects(fileSystem.link("/a", "/d/b"), { code: "EEXIST" });
    await assert.rejects(fileSystem.link("/none", "/e"), { code: "ENOENT" });
    await fileSystem.setAttributes("/d/b", { mode: 0o600 });
    assert.equal((await fileSystem.stat("/a")).mode, 0o600);
    await fileSystem.unlink("/a");
    assert.equal(await read(fileSystem, "/d/b"), "text");
    assert.equal(cluster.usage().bytes, 4);
    await fileSystem.unlink("/d/b");
    await cluster.eventually(() => cluster.usage().bytes === 0, 5_000);
  });
});
