import assert from "node:assert/strict";
import { removeTree } from "../../../../client/transfer/remove_tree.ts";
import { treeUsage } from "../../../../client/transfer/tree_usage.ts";
import { walkTree } from "../../../../client/transfer/walk_tree.ts";
import type { FileSystem } from "../../../../client/mod.ts";
import type { RustreError } from "../../../../shared/errors.ts";
import { withCluster } from "../../../support/cluster.ts";

const user = { uid: 1000, gid: 1000, groups: [] };

/** /tree: a, b with c and the empty d, and a link to /kept, which has one file. */
async function makeTree(fileSystem: FileSystem): Promise<void> {
  await fileSystem.mkdir("/kept");
  await fileSystem.createEmpty("/kept/file");
  await fileSystem.mkdir("/tree", { mode: 0o777 });
  await fileSystem.createEmpty("/tree/a");
  await fileSystem.setAttributes("/tree/a", { sizeBytes: 10 });
  await fileSystem.mkdir("/tree/b");
  await fileSystem.createEmpty("/tree/b/c");
  await fileSystem.setAttributes("/tree/b/c", { sizeBytes: 100 });
  await fileSystem.mkdir("/tree/b/d");
  await fileSystem.symlink("/kept", "/tree/link");
  await fileSystem.link("/tree/a", "/tree/b/second-a");
}

Deno.test("walkTree() gives each directory before what is in it, and follows no links", () =>
  withCluster({}, async (cluster) => {
    const fileSystem = cluster.fileSystem();
    await makeTree(fileSystem);
    const walked = await Array.fromAsync(walkTree(fileSystem, "/tree"));
    assert.deepEqual(walked.map(({ path }) => path), [
      "/tree",
      "/tree/a",
      "/tree/b",
      "/tree/b/c",
      "/tree/b/d",
      "/tree/b/second-a",
      "/tree/link",
    ]);
    const [link] = await Array.fromAsync(walkTree(fileSystem, "/tree/link"));
    assert.equal(link?.type, "symlink");
  }));

Deno.test("walkTree() reports a directory that cannot be listed and goes on", () =>
  withCluster({}, async (cluster) => {
    const fileSystem = cluster.fileSystem();
    await makeTree(fileSystem);
    await fileSystem.setAttributes("/tree/b", { mode: 0 });
    const asUser = cluster.fileSystem(user);
    const failures: RustreError[] = [];
    const options = { onFailure: (error: RustreError) => void failures.push(error) };
    const walked = await Array.fromAsync(walkTree(asUser, "/tree", options));
    assert.deepEqual(walked.map(({ name }) => name), ["tree", "a", "b", "link"]);
    assert.deepEqual(failures.map(({ code }) => code), ["EACCES"]);
    await assert.rejects(Array.fromAsync(walkTree(asUser, "/tree")), { code: "EACCES" });
  }));

Deno.test("treeUsage() counts a file with two names once", () =>
  withCluster({}, async (cluster) => {
    const fileSystem = cluster.fileSystem();
    await makeTree(fileSystem);
    const usage = await Array.fromAsync(treeUsage(fileSystem, "/tree"));
    assert.deepEqual(usage, [
      { path: "/tree/b/d", bytes: 0, files: 0 },
      { path: "/tree/b", bytes: 100, files: 1 },
      { path: "/tree", bytes: 110, files: 2 },
    ]);
    assert.deepEqual(await Array.fromAsync(treeUsage(fileSystem, "/tree/a")), [
      { path: "/tree/a", bytes: 10, files: 1 },
    ]);
  }));

Deno.test("removeTree() removes all, but nothing that links lead to", () =>
  withCluster({}, async (cluster) => {
    const fileSystem = cluster.fileSystem();
    await makeTree(fileSystem);
    assert.equal(await removeTree(fileSystem, "/tree/"), 7);
    assert.equal(await fileSystem.find("/tree"), undefined);
    assert.ok(await fileSystem.find("/kept/file"));
    await fileSystem.symlink("/kept", "/link");
    await assert.rejects(removeTree(fileSystem, "/link/"), { code: "ENOTDIR" });
    assert.equal(await removeTree(fileSystem, "/link"), 1);
    assert.ok(await fileSystem.find("/kept/file"));
    await assert.rejects(removeTree(fileSystem, "/none"), { code: "ENOENT" });
  }));

Deno.test("removeTree() removes what it can, and says what it cannot", () =>
  withCluster({}, async (cluster) => {
    const fileSystem = cluster.fileSystem();
    await makeTree(fileSystem);
    const asUser = cluster.fileSystem(user);
    await asUser.mkdir("/tree/mine");
    await asUser.createEmpty("/tree/mine/file");
    const failures: string[] = [];
    const onFailure = ({ message }: RustreError) => void failures.push(message);
    // /tree may be written by everybody, /tree/b only by root.
    assert.equal(await removeTree(asUser, "/tree", { onFailure }), 4);
    assert.deepEqual(failures.sort(), [
      'Cannot remove "/tree/b/c": permission denied',
      'Cannot remove "/tree/b/second-a": permission denied',
      'Cannot remove the directory "/tree/b/d": permission denied',
    ]);
    const left = await Array.fromAsync(fileSystem.readdir("/tree"));
    assert.deepEqual(left.map(({ name }) => name), ["b"]);
  }));

Deno.test("removeTree() that was interrupted can be started again", () =>
  withCluster({}, async (cluster) => {
    const fileSystem = cluster.fileSystem();
    await fileSystem.mkdir("/tree");
    for (let index = 0; index < 300; index++) await fileSystem.createEmpty(`/tree/${index}`);
    const stop = new AbortController();
    const unlink = fileSystem.unlink.bind(fileSystem);
    let unlinked = 0;
    fileSystem.unlink = (path, options) => {
      if (++unlinked === 100) stop.abort();
      return unlink(path, options);
    };
    const { signal } = stop;
    await assert.rejects(removeTree(fileSystem, "/tree", { signal }), { code: "INTERRUPTED" });
    const left = await Array.fromAsync(fileSystem.readdir("/tree"));
    assert.ok(left.length > 150 && left.length < 300, `${left.length} are left`);
    assert.equal(await removeTree(fileSystem, "/tree"), left.length + 1);
    assert.equal(await fileSystem.find("/tree"), undefined);
  }));
