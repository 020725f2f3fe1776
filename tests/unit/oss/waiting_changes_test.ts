// How an oss orders changes of one object that meet: who waits for whom, how long, and what a destroy
// does meanwhile. In virtual time, with an OST whose writes a test holds up.

import assert from "node:assert/strict";
import { MemoryTarget } from "../../../oss/memory_store.ts";
import type { OpenTarget, TargetOwner } from "../../../oss/object_store.ts";
import { targetOf } from "../../../shared/cluster_map.ts";
import { codeOfNumber } from "../../../shared/errors.ts";
import { objectId } from "../../../shared/layout.ts";
import { limits } from "../../../shared/limits.ts";
import { frameKind } from "../../../shared/rpc/frame.ts";
import { ossService } from "../../../shared/protocol/oss.ts";
import { pattern } from "../../support/object_bytes.ts";
import type { TestCluster } from "../../support/cluster.ts";
import { object, type OssCaller, testOss } from "../../support/oss_caller.ts";
import { errorIn, frameBytes, RawPeer } from "../../support/rpc.ts";
import { SeededRandom } from "../../support/seeded_random.ts";

/** A target whose writes wait at a gate, once it is shut. */
class GatedTarget extends MemoryTarget {
  #gate = Promise.resolve();
  waiting = 0;
  letThrough = () => {};

  shut(): void {
    const gate = Promise.withResolvers<void>();
    this.#gate = gate.promise;
    this.letThrough = gate.resolve;
  }

  override async open(owner: TargetOwner): Promise<OpenTarget> {
    const { nodeId, objects } = await super.open(owner);
    const write = objects.write.bind(objects);
    objects.write = async (...args) => {
      this.waiting++;
      await this.#gate;
      this.waiting--;
      await write(...args);
    };
    return { nodeId, objects };
  }
}

/** OST 3 with a gate, which is shut, and a write of the first ten bytes that waits at it. */
function testGated(
  name: string,
  test: (
    caller: OssCaller,
    cluster: TestCluster,
    gated: { target: GatedTarget; first: Promise<unknown> },
  ) => Promise<void>,
): void {
  testOss(name, async (caller, cluster) => {
    const target = new GatedTarget(new SeededRandom(9));
    cluster.targets[3] = target;
    await cluster.startOss(3);
    await cluster.allUp();
    caller.map = await cluster.connect("watcher5").map();
    target.shut();
    const first = caller.write(3, pattern(1, 10));
    await cluster.eventually(() => target.waiting === 1);
    await test(caller, cluster, { target, first });
  });
}

testGated(
  "lets writes of other blocks run at once, and no others",
  async (caller, cluster, gated) => {
    const inOtherBlock = caller.write(3, pattern(2, 10), { offsetBytes: 4096 });
    const overlapping = caller.write(3, pattern(3, 5), { offsetBytes: 5 });
    const inSameBlock = caller.write(3, pattern(4, 5), { offsetBytes: 4091 });
    await cluster.sleep(100);
    assert.equal(gated.target.waiting, 2);
    gated.target.letThrough();
    await Promise.all([gated.first, inOtherBlock, overlapping, inSameBlock]);
    assert.deepEqual(await caller.read(3, 5, 5), pattern(3, 5));
    assert.deepEqual(await caller.read(3, 4091, 5), pattern(4, 5));
  },
);

testGated("keeps the range until the last replica is done", async (caller, cluster, gated) => {
  gated.target.letThrough();
  await gated.first;
  gated.target.shut();
  // The replica fails at once, and this OST's own write waits at the gate.
  const { disk } = cluster.targets[1]!;
  disk.blockCount = disk.capacityBytes;
  const write = caller.write(3, pattern(2, 10), { replicas: [1] });
  const failed = assert.rejects(write, { code: "ENOSPC" });
  await cluster.eventually(() => gated.target.waiting === 1);
  await cluster.sleep(100);
  const next = caller.write(3, pattern(3, 10));
  await cluster.sleep(100);
  assert.equal(gated.target.waiting, 1);
  gated.target.letThrough();
  await Promise.all([failed, next]);
  assert.deepEqual(await caller.read(3, 0, 10), pattern(3, 10));
});

testGated("refuses a change that waited for long", async (caller, cluster, gated) => {
  const { epoch } = caller.map;
  const write = assert.rejects(caller.write(3, pattern(2, 10)), { code: "OVERLOADED" });
  const resize = assert.rejects(
    caller.call(3, "resizeObject", { epoch, object, lengthBytes: 0, extend: false }),
    { code: "OVERLOADED" },
  );
  await cluster.sleep(limits.changeWaitMs + 1_000);
  gated.target.letThrough();
  await Promise.all([gated.first, write, resize]);
  assert.deepEqual(await caller.read(3, 0, 10), pattern(1, 10));
});

testGated(
  "refuses a change that waited for long to be read",
  async (caller, cluster, gated) => {
    const { epoch } = caller.map;
    const environment = cluster.environment("raw");
    const { address } = targetOf(caller.map, 3);
    using peer = await RawPeer.connect(environment, address);
    await peer.greet({ clusterId: "", wants: "oss", targetIndex: 3 });
    const { writeObject, resizeObject } = ossService.methods;
    const bytes = pattern(2, 10);
    const write = (at: number) => ({
      opcode: writeObject.opcode,
      body: {
        ...{ epoch, object, replicas: [], sync: false },
        ...caller.withChecksums(at, bytes),
      },
      payload: bytes,
    });
    const resize = { epoch, object, lengthBytes: 3, extend: false };
    // As many as are taken at once; all of them wait for the first write.
    let requestId = 1;
    for (; requestId <= limits.requestsPerConnectionMax; requestId++) {
      await peer.send({ ...write(0), requestId });
    }
    const unread = [
      frameBytes({ ...write(4096), requestId: requestId++ }),
      frameBytes({ opcode: resizeObject.opcode, body: resize, requestId }),
    ];
    await peer.connection.write(Uint8Array.of(...unread.flatMap((frame) => [...frame])));
    await cluster.sleep(limits.changeWaitMs + 1_000);
    gated.target.letThrough();
    await gated.first;
    for (let count = 0; count < requestId; count++) {
      const reply = await peer.receive();
      assert.equal(codeOfNumber(errorIn(reply).code), "OVERLOADED", `request ${reply?.requestId}`);
    }
    assert.equal((await caller.call(3, "statObject", { object })).lengthBytes, 10);
    // What comes afterwards is as welcome as ever.
    assert.equal((await peer.ask({ ...write(4096), requestId: 1 })).kind, frameKind.reply);
  },
);

testGated(
  "refuses a change whose map was replaced while it waited",
  async (caller, cluster, gated) => {
    const write = assert.rejects(caller.write(3, pattern(2, 10)), { code: "STALE_MAP" });
    await cluster.stop("oss2");
    await cluster.sleep(2_500);
    gated.target.letThrough();
    await Promise.all([gated.first, write]);
    caller.map = await cluster.connect("watcher6").map();
    assert.deepEqual(await caller.read(3, 0, 10), pattern(1, 10));
  },
);

testGated("lists an inode when its writes under way are done", async (caller, cluster, gated) => {
  const { epoch } = caller.map;
  let listed = false;
  const listing = caller.call(3, "listInode", { epoch, object }).finally(() => listed = true);
  const other = await caller.call(3, "listInode", { epoch, object: objectId(8, 0) });
  assert.deepEqual(other, { objects: [] });
  await cluster.sleep(100);
  assert.equal(listed, false);
  gated.target.letThrough();
  await gated.first;
  assert.deepEqual(await listing, { objects: [{ object, lengthBytes: 10 }] });
});

testGated(
  "destroys after the write under way and refuses those in line",
  async (caller, cluster, gated) => {
    const write = assert.rejects(caller.write(3, pattern(2, 10)), { code: "OBJECT_GONE" });
    let destroyed = false;
    const destroy = caller.call(3, "destroyInodes", { inodes: [7] }).then((reply) => {
      destroyed = true;
      return reply;
    });
    await cluster.sleep(1_000);
    assert.equal(destroyed, false);
    gated.target.letThrough();
    await Promise.all([gated.first, write]);
    assert.deepEqual(await destroy, { objects: 1 });
    assert.equal(gated.target.disk.objects.size, 0);
  },
);
