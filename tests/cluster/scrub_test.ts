// Scrubbing a whole cluster through the client library: disks go bad below files, and what becomes
// of them.

import assert from "node:assert/strict";
import type { FileSystem, ScrubFinding, ScrubOptions, ScrubProgress } from "../../client/mod.ts";
import type { MemoryDisk } from "../../oss/memory_disk.ts";
import { checksumsOf, encodeChecksums } from "../../shared/checksums.ts";
import { objectId } from "../../shared/layout.ts";
import { limits } from "../../shared/limits.ts";
import { ossService } from "../../shared/protocol/oss.ts";
import { pattern } from "../support/object_bytes.ts";
import { type TestCluster, withCluster } from "../support/cluster.ts";

const stripeBytes = limits.stripeBytesMin;
const uncheckedBecause = "damage that nobody can repair";

/** A closed file. */
async function makeFile(
  fileSystem: FileSystem,
  path: string,
  bytes: Uint8Array,
  layout: { stripeCount: number; replicas: number },
) {
  await using file = await fileSystem.create(path, { layout: { stripeBytes, ...layout } });
  await file.write(0, bytes);
  await file.close();
  return file.attributes;
}

async function readFile(fileSystem: FileSystem, path: string): Promise<Uint8Array> {
  await using file = await fileSystem.open(path);
  return await file.read(0, file.sizeBytes);
}

/** Scrubs, and collects what it says. */
async function scrub(cluster: TestCluster, options: ScrubOptions = {}) {
  await using client = cluster.connect();
  const said: string[] = [];
  const failures: string[] = [];
  const progress: ScrubProgress[] = [];
  const summary = await client.scrub({
    onFinding: ({ object, targetIndex, offsetBytes, lengthBytes, outcome }: ScrubFinding) => {
      said.push(`${object} OST ${targetIndex} ${offsetBytes}+${lengthBytes}: ${outcome}`);
    },
    onFailure: (targetIndex, { code }) => failures.push(`OST ${targetIndex}: ${code}`),
    onProgress: (each) => progress.push(each),
    ...options,
  });
  return { ...summary, said: said.sort(), failures, progress };
}

const nothing = { repaired: 0, lost: 0, gone: 0, failed: 0, damaged: 0 };

function diskOf(cluster: TestCluster, index: number): MemoryDisk {
  return cluster.targets[index]!.disk;
}

Deno.test("scrub() reads every object of every OST and finds nothing where all is well", async () => {
  await withCluster({ osts: 4 }, async (cluster) => {
    const fileSystem = cluster.fileSystem();
    const bytes = pattern(1, 10 * stripeBytes + 5);
    await makeFile(fileSystem, "/a", bytes, { stripeCount: 4, replicas: 1 });
    await makeFile(fileSystem, "/b", bytes, { stripeCount: 2, replicas: 3 });
    await fileSystem.createEmpty("/c");
    await cluster.sleep(limits.usageRefreshMs);
    const { said, progress, ...summary } = await scrub(cluster);
    const { objects, bytes: usedBytes } = cluster.usage();
    const expected = { objects, bytes: usedBytes, findings: nothing, failedTargets: [] };
    assert.deepEqual(summary, { ...expected, failures: [] });
    assert.deepEqual(said, []);
    const last = progress.at(-1)!;
    assert.deepEqual(last, {
      expectedObjects: objects,
      expectedBytes: usedBytes,
      objects,
      bytes: usedBytes,
    });
    const one = await scrub(cluster, { targets: [2] });
    assert.equal(one.objects, diskOf(cluster, 2).objects.size);
  });
});

Deno.test("scrub() repairs what has a good copy, and a second one finds nothing", async () => {
  await withCluster({ osts: 4 }, async (cluster) => {
    const fileSystem = cluster.fileSystem();
    const bytes = pattern(2, 6 * stripeBytes + 100);
    const { ino, layout } = await makeFile(fileSystem, "/f", bytes, {
      stripeCount: 2,
      replicas: 2,
    });
    const object = objectId(ino, 0);
    const [primary, replica] = layout!.targets[0]!;
    diskOf(cluster, primary!).corruptByte(object, 5);
    diskOf(cluster, replica!).corruptChecksum(object, 3);
    const found = await scrub(cluster);
    assert.deepEqual(found.findings, { ...nothing, repaired: 2 });
    assert.deepEqual(
      found.said,
      [
        `${object} OST ${primary} 0+4096: repaired`,
        `${object} OST ${replica} 12288+4096: repaired`,
      ].sort(),
    );
    assert.deepEqual((await scrub(cluster)).findings, nothing);
    assert.deepEqual(await readFile(fileSystem, "/f"), bytes);
    await cluster.sleep(limits.usageRefreshMs);
    const { targets } = await cluster.connect().map();
    for (const { index, usage } of targets) {
      const expected = index === primary || index === replica ? 1 : 0;
      const { corruptBlocks, repairedBlocks } = usage;
      assert.deepEqual([corruptBlocks, repairedBlocks], [expected, expected], `OST ${index}`);
    }
  });
});

Deno.test("scrub() tells what is lost, and the file can be read but for that", async () => {
  await withCluster({ osts: 2, uncheckedBecause }, async (cluster) => {
    const fileSystem = cluster.fileSystem();
    const bytes = pattern(3, 2 * stripeBytes);
    const { ino } = await makeFile(fileSystem, "/f", bytes, { stripeCount: 1, replicas: 2 });
    const object = objectId(ino, 0);
    for (const index of [0, 1]) diskOf(cluster, index).corruptByte(object, 4096 + index);
    for (const _ of [1, 2]) {
      const { findings } = await scrub(cluster);
      assert.deepEqual(findings, { ...nothing, lost: 2 });
    }
    await using file = await fileSystem.open("/f");
    assert.deepEqual(await file.read(0, 4096), bytes.slice(0, 4096));
    await assert.rejects(file.read(4000, 100), { code: "DATA_CORRUPT" });
  });
});

Deno.test("scrub() without repair leaves everything as it is", async () => {
  await withCluster({ osts: 2, uncheckedBecause }, async (cluster) => {
    const fileSystem = cluster.fileSystem();
    const { ino } = await makeFile(fileSystem, "/f", pattern(4, 10_000), {
      stripeCount: 1,
      replicas: 2,
    });
    const object = objectId(ino, 0);
    diskOf(cluster, 1).corruptChecksums(object);
    for (const _ of [1, 2]) {
      const { findings, said } = await scrub(cluster, { repair: false });
      assert.deepEqual(findings, { ...nothing, damaged: 1 });
      assert.deepEqual(said, [`${object} OST 1 0+10000: damaged`]);
    }
  });
});

Deno.test("scrub() leaves objects alone that no file has", async () => {
  await withCluster({ osts: 2, uncheckedBecause: "an object without a file" }, async (cluster) => {
    const object = objectId(2 ** 40, 0);
    const { epoch } = await cluster.connect().map();
    const disk = diskOf(cluster, 0);
    await using rpc = cluster.rpc("writer");
    const payload = pattern(1, 100);
    const checksums = encodeChecksums(checksumsOf(0, payload));
    const write = { epoch, object, offsetBytes: 0, replicas: [], sync: false, checksums };
    await rpc.call(cluster.endpoint("oss0"), ossService, "writeObject", write, { payload });
    disk.corruptByte(object, 50);
    const { findings, said } = await scrub(cluster);
    assert.deepEqual(findings, { ...nothing, gone: 1 });
    assert.deepEqual(said, [`${object} OST 0 0+100: gone`]);
  });
});

Deno.test("scrub() goes on where an OST is down, and says so", async () => {
  await withCluster({ osts: 3, uncheckedBecause }, async (cluster) => {
    const fileSystem = cluster.fileSystem();
    const bytes = pattern(5, stripeBytes);
    const layout = { stripeCount: 1, replicas: 3 };
    const { ino } = await makeFile(fileSystem, "/f", bytes, layout);
    const object = objectId(ino, 0);
    diskOf(cluster, 0).corruptByte(object, 0);
    for (const index of [0, 1]) diskOf(cluster, index).corruptByte(object, 8192 + index);
    await cluster.stop("oss2");
    const { findings, failures, failedTargets } = await scrub(cluster);
    assert.deepEqual([failures, failedTargets], [["OST 2: TARGET_DOWN"], [2]]);
    assert.equal(findings.repaired + findings.failed, 3);
    assert.ok(findings.failed >= 1, "the copy on OST 2 may be good");
    await cluster.startOss(2);
    await cluster.allUp();
    const later = await scrub(cluster);
    assert.deepEqual([later.findings.lost, later.findings.failed, later.failures], [0, 0, []]);
    assert.deepEqual((await scrub(cluster)).findings, nothing);
    await assert.rejects(scrub(cluster, { targets: [7] }), { code: "WRONG_TARGET" });
  });
});

Deno.test("scrub() finds damage of files that are written at the same time, and loses nothing", async () => {
  await withCluster({ osts: 3 }, async (cluster) => {
    const fileSystem = cluster.fileSystem();
    const bytes = pattern(6, 4 * stripeBytes);
    const layout = { stripeCount: 1, replicas: 2 };
    const { ino, layout: { targets } = { targets: [] } } = await makeFile(
      fileSystem,
      "/f",
      bytes,
      layout,
    );
    const [primary, replica] = targets[0]!;
    const writing = (async () => {
      await using file = await fileSystem.openForWriting("/f");
      for (let round = 0; round < 40; round++) {
        const written = pattern(round, 3_000 + round);
        const offsetBytes = (round * 7_919) % (bytes.length - written.length);
        await file.write(offsetBytes, written);
        bytes.set(written, offsetBytes);
        await cluster.sleep(1);
      }
      await file.close();
    })();
    for (let round = 0; round < 20; round++) {
      const index = round % 2 === 0 ? primary! : replica!;
      diskOf(cluster, index).corruptByte(objectId(ino, 0), (round * 104_729) % bytes.length);
      const { findings } = await scrub(cluster);
      assert.deepEqual([findings.lost, findings.failed], [0, 0]);
    }
    await writing;
    assert.deepEqual(await readFile(fileSystem, "/f"), bytes);
  });
});
