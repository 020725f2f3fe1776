// One open file: what reads see, what sync promises, what close does, and what happens to bytes that
// nobody synced.

import assert from "node:assert/strict";
import type { FileSystem, OpenFile } from "../../client/mod.ts";
import { limits } from "../../shared/limits.ts";
import { type TestCluster, withCluster } from "../support/cluster.ts";

const stripeBytes = limits.stripeBytesMin;
const narrow = { stripeBytes, stripeCount: 1 };

function bytes(length: number, fill: number): Uint8Array<ArrayBuffer> {
  return new Uint8Array(length).fill(fill);
}

async function writeFile(
  fileSystem: FileSystem,
  path: string,
  content: Uint8Array,
  layout = narrow,
): Promise<void> {
  await using file = await fileSystem.create(path, { layout });
  await file.write(0, content);
  await file.close();
}

async function readFile(fileSystem: FileSystem, path: string): Promise<Uint8Array> {
  await using file = await fileSystem.open(path);
  return await file.read(0, file.sizeBytes);
}

/** The power of every OST goes and comes back: only what was synced is left. */
async function cutPower(cluster: TestCluster): Promise<void> {
  for (const [index, { disk }] of cluster.targets.entries()) {
    await cluster.crash(`oss${index}`);
    disk.crash();
    await cluster.startOss(index);
  }
}

Deno.test("sync() holds for a write that was under way during an earlier sync()", async () => {
  await withCluster({ osts: 1 }, async (cluster) => {
    const fileSystem = cluster.fileSystem();
    await writeFile(fileSystem, "/f", bytes(1000, 1));
    await using file = await fileSystem.openForWriting("/f");
    // The write gets nowhere at first and is sent again; the sync overtakes it.
    cluster.network.freeze("oss0");
    const writing = file.write(0, bytes(1000, 2));
    await cluster.sleep(1);
    cluster.network.disconnect("oss0");
    cluster.network.freeze("oss0", false);
    await cluster.sleep(0);
    await file.sync();
    await writing;
    await file.sync();
    await cutPower(cluster);
    assert.deepEqual(await readFile(fileSystem, "/f"), bytes(1000, 2));
  });
});

Deno.test("sync() does not return before an earlier sync() of the same bytes", async () => {
  await withCluster({ osts: 1 }, async (cluster) => {
    const fileSystem = cluster.fileSystem();
    await writeFile(fileSystem, "/f", bytes(1000, 1));
    await using file = await fileSystem.openForWriting("/f");
    await file.write(0, bytes(1000, 2));
    cluster.network.freeze("oss0");
    const first = file.sync();
    await cluster.sleep(1);
    let returned = false;
    const second = file.sync().then(() => returned = true);
    await cluster.sleep(500);
    assert(!returned, "the bytes are not on disk yet");
    cluster.network.freeze("oss0", false);
    await Promise.all([first, second]);
  });
});

Deno.test("sync() does not mind a write under way to an object that is not there yet", async () => {
  await withCluster({ osts: 2 }, async (cluster) => {
    const fileSystem = cluster.fileSystem();
    await using file = await fileSystem.create("/f", { layout: { stripeBytes } });
    await file.write(0, bytes(10, 1));
    const writing = file.write(stripeBytes, bytes(10, 2));
    await file.sync();
    await writing;
    await file.close();
    assert.equal((await fileSystem.stat("/f")).sizeBytes, stripeBytes + 10);
  });
});

Deno.test("read() sees what another client has committed, never zeros in its place", async () => {
  await withCluster({ osts: 1 }, async (cluster) => {
    const [ours, theirs] = [cluster.fileSystem(), cluster.fileSystem()];
    await ours.createEmpty("/f", { layout: narrow });
    await using our = await ours.openForWriting("/f");
    await using their = await theirs.openForWriting("/f");
    await their.write(0, bytes(1000, 7));
    await their.sync();
    await our.write(0, bytes(10, 1));
    await our.sync();
    assert.equal(our.sizeBytes, 1000);
    assert.deepEqual(await our.read(10, 990), bytes(990, 7));
  });
});

Deno.test("close() of a file that was overwritten in place changes its mtime", async () => {
  await withCluster({ osts: 1 }, async (cluster) => {
    const fileSystem = cluster.fileSystem();
    await writeFile(fileSystem, "/f", bytes(100, 1));
    const before = await fileSystem.stat("/f");
    await cluster.sleep(5_000);
    await using file = await fileSystem.openForWriting("/f");
    await file.write(0, bytes(10, 2));
    await file.close();
    const after = await fileSystem.stat("/f");
    assert(after.mtimeNs > before.mtimeNs);
    assert.equal(after.sizeBytes, 100);
  });
});

Deno.test("sync() and close() of a file that was not written to leave its mtime", async () => {
  await withCluster({ osts: 1 }, async (cluster) => {
    const fileSystem = cluster.fileSystem();
    await writeFile(fileSystem, "/f", bytes(100, 1));
    const before = await fileSystem.stat("/f");
    await cluster.sleep(5_000);
    await using file = await fileSystem.openForWriting("/f");
    await file.sync();
    await file.close();
    assert.deepEqual(await fileSystem.stat("/f"), before);
  });
});

Deno.test("close() called twice at once closes once, and nothing is written during it", async () => {
  await withCluster({ osts: 1 }, async (cluster) => {
    const fileSystem = cluster.fileSystem();
    const file = await fileSystem.create("/f", { layout: narrow });
    await file.write(0, bytes(100, 1));
    const closing = [file.close(), file.close()];
    await assert.rejects(file.write(0, bytes(1, 9)), { code: "EBADF" });
    await Promise.all(closing);
    assert.deepEqual(await readFile(fileSystem, "/f"), bytes(100, 1));
  });
});

Deno.test("write() that is interrupted says so, and the file goes on", async () => {
  await withCluster({ osts: 1 }, async (cluster) => {
    const fileSystem = cluster.fileSystem();
    await using file = await fileSystem.create("/f", { layout: narrow });
    cluster.network.freeze("oss0");
    const interruption = new AbortController();
    const content = bytes(40 * stripeBytes, 1);
    const writing = file.write(0, content, { signal: interruption.signal });
    await cluster.sleep(1);
    interruption.abort();
    await assert.rejects(writing, { code: "INTERRUPTED" });
    cluster.network.freeze("oss0", false);
    await cluster.sleep(5_000);
    await file.write(0, bytes(10, 2));
    await file.close();
    assert.deepEqual(await readFile(fileSystem, "/f"), bytes(10, 2));
  });
});

Deno.test("a file that is open for writing twice stays so when one of the two closes", async () => {
  await withCluster({ osts: 1 }, async (cluster) => {
    const client = cluster.connect();
    const [one, other] = [
      client.fileSystem({ uid: 0, gid: 0, groups: [] }),
      client.fileSystem({ uid: 0, gid: 5, groups: [] }),
    ];
    await one.createEmpty("/f", { layout: narrow });
    const first = await one.openForWriting("/f");
    const second = await other.openForWriting("/f");
    await first.close();
    const stranger = cluster.fileSystem();
    await assert.rejects(stranger.setAttributes("/f", { sizeBytes: 0 }), { code: "EBUSY" });
    await second.write(0, bytes(10, 1));
    await second.close();
    await stranger.setAttributes("/f", { sizeBytes: 5 });
  });
});

Deno.test("a file opened for writing while another handle of it closes stays open", async () => {
  await withCluster({ osts: 1 }, async (cluster) => {
    const fileSystem = cluster.fileSystem();
    await fileSystem.createEmpty("/f", { layout: narrow });
    let file: OpenFile = await fileSystem.openForWriting("/f");
    for (let round = 0; round < 20; round++) {
      const [next] = await Promise.all([fileSystem.openForWriting("/f"), file.close()]);
      await next.write(round, bytes(1, round));
      await next.sync();
      file = next;
    }
    await file.close();
  });
});

Deno.test("a file that the same client has open for writing is not cut under it", async () => {
  await withCluster({ osts: 1 }, async (cluster) => {
    const fileSystem = cluster.fileSystem();
    await writeFile(fileSystem, "/f", bytes(1000, 1));
    await using file = await fileSystem.openForWriting("/f");
    await assert.rejects(fileSystem.setAttributes("/f", { sizeBytes: 10 }), { code: "EBUSY" });
    await file.write(500, bytes(10, 2));
    await file.close();
    const content = await readFile(fileSystem, "/f");
    assert.deepEqual(content.subarray(500, 511), Uint8Array.from([...bytes(10, 2), 1]));
  });
});

Deno.test("close() after a write that failed at the end keeps what was written before", async () => {
  await withCluster({ osts: 2 }, async (cluster) => {
    const fileSystem = cluster.fileSystem();
    await using file = await fileSystem.create("/f", { layout: { stripeBytes } });
    await file.write(0, bytes(100, 1));
    const interruption = new AbortController();
    const writing = file.write(stripeBytes, bytes(10, 2), { signal: interruption.signal });
    interruption.abort();
    await assert.rejects(writing, { code: "INTERRUPTED" });
    await file.close();
    assert.deepEqual(await readFile(fileSystem, "/f"), bytes(100, 1));
  });
});

Deno.test("read() of a file that was cut since it was opened ends where it ends now", async () => {
  await withCluster({ osts: 2 }, async (cluster) => {
    const fileSystem = cluster.fileSystem();
    await writeFile(fileSystem, "/f", bytes(1000, 1));
    await using file = await fileSystem.open("/f");
    await fileSystem.setAttributes("/f", { sizeBytes: 10 });
    await cluster.sleep(2_000);
    assert.deepEqual(await file.read(0, 1000), bytes(10, 1));
    assert.equal(file.sizeBytes, 10);
    await fileSystem.setAttributes("/f", { sizeBytes: 0 });
    await fileSystem.setAttributes("/f", { sizeBytes: 20 });
    await cluster.sleep(2_000);
    assert.deepEqual(await file.read(0, 1000), bytes(20, 0));
  });
});

Deno.test("read() of a file that was removed since it was opened says so", async () => {
  await withCluster({ osts: 2 }, async (cluster) => {
    const fileSystem = cluster.fileSystem();
    await writeFile(fileSystem, "/f", bytes(1000, 1));
    await using file = await fileSystem.open("/f");
    await fileSystem.unlink("/f");
    await cluster.eventually(() => cluster.usage().objects === 0, 5_000);
    await assert.rejects(file.read(0, 1000), {
      code: "OBJECT_GONE",
      message: 'Cannot read "/f": it was removed or replaced while it was read',
    });
  });
});

Deno.test("a reader of a file that has grown and lost bytes makes no zeros of them", async () => {
  const uncheckedBecause = "an object is lost";
  await withCluster({ osts: 1, uncheckedBecause }, async (cluster) => {
    const fileSystem = cluster.fileSystem();
    await writeFile(fileSystem, "/f", bytes(1000, 1));
    await using file = await cluster.fileSystem().open("/f");
    await using growing = await fileSystem.openForWriting("/f");
    await growing.write(1000, bytes(2000, 2));
    await growing.close();
    const [object] = cluster.targets[0]!.disk.objects.keys();
    cluster.targets[0]!.disk.drop(object!);
    for (const offset of [0, 1500, 0]) {
      await assert.rejects(file.read(offset, 1000), { code: "DATA_MISSING" });
    }
    assert.deepEqual(cluster.usage().objects, 0);
  });
});
