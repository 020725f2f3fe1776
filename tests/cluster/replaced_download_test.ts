// Files that are replaced or removed while somebody reads them.

import assert from "node:assert/strict";
import type { FileSystem } from "../../client/mod.ts";
import { download, downloadStream } from "../../client/transfer/download.ts";
import { limits } from "../../shared/limits.ts";
import { type TestCluster, withCluster } from "../support/cluster.ts";

const lengthBytes = 3 * limits.transferBytes * limits.transferWindow;
const gone = {
  code: "OBJECT_GONE",
  message: 'Cannot read "/slow": it was removed or replaced while it was read',
};

async function replace(fileSystem: FileSystem, fill: number): Promise<void> {
  await using file = await fileSystem.create("/slow", { replace: true, layout: { replicas: 1 } });
  await file.write(0, new Uint8Array(lengthBytes).fill(fill));
  await file.close();
}

/** Replaces the file, and returns when the objects of the one before are destroyed. */
async function replaceAndCollect(cluster: TestCluster, fill: number): Promise<void> {
  await replace(cluster.fileSystem(), fill);
  await cluster.eventually(() => cluster.usage().bytes === lengthBytes, 5_000);
}

/** What the reader sees after each open: the file is replaced before its first read. */
function replacedAfterOpen(
  cluster: TestCluster,
  fileSystem: FileSystem,
  times: number,
): { opened: number } {
  const counts = { opened: 0 };
  const open = fileSystem.open.bind(fileSystem);
  fileSystem.open = async (path, options) => {
    const file = await open(path, options);
    if (counts.opened++ < times) await replaceAndCollect(cluster, 10 + counts.opened);
    return file;
  };
  return counts;
}

async function withLocalDirectory(test: (directory: string) => Promise<void>): Promise<void> {
  const directory = await Deno.makeTempDir();
  try {
    await test(directory);
  } finally {
    await Deno.remove(directory, { recursive: true });
  }
}

Deno.test("download() of a file that is replaced meanwhile begins again with the new one", async () => {
  await withLocalDirectory(async (directory) => {
    await withCluster({ osts: 2 }, async (cluster) => {
      const fileSystem = cluster.fileSystem();
      await replace(fileSystem, 1);
      const counts = replacedAfterOpen(cluster, fileSystem, limits.downloadRestartsMax);
      const environment = cluster.environment("local");
      const summary = await download(fileSystem, "/slow", `${directory}/f`, { environment });
      assert.equal(counts.opened, limits.downloadRestartsMax + 1);
      assert.equal(summary.bytes, lengthBytes, "what was read in vain does not count");
      const expected = new Uint8Array(lengthBytes).fill(10 + limits.downloadRestartsMax);
      assert.deepEqual(await Deno.readFile(`${directory}/f`), expected);
      assert.equal((await Array.fromAsync(Deno.readDir(directory))).length, 1);
    });
  });
});

Deno.test("download() of a file that is replaced again and again gives up and leaves nothing", async () => {
  await withLocalDirectory(async (directory) => {
    await withCluster({ osts: 2 }, async (cluster) => {
      const fileSystem = cluster.fileSystem();
      await replace(fileSystem, 1);
      const counts = replacedAfterOpen(cluster, fileSystem, Infinity);
      const environment = cluster.environment("local");
      const downloading = download(fileSystem, "/slow", `${directory}/f`, { environment });
      await assert.rejects(downloading, gone);
      assert.equal(counts.opened, limits.downloadRestartsMax + 1);
      assert.deepEqual(await Array.fromAsync(Deno.readDir(directory)), []);
    });
  });
});

Deno.test("downloadStream() of a file that is replaced meanwhile says so, in the middle too", async () => {
  await withCluster({ osts: 2 }, async (cluster) => {
    const fileSystem = cluster.fileSystem();
    await replace(fileSystem, 1);
    let written = 0;
    const sink = {
      async write(bytes: Uint8Array): Promise<number> {
        if (written === 0) await replaceAndCollect(cluster, 2);
        written += bytes.length;
        return bytes.length;
      },
    };
    await assert.rejects(downloadStream(fileSystem, "/slow", sink, { name: "sink" }), gone);
    assert(written > 0 && written < lengthBytes);
  });
});
