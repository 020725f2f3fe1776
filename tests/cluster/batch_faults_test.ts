// One file of a batch that is refused, malformed or damaged, and the others that have nothing to do
// with it.

import assert from "node:assert/strict";
import type { FileSystem, WriteFileOptions } from "../../client/mod.ts";
import { isRustreError } from "../../shared/errors.ts";
import { limits } from "../../shared/limits.ts";
import { root, type TestCluster, withCluster } from "../support/cluster.ts";
import { loseInode, plant, schema, unreadable } from "../support/fsck.ts";

const content = Uint8Array.from({ length: 5_000 }, (_, index) => index % 251);

async function put(fileSystem: FileSystem, path: string, options: WriteFileOptions = {}) {
  await using file = await fileSystem.create(path, options);
  await file.write(0, content, { sync: true });
  await file.close();
}

/** The code with which each of the puts that were made at once has failed. */
async function putAtOnce(
  fileSystem: FileSystem,
  options: Readonly<Record<string, WriteFileOptions>>,
): Promise<Record<string, string>> {
  const failures: Record<string, string> = {};
  await Promise.all(
    Array.from({ length: 40 }, async (_, index) => {
      const path = `/file-${index}`;
      try {
        await put(fileSystem, path, options[path]);
      } catch (error) {
        if (!isRustreError(error)) throw error;
        failures[path] = error.code;
      }
    }),
  );
  return failures;
}

for (
  const [what, options] of Object.entries<WriteFileOptions>({
    "a mode that is none": { mode: 0o100644 },
    "a time that is none": { mtimeNs: 2n ** 63n },
    "a stripe size that is none": { layout: { stripeBytes: 1 } },
  })
) {
  Deno.test(`of files that are made at once one with ${what} is refused alone`, async () => {
    await withCluster({}, async (cluster) => {
      const failures = await putAtOnce(cluster.fileSystem(), { "/file-20": options });
      assert.deepEqual(failures, { "/file-20": "BAD_REQUEST" });
    });
  });
}

Deno.test("without an mgs a file that the newest map may allow keeps no others", async () => {
  await withCluster({}, async (cluster) => {
    const fileSystem = cluster.fileSystem();
    await put(fileSystem, "/first");
    // By then all have the same map.
    await cluster.sleep(2 * limits.mapRefreshMs);
    await cluster.crash("mgs0");
    const failures = await putAtOnce(fileSystem, { "/file-20": { layout: { stripeCount: 200 } } });
    assert.deepEqual(failures, { "/file-20": "UNREACHABLE" });
    await cluster.startMgs();
    await cluster.allUp();
  });
});

for (
  const [what, code, damage] of [
    ["without an inode", "INTERNAL", loseInode],
    [
      "with an inode that cannot be read",
      "STORE_FORMAT",
      (cluster, ino) =>
        plant(cluster, (transaction) => transaction.set(schema.inode(ino), unreadable)),
    ],
  ] as [string, string, (cluster: TestCluster, ino: number) => Promise<void>][]
) {
  Deno.test(`an entry ${what} is in the way of nobody who makes other files`, async () => {
    await withCluster({ uncheckedBecause: "damage was planted" }, async (cluster) => {
      const fileSystem = cluster.fileSystem();
      const { ino } = await fileSystem.createEmpty("/file-20");
      await damage(cluster, ino);
      const failures = await putAtOnce(fileSystem, { "/file-20": { replace: true } });
      assert.deepEqual(failures, { "/file-20": code });
    });
  });
}

Deno.test("files that are under way when the client is closed fail then, also while the mds hangs", async () => {
  await withCluster({}, async (cluster) => {
    const client = cluster.connect("client");
    const fileSystem = client.fileSystem(root);
    await put(fileSystem, "/first");
    cluster.network.freeze("mds0");
    const putting = putAtOnce(fileSystem, {});
    await cluster.sleep(100);
    await client.close();
    const closedMs = cluster.clock.monotonicMs();
    assert.equal(Object.keys(await putting).length, 40);
    const tookMs = cluster.clock.monotonicMs() - closedMs;
    cluster.network.freeze("mds0", false);
    assert(tookMs < limits.retryDelayMaxMs, `${tookMs} ms`);
  });
});
