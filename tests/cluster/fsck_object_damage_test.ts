// fsck: damage of objects and of work under way is found, and repaired where that is safe.

import assert from "node:assert/strict";
import {
  encodeNumber,
  encodePending,
  encodeSession,
  encodeStoredReply,
  present,
} from "../../mds/values.ts";
import type { MemoryTarget } from "../../oss/memory_store.ts";
import { objectId } from "../../shared/layout.ts";
import { limits } from "../../shared/limits.ts";
import { pattern } from "../support/object_bytes.ts";
import { withCluster } from "../support/cluster.ts";
import {
  clientId,
  handle,
  makeTree,
  plant,
  plantInode,
  runFsck,
  schema,
  valueOf,
} from "../support/fsck.ts";
import { testDamages, unchecked } from "../support/fsck_damage.ts";
import { tamperedObjects } from "../support/tampered_objects.ts";

testDamages([
  {
    name: "a pending file and replies of a client without a session",
    plant: (cluster, { file }) =>
      plant(cluster, (transaction) => {
        const times = { atimeNs: 0n, mtimeNs: 0n, ctimeNs: 0n };
        const inode = { ...file, ...times, ino: 3000 };
        const pending = { inode, parent: 1, name: "p", replace: false };
        transaction.set(schema.pending(clientId, 3000), encodePending(pending));
      }),
    found: ["left-by-no-session"],
    check: async (cluster) => {
      const isThere = () => valueOf(cluster, schema.pending(clientId, 3000));
      await cluster.eventually(async () => !(await isThere()));
    },
  },
  {
    name: "a number of two inodes, in the tree and pending",
    plant: (cluster, { file }) =>
      plant(cluster, (transaction) => {
        const expiresAtMs = cluster.clock.nowMs() + 1e9;
        transaction.set(schema.session(clientId), encodeSession({ expiresAtMs, over: false }));
        const pending = { inode: file, parent: 1, name: "p", replace: false };
        transaction.set(schema.pending(clientId, file.ino), encodePending(pending));
      }),
    found: ["number-used-twice"],
    left: ["number-used-twice"],
  },
  {
    name: "half of a file open for writing",
    plant: (cluster, { file }) =>
      plant(cluster, (transaction) => {
        const expiresAtMs = cluster.clock.nowMs() + 1e9;
        transaction.set(schema.session(clientId), encodeSession({ expiresAtMs, over: false }));
        transaction.set(schema.writer({ ino: file.ino, clientId, handle }), present);
        transaction.set(schema.writing({ ino: 3000, clientId, handle }), present);
      }),
    found: ["half-a-writer", "half-a-writer"],
  },
  {
    name: "a missing object, a short one, and one with another replica",
    plant: (cluster, { file, twice }) => {
      const [first] = file.layout!.targets;
      cluster.targets[first![0]!]!.disk.objects.delete(objectId(file.ino, 0));
      const [, second] = file.layout!.targets;
      cluster.targets[second![0]!]!.disk.objects.get(objectId(file.ino, 1))!.lengthBytes = 100;
      const [ofTwice] = twice.layout!.targets;
      cluster.targets[ofTwice![1]!]!.disk.objects.delete(objectId(twice.ino, 0));
      return Promise.resolve();
    },
    found: ["missing-object", "missing-object", "short-object"],
    left: ["missing-object", "short-object"],
  },
  {
    name: "an object of nobody, and one that is astray",
    plant: (cluster, { file }) => {
      const [[from]] = file.layout!.targets as [[number]];
      const { objects } = cluster.targets[from]!.disk;
      const content = objects.get(objectId(file.ino, 0))!;
      objects.set(objectId(3999, 0), structuredClone(content));
      const used = file.layout!.targets.flat();
      const other = [0, 1, 2].find((index) => !used.includes(index))!;
      cluster.targets[other]!.disk.objects.set(objectId(file.ino, 0), structuredClone(content));
      return Promise.resolve();
    },
    found: ["astray-object", "orphan-object"],
    left: ["astray-object", "orphan-object"],
    check: async (cluster) => {
      const isGone = () => {
        return cluster.targets.every(({ disk }) => !disk.objects.has(objectId(3999, 0)));
      };
      assert.ok(!isGone(), "nobody said that it may be destroyed");
      await runFsck(cluster, { repair: true, deleteOrphans: true });
      await cluster.eventually(isGone);
      assert.deepEqual((await runFsck(cluster)).short, ["astray-object found"]);
    },
  },
  {
    name: "objects of inodes that the store will hand out",
    plant: (cluster, { file }) => {
      const [[from]] = file.layout!.targets as [[number]];
      const { objects } = cluster.targets[from]!.disk;
      objects.set(objectId(123_456, 0), structuredClone(objects.get(objectId(file.ino, 0))!));
      return Promise.resolve();
    },
    found: ["number-not-handed-out"],
    left: ["orphan-object"],
    runs: 2,
    check: async (cluster, { fileSystem }) => {
      await runFsck(cluster, { repair: true, deleteOrphans: true });
      await cluster.eventually(() =>
        cluster.targets.every(({ disk }) => !disk.objects.has(objectId(123_456, 0)))
      );
      assert.ok((await fileSystem.mkdir("/new")).ino < 4097, "an mds goes on with its range");
      const next = await valueOf(cluster, schema.nextIno);
      assert.deepEqual(next, encodeNumber(123_457 + limits.checkNumbersSkipped));
    },
  },
  {
    name: "a pending number of two clients, a reply that answers nobody, a name that is none",
    plant: (cluster, { file }) =>
      plant(cluster, (transaction) => {
        const expiresAtMs = cluster.clock.nowMs() + 1e9;
        const other = "f".repeat(32);
        for (const each of [clientId, other]) {
          transaction.set(schema.session(each), encodeSession({ expiresAtMs, over: false }));
          const inode = { ...file, ino: 3000 };
          const pending = { inode, parent: 1, name: "p", replace: false };
          transaction.set(schema.pending(each, 3000), encodePending(pending));
        }
        const unnamed = { inode: { ...file, ino: 3001 }, parent: 1, name: "a/b", replace: false };
        transaction.set(schema.pending(other, 3001), encodePending(unnamed));
        const reply = { requestId: 7, opcode: 1, reply: [1, 2, 3] };
        transaction.set(schema.reply(other, 7), encodeStoredReply(reply));
      }),
    found: ["number-used-twice", "unreadable-record", "unreadable-record"],
    left: ["number-used-twice", "unreadable-record", "unreadable-record"],
  },
  {
    name: "OSTs that the cluster does not have, in a layout and in what is to be destroyed",
    plant: async (cluster, { fileSystem }) => {
      const { ino } = await fileSystem.createEmpty("/empty");
      await plantInode(cluster, ino, (inode) => ({
        ...inode,
        layout: { ...inode.layout!, targets: [[77], [0]] },
      }));
      await plant(cluster, (transaction) => transaction.set(schema.garbage(88, 3000), present));
    },
    found: ["unknown-target", "unknown-target"],
    left: ["unknown-target", "unknown-target"],
  },
  {
    name: "an object that reaches behind the end of its file",
    plant: (cluster, { file }) => {
      const [, [target]] = file.layout!.targets as [number[], [number]];
      const { objects } = cluster.targets[target]!.disk;
      objects.get(objectId(file.ino, 1))!.lengthBytes += 5000;
      return Promise.resolve();
    },
    found: ["long-object"],
    left: ["long-object"],
    check: async (cluster, { fileSystem, file }) => {
      const { short } = await runFsck(cluster, { repair: true, deleteOrphans: true });
      assert.deepEqual(short, ["long-object repaired"]);
      await cluster.eventually(async () => !(await valueOf(cluster, schema.truncation(file.ino))));
      assert.deepEqual((await runFsck(cluster)).said, []);
      await using open = await fileSystem.open("/d/file");
      assert.deepEqual(await open.read(0, open.sizeBytes), pattern(1, file.sizeBytes));
    },
  },
]);

Deno.test("fsck() finds garbage of a file that exists, and spares it", async () => {
  await withCluster(unchecked, async (cluster) => {
    const { file, fileSystem } = await makeTree(cluster);
    const [[target]] = file.layout!.targets as [[number]];
    for (const name of [...cluster.servers.keys()].filter((each) => each.startsWith("mds"))) {
      await cluster.stop(name);
    }
    const key = schema.garbage(target, file.ino);
    await plant(cluster, (transaction) => transaction.set(key, present));
    const { short } = await runFsck(cluster, { repair: true });
    assert.deepEqual(short, ["garbage-of-a-file repaired"]);
    await cluster.startMds();
    await cluster.sleep(10_000);
    await using open = await fileSystem.open("/d/file");
    assert.equal((await open.read(0, 10)).length, 10);
  });
});

Deno.test("fsck() finds what nobody does: sessions, cuts and garbage that outlived their time", async () => {
  await withCluster(unchecked, async (cluster) => {
    const { file } = await makeTree(cluster);
    await cluster.stop("mds0");
    await plant(cluster, (transaction) => {
      const expiresAtMs = cluster.clock.nowMs() - 2 * limits.checkSessionSlackMs;
      const session = encodeSession({ expiresAtMs, over: false });
      transaction.set(schema.session(clientId), session);
      transaction.set(schema.truncation(file.ino), encodeNumber(2 ** 30));
      transaction.set(schema.garbage(1, 2000), present);
    });
    const { short } = await runFsck(cluster, { repair: true });
    assert.deepEqual(short, [
      "cut-outlived unrepaired",
      "garbage-outlived unrepaired",
      "session-outlived unrepaired",
    ]);
    await cluster.startMds();
    const startMs = cluster.clock.monotonicMs();
    assert.deepEqual((await runFsck(cluster)).said, [], "an mds that has just begun gets its time");
    assert.ok(cluster.clock.monotonicMs() - startMs > 20_000);
  });
});

Deno.test("fsck() goes on waiting while somebody does what is due, however slowly", async () => {
  await withCluster(unchecked, async (cluster) => {
    const { file, twice } = await makeTree(cluster);
    await cluster.stop("mds0");
    const cuts = [file.ino, twice.ino].map((ino) => schema.truncation(ino));
    await plant(cluster, (transaction) => {
      for (const key of cuts) transaction.set(key, encodeNumber(2 ** 30));
    });
    let found: readonly string[] | undefined;
    const check = runFsck(cluster).then(({ short }) => found = short);
    for (const key of cuts) {
      await cluster.sleep(limits.checkPatienceMs - 10_000);
      assert.equal(found, undefined);
      await plant(cluster, (transaction) => transaction.delete(key));
    }
    assert.deepEqual(await check, []);
  });
});

Deno.test("fsck() says that a first copy is short, though its repair does not help", async () => {
  await withCluster(unchecked, async (cluster) => {
    const { twice } = await makeTree(cluster);
    const [[primary]] = twice.layout!.targets as [[number]];
    const { objects } = cluster.targets[primary]!.disk;
    objects.get(objectId(twice.ino, 0))!.lengthBytes = 100;
    for (let run = 0; run < 2; run++) {
      const { short, said } = await runFsck(cluster, { repair: true });
      assert.deepEqual(short, ["short-object unrepaired"]);
      assert.match(said[0]!.reason!, /as long as its first copy/);
    }
  });
});

Deno.test("fsck() finds an OST whose usage is not that of its objects", async () => {
  await withCluster(unchecked, async (cluster) => {
    await makeTree(cluster);
    assert.deepEqual((await runFsck(cluster)).said, []);
    await cluster.stop("oss0");
    const [target] = cluster.targets as [MemoryTarget];
    const open = target.open.bind(target);
    target.open = async (owner) => {
      const { objects, ...opened } = await open(owner);
      const usage = () => ({ ...objects.usage(), usedBytes: objects.usage().usedBytes + 1 });
      return { ...opened, objects: tamperedObjects(objects, { usage }) };
    };
    await cluster.startOss(0);
    await cluster.sleep(5_000);
    assert.deepEqual((await runFsck(cluster, { repair: true })).short, ["wrong-usage unrepaired"]);
  });
});
