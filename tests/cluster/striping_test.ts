// Layouts: what is asked for, what a directory hands down, where the bytes then are.

import assert from "node:assert/strict";
import { limits } from "../../shared/limits.ts";
import { withCluster } from "../support/cluster.ts";

const stripeBytes = limits.stripeBytesMin;

Deno.test("a file gets the layout that is asked for, else its directory's, else the default", async () => {
  await withCluster({ osts: 4 }, async (cluster) => {
    const fileSystem = cluster.fileSystem();
    const shape = async (path: string, layout = {}) => {
      const { targets, stripeBytes } = (await fileSystem.createEmpty(path, { layout })).layout!;
      return { stripes: targets.length, replicas: targets[0]!.length, stripeBytes };
    };
    const standard = { stripes: 4, replicas: 1, stripeBytes: limits.stripeBytesDefault };
    assert.deepEqual(await shape("/f"), standard);
    await fileSystem.mkdir("/d");
    await fileSystem.setLayoutDefaults("/d", { stripeCount: 2, replicas: 2 });
    assert.deepEqual(await shape("/d/f"), { ...standard, stripes: 2, replicas: 2 });
    await fileSystem.mkdir("/d/e");
    await fileSystem.setLayoutDefaults("/d/e", { stripeBytes });
    assert.deepEqual(await shape("/d/e/f"), { stripes: 2, replicas: 2, stripeBytes });
    assert.deepEqual(
      await shape("/d/e/g", { stripeCount: 0, replicas: 3 }),
      { stripes: 4, replicas: 3, stripeBytes },
    );
    assert.deepEqual((await fileSystem.stat("/d/e")).defaults, {
      stripeCount: 2,
      replicas: 2,
      stripeBytes,
    });
  });
});

Deno.test("layouts that cannot be are refused, where they are set", async () => {
  await withCluster({ osts: 2 }, async (cluster) => {
    const fileSystem = cluster.fileSystem();
    const invalid = { code: "EINVAL" };
    for (const layout of [{ stripeCount: 3 }, { replicas: 3 }, { stripeBytes: stripeBytes + 1 }]) {
      await assert.rejects(fileSystem.createEmpty("/f", { layout }), invalid);
    }
    const defaults = { stripeBytes: stripeBytes + 1 };
    await assert.rejects(fileSystem.setLayoutDefaults("/", defaults), invalid);
    await fileSystem.createEmpty("/f");
    await assert.rejects(fileSystem.setLayoutDefaults("/f", {}), { code: "ENOTDIR" });
  });
});

Deno.test("the bytes are on the OSTs of the layout, on every replica, and nowhere else", async () => {
  await withCluster({ osts: 4 }, async (cluster) => {
    const fileSystem = cluster.fileSystem();
    const layout = { stripeBytes, stripeCount: 3, replicas: 2 };
    await using file = await fileSystem.create("/f", { layout });
    const length = 3 * stripeBytes + 5;
    await file.write(0, new Uint8Array(length).fill(1));
    await file.close();
    const { targets } = file.attributes.layout;
    const expected = [0, 0, 0, 0];
    for (const [position, replicas] of targets.entries()) {
      assert.equal(new Set(replicas).size, 2);
      for (const index of replicas) expected[index]! += stripeBytes + (position === 0 ? 5 : 0);
    }
    const used = cluster.targets.map(({ disk }) =>
      [...disk.objects.values()].reduce((sum, { lengthBytes }) => sum + lengthBytes, 0)
    );
    assert.deepEqual(used, expected);
  });
});

Deno.test("with an OST down new files go to the others, as long as there are enough", async () => {
  await withCluster({ osts: 3 }, async (cluster) => {
    const fileSystem = cluster.fileSystem();
    await cluster.stop("oss1");
    await cluster.sleep(2_000);
    const { layout } = await fileSystem.createEmpty("/f", { layout: { replicas: 2 } });
    assert.deepEqual([...new Set(layout!.targets.flat())].sort(), [0, 2]);
    const tooMany = fileSystem.createEmpty("/g", { layout: { replicas: 3 } });
    await assert.rejects(tooMany, { code: "NOT_ENOUGH_TARGETS" });
    const waiting = fileSystem.createEmpty("/g", { layout: { replicas: 3 } });
    await cluster.startOss(1);
    await waiting;
  });
});

Deno.test("replicas are on different hosts, primaries on all", async () => {
  await withCluster({ osts: 6 }, async (cluster) => {
    const fileSystem = cluster.fileSystem();
    for (let index = 0; index < 20; index++) {
      const { layout } = await fileSystem.createEmpty(`/f${index}`, { layout: { replicas: 3 } });
      assert.equal(new Set(layout!.targets.map(([primary]) => primary)).size, 6);
      for (const replicas of layout!.targets) assert.equal(new Set(replicas).size, 3);
    }
  });
});
