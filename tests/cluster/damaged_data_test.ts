// What a client makes of damaged bytes: right bytes or an error, and a repair.

import assert from "node:assert/strict";
import type { Cluster, FileSystem } from "../../client/mod.ts";
import { download, downloadStream } from "../../client/mod.ts";
import { objectId } from "../../shared/layout.ts";
import { limits } from "../../shared/limits.ts";
import type { Attributes } from "../../shared/model.ts";
import { ossService } from "../../shared/protocol/oss.ts";
import { root, type TestCluster, withCluster } from "../support/cluster.ts";
import { TamperingTransport } from "../support/tampering_transport.ts";

const { transferBytes, checksumBlockBytes: blockBytes } = limits;
const lengthBytes = 2 * transferBytes + 100;
const content = Uint8Array.from({ length: lengthBytes }, (_, at) => (at * 31 + (at >> 12)) & 0xff);

/** A file in one object on OSTs 0, 1, … or others; says which. */
async function makeFile(
  fileSystem: FileSystem,
  replicas: number,
  path = "/file",
): Promise<{ attributes: Attributes; object: string; osts: readonly number[] }> {
  await using file = await fileSystem.create(path, { layout: { stripeCount: 1, replicas } });
  await file.write(0, content);
  await file.close();
  const { attributes } = file;
  return { attributes, object: objectId(attributes.ino, 0), osts: attributes.layout.targets[0]! };
}

function diskOf(cluster: TestCluster, ost: number | undefined) {
  return cluster.targets[ost!]!.disk;
}

async function readAll(fileSystem: FileSystem, path = "/file"): Promise<Uint8Array> {
  await using file = await fileSystem.open(path);
  return await file.read(0, file.sizeBytes);
}

function same(actual: Uint8Array, expected: Uint8Array): void {
  assert.equal(Buffer.compare(actual, expected), 0);
}

const nothingBad = { mismatches: 0, damagedCopies: 0, otherReplicaReads: 0, repairedBlocks: 0 };

/** A client of its own, closed behind `use`; what it met of damage. */
async function asClient(
  cluster: TestCluster,
  use: (fileSystem: FileSystem, client: Cluster) => Promise<unknown>,
) {
  const client = cluster.connect();
  await use(client.fileSystem(root), client);
  await client.close();
  return client.integrity;
}

const damages: Record<string, (disk: ReturnType<typeof diskOf>, object: string) => void> = {
  "a flipped bit": (disk, object) => disk.corruptByte(object, transferBytes + 5000),
  "a changed checksum": (disk, object) => disk.corruptChecksum(object, 300),
  "a flipped bit in the last block, which is read in part": (disk, object) =>
    disk.corruptByte(object, lengthBytes - 1),
};

for (const [what, damage] of Object.entries(damages)) {
  Deno.test(`${what} on the first replica: right bytes, and a good copy at the next read`, () =>
    withCluster({ osts: 3 }, async (cluster) => {
      const { object, osts } = await makeFile(cluster.fileSystem(), 2);
      damage(diskOf(cluster, osts[0]), object);
      const read = (fileSystem: FileSystem) =>
        readAll(fileSystem).then((bytes) => same(bytes, content));
      const { mismatches: _, ...counts } = await asClient(cluster, read);
      assert.deepEqual(counts, { damagedCopies: 1, otherReplicaReads: 1, repairedBlocks: 1 });
      assert.deepEqual(await asClient(cluster, read), nothingBad);
    }));
}

Deno.test("many damaged blocks: each is read right, and repaired once", () =>
  withCluster({ osts: 2 }, async (cluster) => {
    const { object, osts } = await makeFile(cluster.fileSystem(), 2);
    for (const block of [0, 1, 7, 256, 511]) {
      diskOf(cluster, osts[0]).corruptByte(object, block * blockBytes);
    }
    const counts = await asClient(cluster, async (fileSystem) => {
      await using file = await fileSystem.open("/file");
      const reads = Array.from(
        { length: lengthBytes / blockBytes },
        (_, block) => file.read(block * blockBytes, blockBytes),
      );
      for (const [block, bytes] of (await Promise.all(reads)).entries()) {
        same(bytes, content.subarray(block * blockBytes, (block + 1) * blockBytes));
      }
    });
    assert.equal(counts.damagedCopies, 5);
    assert.equal(counts.repairedBlocks, 5);
  }));

Deno.test("damage on the only copy: an error that names file, object and OST, and no file", () =>
  withCluster({ osts: 2 }, async (cluster) => {
    const fileSystem = cluster.fileSystem();
    const { object, osts } = await makeFile(fileSystem, 1);
    diskOf(cluster, osts[0]).corruptByte(object, transferBytes);
    const damaged = {
      code: "DATA_CORRUPT",
      message: `Cannot read "/file": object ${object} on OST ${osts[0]} is damaged, and there is ` +
        "no other copy",
    };
    const started = cluster.clock.monotonicMs();
    await assert.rejects(readAll(fileSystem), damaged);
    assert(cluster.clock.monotonicMs() - started < 1000, "it is not tried again");
    const directory = await Deno.makeTempDir();
    try {
      const environment = cluster.environment("local");
      const downloading = download(fileSystem, "/file", `${directory}/f`, { environment });
      await assert.rejects(downloading, damaged);
      assert.deepEqual([...Deno.readDirSync(directory)], []);
    } finally {
      await Deno.remove(directory, { recursive: true });
    }
    let written = 0;
    const sink = {
      write(bytes: Uint8Array) {
        same(bytes, content.subarray(written, written + bytes.length));
        written += bytes.length;
        return Promise.resolve(bytes.length);
      },
    };
    await assert.rejects(downloadStream(fileSystem, "/file", sink, { name: "sink" }), damaged);
    assert.equal(written, transferBytes, "what is good, up to what is not");
    await using file = await fileSystem.open("/file");
    same(await file.read(0, transferBytes), content.subarray(0, transferBytes));
  }));

Deno.test("damage on all copies: an error that names them", () =>
  withCluster({ osts: 2 }, async (cluster) => {
    const fileSystem = cluster.fileSystem();
    const { object, osts } = await makeFile(fileSystem, 2);
    for (const ost of osts) diskOf(cluster, ost).corruptByte(object, 5);
    const [first, second] = osts;
    await assert.rejects(readAll(fileSystem), {
      code: "DATA_CORRUPT",
      message: `Cannot read "/file": object ${object} on OST ${first} and OST ${second} is ` +
        "damaged, and there is no other copy",
    });
  }));

Deno.test("a damaged copy, the other one on an OST that is down: tried until that is up", () =>
  withCluster({ osts: 2 }, async (cluster) => {
    const fileSystem = cluster.fileSystem();
    const { object, osts } = await makeFile(fileSystem, 2);
    diskOf(cluster, osts[0]).corruptByte(object, 5);
    await cluster.crash(`oss${osts[1]}`);
    const damaged = new RegExp(
      `^Cannot read "/file": object ${object} on OST ${osts[0]} is damaged, and `,
    );
    await assert.rejects(readAll(fileSystem), { message: damaged });
    const reading = readAll(fileSystem);
    await cluster.sleep(3000);
    await cluster.startOss(osts[1]!);
    same(await reading, content);
  }));

Deno.test("bytes that are changed on their way to the reader are read again", () =>
  withCluster({ osts: 2 }, async (cluster) => {
    await makeFile(cluster.fileSystem(), 1);
    const transport = new TamperingTransport(cluster.network.transport("far"));
    const client = cluster.connect("far", { transport });
    transport.change("received", ossService.methods.readObject.opcode, 2);
    same(await readAll(client.fileSystem(root)), content);
    assert.equal(transport.changed, 2);
    assert.deepEqual(client.integrity, { ...nothingBad, mismatches: 2 }, "no OST is to blame");
  }));

Deno.test("bytes that are changed on their way again and again are an error in the end", () =>
  withCluster({ osts: 2 }, async (cluster) => {
    await makeFile(cluster.fileSystem(), 2);
    const transport = new TamperingTransport(cluster.network.transport("far"));
    const client = cluster.connect("far", { transport });
    transport.change("received", ossService.methods.readObject.opcode, Infinity);
    await assert.rejects(readAll(client.fileSystem(root)), { code: "CHECKSUM_MISMATCH" });
    assert.equal(client.integrity.damagedCopies, 0);
  }));

Deno.test("bytes that are changed on their way to the OST are written again", () =>
  withCluster({ osts: 2 }, async (cluster) => {
    const transport = new TamperingTransport(cluster.network.transport("far"));
    const client = cluster.connect("far", { transport });
    transport.change("sent", ossService.methods.writeObject.opcode, 2);
    await makeFile(client.fileSystem(root), 2);
    assert.equal(transport.changed, 2);
    same(await readAll(cluster.fileSystem()), content);
  }));

Deno.test("bytes that are changed on their way to the OST again and again are not stored", () =>
  withCluster({ osts: 2 }, async (cluster) => {
    const transport = new TamperingTransport(cluster.network.transport("far"));
    const client = cluster.connect("far", { transport });
    transport.change("sent", ossService.methods.writeObject.opcode, Infinity);
    await assert.rejects(makeFile(client.fileSystem(root), 2), { code: "CHECKSUM_MISMATCH" });
    assert.equal(await cluster.fileSystem().find("/file"), undefined);
  }));

Deno.test("a part of a damaged block is written when its rest has been brought back", () =>
  withCluster({ osts: 2 }, async (cluster) => {
    const fileSystem = cluster.fileSystem();
    const { object, osts } = await makeFile(fileSystem, 2);
    diskOf(cluster, osts[1]).corruptByte(object, blockBytes);
    const expected = content.slice();
    expected.fill(9, blockBytes + 10, blockBytes + 20);
    await using file = await fileSystem.openForWriting("/file");
    await file.write(blockBytes + 10, new Uint8Array(10).fill(9));
    await file.close();
    same(await readAll(cluster.fileSystem()), expected);
  }));

Deno.test("a part of a block that is damaged everywhere is not written, the whole of it is", () =>
  withCluster({ osts: 2 }, async (cluster) => {
    const fileSystem = cluster.fileSystem();
    for (const replicas of [1, 2]) {
      const path = `/${replicas}`;
      const { object, osts } = await makeFile(fileSystem, replicas, path);
      for (const ost of osts) diskOf(cluster, ost).corruptByte(object, blockBytes);
      await using file = await fileSystem.openForWriting(path);
      await assert.rejects(file.write(blockBytes, new Uint8Array(10)), { code: "DATA_CORRUPT" });
      await file.write(blockBytes, content.subarray(blockBytes, 2 * blockBytes));
      await file.close();
      same(await readAll(cluster.fileSystem(), path), content);
    }
  }));

Deno.test("a client that does not verify takes what it gets", () =>
  withCluster({ osts: 2, uncheckedBecause: "nobody notices the damage" }, async (cluster) => {
    const { object, osts } = await makeFile(cluster.fileSystem(), 2);
    diskOf(cluster, osts[0]).corruptByte(object, 0);
    const client = cluster.connect("careless", {}, { verifyChecksums: false });
    const bytes = await readAll(client.fileSystem(root));
    assert.equal(bytes[0], content[0]! ^ 1);
  }));

Deno.test("close() does not wait for ever for a repair", () =>
  withCluster({ osts: 2, uncheckedBecause: "the damage is not repaired" }, async (cluster) => {
    const { object, osts } = await makeFile(cluster.fileSystem(), 2);
    diskOf(cluster, osts[0]).corruptByte(object, 0);
    const client = cluster.connect();
    same(await readAll(client.fileSystem(root)), content);
    cluster.network.freeze(`oss${osts[0]}`);
    const startMs = cluster.clock.monotonicMs();
    await client.close();
    const tookMs = cluster.clock.monotonicMs() - startMs;
    cluster.network.freeze(`oss${osts[0]}`, false);
    assert(tookMs >= limits.clientRepairsCloseMs && tookMs < limits.clientRepairsCloseMs + 3000);
  }));
