// Files that are made as a whole: invisible until they are complete, and without a trace where they
// never become so.

import assert from "node:assert/strict";
import { type FileSystem, RustreError } from "../../client/mod.ts";
import { limits } from "../../shared/limits.ts";
import { mdsService } from "../../shared/protocol/mds.ts";
import { ossService } from "../../shared/protocol/oss.ts";
import { root, withCluster } from "../support/cluster.ts";
import { RecordingTransport } from "../support/recording_transport.ts";

const content = Uint8Array.from({ length: 200_000 }, (_, index) => index % 251);

async function put(
  fileSystem: FileSystem,
  path: string,
  bytes: Uint8Array,
  replace = false,
): Promise<void> {
  await using file = await fileSystem.create(path, { replace, layout: { replicas: 2 } });
  await file.write(0, bytes);
  await file.close();
}

async function read(fileSystem: FileSystem, path: string): Promise<Uint8Array> {
  await using file = await fileSystem.open(path);
  return await file.read(0, file.sizeBytes);
}

Deno.test("empty files and files smaller than the number of OSTs", async () => {
  await withCluster({ osts: 4 }, async (cluster) => {
    const fileSystem = cluster.fileSystem();
    for (let length = 0; length <= 5; length++) {
      await put(fileSystem, `/f${length}`, content.subarray(0, length));
      assert.deepEqual(await read(fileSystem, `/f${length}`), content.slice(0, length));
      assert.equal((await fileSystem.stat(`/f${length}`)).sizeBytes, length);
    }
  });
});

Deno.test("the same content stored twice and removed leaves no bytes behind", async () => {
  await withCluster({}, async (cluster) => {
    const fileSystem = cluster.fileSystem();
    await put(fileSystem, "/a", content);
    await put(fileSystem, "/b", content);
    assert.equal(cluster.usage().bytes, 4 * content.length);
    await fileSystem.unlink("/a");
    assert.deepEqual(await read(fileSystem, "/b"), content);
    await fileSystem.unlink("/b");
    await cluster.eventually(() => cluster.usage().objects === 0, 5_000);
  });
});

Deno.test("a file that is replaced 1,000 times takes the space of one", async () => {
  await withCluster({ osts: 2 }, async (cluster) => {
    const fileSystem = cluster.fileSystem();
    for (let round = 0; round < 1_000; round++) {
      await put(fileSystem, "/f", content.subarray(round, round + 1_000), true);
    }
    assert.deepEqual(await read(fileSystem, "/f"), content.slice(999, 1_999));
    await cluster.eventually(() => cluster.usage().bytes === 2_000, 5_000);
    assert.equal((await fileSystem.statfs()).inodes, 2);
  });
});

Deno.test("nobody sees a file before it is closed, nor one that is given up", async () => {
  await withCluster({}, async (cluster) => {
    const [fileSystem, other] = [cluster.fileSystem(), cluster.fileSystem()];
    await put(other, "/old", content);
    const drafts = [
      await fileSystem.create("/new"),
      await fileSystem.create("/old", { replace: true }),
    ];
    for (const file of drafts) {
      await file.write(0, content.subarray(0, 10));
      await file.sync();
    }
    assert.deepEqual(
      await Array.fromAsync(other.readdir("/"), ({ name }) => name),
      ["old"],
    );
    assert.deepEqual(await read(other, "/old"), content);
    for (const file of drafts) await file.abandon();
    await cluster.eventually(() => cluster.usage().bytes === 2 * content.length, 5_000);
    assert.deepEqual(await read(other, "/old"), content);
    await assert.rejects(drafts[0]!.write(0, content), { code: "EBADF" });
  });
});

Deno.test("a put into a directory that is moved follows it, into one that is removed fails", async () => {
  await withCluster({}, async (cluster) => {
    const fileSystem = cluster.fileSystem();
    await fileSystem.mkdir("/a");
    await fileSystem.mkdir("/b");
    const [moved, lost] = [await fileSystem.create("/a/f"), await fileSystem.create("/b/f")];
    for (const file of [moved, lost]) await file.write(0, content);
    await fileSystem.rename("/a", "/c");
    await fileSystem.rmdir("/b");
    await moved.close();
    await assert.rejects(lost.close(), { code: "ENOENT" });
    assert.deepEqual(await read(fileSystem, "/c/f"), content);
    await cluster.eventually(() => cluster.usage().bytes === content.length, 5_000);
  });
});

Deno.test("what may be replaced: a file or link, by a file, and no directory", async () => {
  await withCluster({}, async (cluster) => {
    const fileSystem = cluster.fileSystem();
    await fileSystem.mkdir("/d");
    await fileSystem.symlink("/d", "/l");
    await put(fileSystem, "/f", content);
    await fileSystem.link("/f", "/g");
    await assert.rejects(fileSystem.create("/d", { replace: true }), { code: "EISDIR" });
    await assert.rejects(fileSystem.create("/f"), { code: "EEXIST" });
    await put(fileSystem, "/l", content.subarray(0, 5), true);
    assert.equal((await fileSystem.stat("/l", { follow: false })).type, "file");
    await put(fileSystem, "/f", content.subarray(0, 7), true);
    assert.deepEqual(await read(fileSystem, "/g"), content);
    const file = await fileSystem.create("/x", { replace: true });
    await fileSystem.mkdir("/x");
    await assert.rejects(file.close(), { code: "EISDIR" });
    const other = await fileSystem.create("/y");
    await fileSystem.mkdir("/y");
    await assert.rejects(other.close(), { code: "EEXIST" });
  });
});

Deno.test("a file gets the mode and time that it is to have, when it appears", async () => {
  await withCluster({ osts: 1 }, async (cluster) => {
    const fileSystem = cluster.fileSystem();
    const file = await fileSystem.create("/f", { mode: 0o640, mtimeNs: 123_456_789n });
    await file.write(0, content);
    await file.close();
    const { mode, mtimeNs } = await fileSystem.stat("/f");
    assert.deepEqual({ mode, mtimeNs }, { mode: 0o640, mtimeNs: 123_456_789n });
  });
});

Deno.test("the size is never committed before the bytes are on every disk", async () => {
  await withCluster({ osts: 3 }, async (cluster) => {
    const recorder = new RecordingTransport(cluster.network.transport("recorded"));
    const fileSystem = cluster.connect("recorded", { transport: recorder }).fileSystem(root);
    const { writeObject, syncObjects, resizeObject } = ossService.methods;
    const { commit, commitWrite } = mdsService.methods;
    const data: number[] = [writeObject, syncObjects, resizeObject].map(({ opcode }) => opcode);

    const layout = { stripeBytes: limits.stripeBytesMin, replicas: 2 };
    const file = await fileSystem.create("/f", { layout });
    await Promise.all([0, 1, 2, 5].map((part) => file.write(part * 70_000, content)));
    await file.close();
    requireLast(recorder.take(), commit.opcode, data);

    const open = await fileSystem.openForWriting("/f");
    await open.write(1_000_000, content);
    await open.sync();
    requireLast(recorder.take(), commitWrite.opcode, data);
    await open.write(0, content);
    await open.close();
    requireLast(recorder.take(), commitWrite.opcode, data);
  });
});

/** Every data request was answered before the commit was sent. */
function requireLast(
  events: readonly { what: "request" | "reply"; opcode: number }[],
  commitOpcode: number,
  data: readonly number[],
): void {
  const at = events.findIndex(({ what, opcode }) => what === "request" && opcode === commitOpcode);
  assert(at >= 0, "the commit was sent");
  const count = (what: string, part: typeof events) =>
    part.filter((event) => event.what === what && data.includes(event.opcode)).length;
  const before = events.slice(0, at);
  assert(count("request", before) > 0);
  assert.equal(count("reply", before), count("request", before), "a data request was under way");
  assert.equal(count("request", events.slice(at)), 0, "a data request came after the commit");
}

Deno.test("power that fails during a put leaves the whole file or none", async () => {
  await withCluster({ osts: 2 }, async (cluster) => {
    const fileSystem = cluster.fileSystem();
    const file = await fileSystem.create("/f", { layout: { replicas: 2 } });
    await file.write(0, content);
    for (const [index, { disk }] of cluster.targets.entries()) {
      await cluster.crash(`oss${index}`);
      disk.crash();
      await cluster.startOss(index);
    }
    // Its bytes are gone with the page cache: no size must claim them.
    await assert.rejects(file.close(), (error) => error instanceof RustreError);
    assert.equal(await fileSystem.find("/f"), undefined);
  });
});
