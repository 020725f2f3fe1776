// Cutting and growing files: what was cut off never comes back, and nobody cuts under a writer.

import assert from "node:assert/strict";
import type { FileSystem } from "../../client/mod.ts";
import { fileBytesMax, objectId } from "../../shared/layout.ts";
import { limits } from "../../shared/limits.ts";
import { withCluster } from "../support/cluster.ts";

const stripeBytes = limits.stripeBytesMin;
const layout = { stripeBytes };

function pattern(length: number): Uint8Array<ArrayBuffer> {
  return Uint8Array.from({ length }, (_, index) => 1 + index % 250);
}

async function put(fileSystem: FileSystem, path: string, length: number): Promise<void> {
  await using file = await fileSystem.create(path, { layout });
  await file.write(0, pattern(length));
  await file.close();
}

async function read(fileSystem: FileSystem, path: string): Promise<Uint8Array> {
  await using file = await fileSystem.open(path);
  return await file.read(0, file.sizeBytes);
}

Deno.test("a file that is cut and grown again shows zeros, not its old bytes", async () => {
  await withCluster({ osts: 3 }, async (cluster) => {
    const fileSystem = cluster.fileSystem();
    const length = 5 * stripeBytes + 100;
    for (const cut of [0, 1, stripeBytes - 1, stripeBytes, stripeBytes + 1, 4 * stripeBytes]) {
      await put(fileSystem, `/f${cut}`, length);
      await fileSystem.setAttributes(`/f${cut}`, { sizeBytes: cut });
      await fileSystem.setAttributes(`/f${cut}`, { sizeBytes: length });
      const expected = new Uint8Array(length);
      expected.set(pattern(cut));
      assert.deepEqual(await read(fileSystem, `/f${cut}`), expected);
      // A write far behind the cut makes objects longer, and must not uncover anything either.
      await using file = await fileSystem.openForWriting(`/f${cut}`);
      await file.write(length - 1, Uint8Array.of(9));
      await file.close();
      expected[length - 1] = 9;
      assert.deepEqual(await read(fileSystem, `/f${cut}`), expected);
    }
  });
});

// A repair at the primary would otherwise bring back what is cut off the others already.
Deno.test("a cut is carried out at the primary before the other replicas", async () => {
  await withCluster({ osts: 3 }, async (cluster) => {
    const fileSystem = cluster.fileSystem();
    const wide = { stripeBytes, stripeCount: 1, replicas: 3 };
    await using file = await fileSystem.create("/f", { layout: wide });
    await file.write(0, pattern(10_000));
    await file.close();
    const { ino, layout: { targets } } = file.attributes;
    const order: number[] = [];
    for (const index of targets[0]!) {
      const content = cluster.targets[index]!.disk.objects.get(objectId(ino, 0))!;
      let { lengthBytes } = content;
      Object.defineProperty(content, "lengthBytes", {
        get: () => lengthBytes,
        set: (length: number) => {
          lengthBytes = length;
          order.push(index);
        },
      });
    }
    await fileSystem.setAttributes("/f", { sizeBytes: 100 });
    await cluster.eventually(() => order.length === 3);
    assert.equal(order[0], targets[0]![0]);
  });
});

Deno.test("100 bytes, grown to 1 MiB: the 100 bytes are there and the rest is zero", async () => {
  await withCluster({}, async (cluster) => {
    const fileSystem = cluster.fileSystem();
    await put(fileSystem, "/f", 100);
    await fileSystem.setAttributes("/f", { sizeBytes: 2 ** 20 });
    const expected = new Uint8Array(2 ** 20);
    expected.set(pattern(100));
    assert.deepEqual(await read(fileSystem, "/f"), expected);
    assert.equal(cluster.usage().bytes, 100, "zeros that nobody wrote take no space");
  });
});

Deno.test("a cut frees the space of what was cut off", async () => {
  await withCluster({ osts: 3 }, async (cluster) => {
    const fileSystem = cluster.fileSystem();
    await put(fileSystem, "/f", 7 * stripeBytes);
    await fileSystem.setAttributes("/f", { sizeBytes: stripeBytes + 10 });
    await cluster.eventually(() => cluster.usage().bytes === stripeBytes + 10, 5_000);
    await fileSystem.setAttributes("/f", { sizeBytes: 0 });
    await cluster.eventually(() => cluster.usage().bytes === 0, 5_000);
  });
});

Deno.test("a file is not cut while anybody has it open for writing", async () => {
  await withCluster({}, async (cluster) => {
    const [fileSystem, other] = [cluster.fileSystem(), cluster.fileSystem()];
    await put(fileSystem, "/f", 100);
    const file = await fileSystem.openForWriting("/f");
    for (const each of [fileSystem, other]) {
      await assert.rejects(each.setAttributes("/f", { sizeBytes: 10 }), { code: "EBUSY" });
      await assert.rejects(each.setAttributes("/f", { sizeBytes: 1000 }), { code: "EBUSY" });
      await each.setAttributes("/f", { mode: 0o600 });
    }
    await file.close();
    await other.setAttributes("/f", { sizeBytes: 10 });
  });
});

Deno.test("an open for writing waits until a cut before it is carried out", async () => {
  await withCluster({ osts: 2 }, async (cluster) => {
    const fileSystem = cluster.fileSystem();
    await put(fileSystem, "/f", 2 * stripeBytes);
    await cluster.stop("oss1");
    await fileSystem.setAttributes("/f", { sizeBytes: 10 });
    await assert.rejects(fileSystem.openForWriting("/f"), { code: "EAGAIN" });
    const opening = fileSystem.openForWriting("/f");
    await cluster.startOss(1);
    await using file = await opening;
    await file.write(stripeBytes + 5, Uint8Array.of(7));
    await file.close();
    const expected = new Uint8Array(stripeBytes + 6);
    expected.set(pattern(10));
    expected[stripeBytes + 5] = 7;
    assert.deepEqual(await read(fileSystem, "/f"), expected);
  });
});

Deno.test("cuts that wait for an OST are in nobody's way", async () => {
  await withCluster({ osts: 2 }, async (cluster) => {
    const fileSystem = cluster.fileSystem();
    const onOne = { stripeBytes, stripeCount: 1 };
    const stuck: string[] = [];
    // More than the collector looks at in one go, all older than the one that is not stuck.
    let free = "";
    for (let index = 0; stuck.length < limits.collectBatch + 10 || free === ""; index++) {
      const path = `/f${index}`;
      await using file = await fileSystem.create(path, { layout: onOne });
      await file.write(0, pattern(10));
      await file.close();
      const [primary] = file.attributes.layout.targets[0]!;
      if (primary === 1) stuck.push(path);
      else if (stuck.length > limits.collectBatch) free = path;
    }
    await cluster.stop("oss1");
    for (const path of [...stuck, free]) await fileSystem.setAttributes(path, { sizeBytes: 0 });
    const { disk } = cluster.targets[0]!;
    const { ino } = await fileSystem.stat(free);
    const object = [...disk.objects.keys()].find((id) => Number.parseInt(id, 16) === ino)!;
    await cluster.eventually(() => disk.objects.get(object)!.lengthBytes === 0, 5_000);
  });
});

Deno.test("sizes beyond every bound are refused", async () => {
  await withCluster({ osts: 1 }, async (cluster) => {
    const fileSystem = cluster.fileSystem();
    await fileSystem.mkdir("/d");
    await fileSystem.symlink("d", "/l");
    const file = await fileSystem.createEmpty("/f", { layout });
    await assert.rejects(fileSystem.setAttributes("/d", { sizeBytes: 0 }), { code: "EISDIR" });
    await assert.rejects(fileSystem.setAttributes("/l", { sizeBytes: 0 }), { code: "EISDIR" });
    await assert.rejects(fileSystem.setAttributes("/l", { sizeBytes: 0 }, { follow: false }), {
      code: "EINVAL",
    });
    const most = fileBytesMax(file.layout!);
    await fileSystem.setAttributes("/f", { sizeBytes: most });
    await assert.rejects(fileSystem.setAttributes("/f", { sizeBytes: most + 1 }));
    await using open = await fileSystem.openForWriting("/f");
    await assert.rejects(open.write(most, new Uint8Array(1)));
    await assert.rejects(open.read(-1, 1), { code: "EINVAL" });
    assert.deepEqual(await open.read(most - 3, 100), new Uint8Array(3));
  });
});

Deno.test("a huge sparse file is read in parts without its zeros being stored", async () => {
  await withCluster({}, async (cluster) => {
    const fileSystem = cluster.fileSystem();
    await put(fileSystem, "/f", 10);
    await fileSystem.setAttributes("/f", { sizeBytes: 2 ** 40 });
    await using file = await fileSystem.open("/f");
    assert.deepEqual(await file.read(2 ** 39, 1000), new Uint8Array(1000));
    let seen = 0;
    for await (const part of file.readable({ lengthBytes: 8 * 2 ** 20 })) seen += part.length;
    assert.equal(seen, 8 * 2 ** 20);
    assert.equal(cluster.usage().bytes, 10);
  });
});
