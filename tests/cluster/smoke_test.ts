import assert from "node:assert/strict";
import { withCluster } from "../support/cluster.ts";

Deno.test("a cluster in one thread stores a file and reads it back", async () => {
  await withCluster({}, async (cluster) => {
    const fileSystem = cluster.fileSystem();
    await fileSystem.mkdir("/a");
    const bytes = Uint8Array.from({ length: 5_000_000 }, (_, index) => index * 7 & 0xff);
    {
      await using file = await fileSystem.create("/a/big", { layout: { replicas: 2 } });
      await file.write(0, bytes);
      assert.equal(await fileSystem.find("/a/big"), undefined);
      await file.close();
    }
    await using file = await fileSystem.open("/a/big");
    assert.deepEqual(await file.read(0, 6_000_000), bytes);
    assert.equal(cluster.usage().bytes, 2 * bytes.length);
    await fileSystem.unlink("/a/big");
    await cluster.eventually(() => cluster.usage().objects === 0);
  });
});
