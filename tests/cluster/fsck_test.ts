// fsck: nothing is found where all is well, however much changes meanwhile; each kind of damage is
// found, and repaired where that is safe.

import assert from "node:assert/strict";
import type { FileSystem } from "../../client/mod.ts";
import {
  encodeChild,
  encodeNumber,
  encodePending,
  encodeSession,
  present,
} from "../../mds/schema.ts";
import { objectId } from "../../shared/layout.ts";
import { limits } from "../../shared/limits.ts";
import { rootInode } from "../../shared/model.ts";
import { pattern } from "../contract/object_store.ts";
import { type TestCluster, withCluster } from "../support/cluster.ts";
import { plant, plantInode, runFsck, schema, slowStore, watchedStore } from "../support/fsck.ts";
import { seeded, testSeed } from "../support/seed.ts";
import { SeededRandom } from "../support/seeded_random.ts";

const stripeBytes = limits.stripeBytesMin;
const client = "0123456789abcdef".repeat(2);
const handle = "fedcba9876543210".repeat(2);
const unchecked = { osts: 3, uncheckedBecause: "damage was planted" };
const never = new Uint8Array([0xc1]);

async function makeFile(fileSystem: FileSystem, path: string, replicas = 1) {
  const layout = { stripeBytes, stripeCount: 2, replicas };
  await using file = await fileSystem.create(path, { layout });
  await file.write(0, pattern(1, 3 * stripeBytes + 7));
  await file.close();
  return file.attributes;
}

/** A tree with one of everything; the inode numbers by path. */
async function makeTree(cluster: TestCluster) {
  const fileSystem = cluster.fileSystem();
  const directory = await fileSystem.mkdir("/d");
  const below = await fileSystem.mkdir("/d/below");
  const file = await makeFile(fileSystem, "/d/file");
  const twice = await makeFile(fileSystem, "/twice", 2);
  await fileSystem.link("/twice", "/d/twice");
  const link = await fileSystem.symlink("file", "/d/link");
  return { fileSystem, directory, below, file, twice, link };
}

type MadeTree = Awaited<ReturnType<typeof makeTree>>;

Deno.test("fsck() finds nothing in a cluster at rest, and counts what there is", async () => {
  await withCluster({ osts: 3 }, async (cluster) => {
    await makeTree(cluster);
    const { said, failures, undecided, ...outcome } = await runFsck(cluster);
    assert.deepEqual([said, failures, undecided], [[], [], 0]);
    assert.equal(outcome.inodes, 6);
    assert.equal(outcome.entries, 6);
    const { objects, bytes } = cluster.usage();
    assert.deepEqual([outcome.objects, outcome.bytes], [objects, bytes]);
    const ofStore = await runFsck(cluster, { mgs: undefined });
    assert.deepEqual([ofStore.said, ofStore.inodes, ofStore.objects], [[], 6, 0]);
  });
});

Deno.test("fsck() takes files that are pending, open or being cut for what they are", async () => {
  await withCluster({ osts: 3 }, async (cluster) => {
    const { fileSystem } = await makeTree(cluster);
    const layout = { stripeBytes, stripeCount: 3, replicas: 1 };
    await using pending = await fileSystem.create("/pending", { layout });
    await pending.write(0, pattern(2, 5 * stripeBytes));
    await using open = await fileSystem.openForWriting("/twice");
    await open.write(10 * stripeBytes, pattern(3, stripeBytes));
    await fileSystem.setAttributes("/d/file", { sizeBytes: 10 });
    const during = await runFsck(cluster, { repair: true });
    assert.deepEqual([during.said, during.undecided], [[], 0]);
    await pending.close();
    await open.close();
    assert.equal((await fileSystem.stat("/pending")).sizeBytes, 5 * stripeBytes);
    const after = await runFsck(cluster, { repair: true });
    assert.deepEqual([after.said, after.undecided], [[], 0]);
  });
});

Deno.test("fsck() refuses a store without the cluster", async () => {
  await withCluster({ osts: 1 }, async (cluster) => {
    const refused = runFsck(cluster, { clusterName: "other" });
    await assert.rejects(refused, { code: "WRONG_CLUSTER" });
  });
});

// ── damage ─────────────────────────────────────────────────────────────────────────────────────

interface Damage {
  readonly name: string;
  readonly plant: (cluster: TestCluster, tree: MadeTree) => Promise<void>;
  /** What is found, without repair. */
  readonly found: readonly string[];
  /** What is left after a repair; none by default. */
  readonly left?: readonly string[];
  /** Where one repair leads to another. */
  readonly runs?: number;
  /** After it. */
  readonly check?: (cluster: TestCluster, tree: MadeTree) => Promise<void>;
}

const damages: readonly Damage[] = [
  {
    name: "a lost inode of a file with objects",
    plant: (cluster, { file }) =>
      plant(cluster, (transaction) => {
        transaction.delete(schema.inode(file.ino));
        transaction.add(schema.inodeCount, -1n);
      }),
    found: ["entry-without-inode", "orphan-object", "orphan-object"],
    left: ["entry-without-inode", "orphan-object", "orphan-object"],
  },
  {
    name: "a name that leads to nothing",
    plant: (cluster) =>
      plant(cluster, (transaction) => {
        transaction.set(schema.child(1, "ghost"), encodeChild({ ino: 4000, type: "file" }));
      }),
    found: ["entry-without-inode"],
    check: async (_cluster, { fileSystem }) => {
      await assert.rejects(fileSystem.stat("/ghost"), { code: "ENOENT" });
    },
  },
  {
    name: "a lost inode of a symbolic link",
    plant: (cluster, { link }) =>
      plant(cluster, (transaction) => {
        transaction.delete(schema.inode(link.ino));
        transaction.add(schema.inodeCount, -1n);
      }),
    found: ["entry-without-inode"],
  },
  {
    name: "a lost inode of a directory",
    plant: (cluster, { directory }) =>
      plant(cluster, (transaction) => {
        transaction.delete(schema.inode(directory.ino));
        transaction.add(schema.inodeCount, -1n);
      }),
    found: ["entry-in-no-directory", "entry-without-inode"],
    runs: 2,
    check: async (_cluster, { fileSystem, file }) => {
      assert.equal((await fileSystem.stat("/d/file")).ino, file.ino);
      assert.equal((await fileSystem.stat("/d")).links, 3);
    },
  },
  {
    name: "a wrong count of links",
    plant: (cluster, { file }) =>
      plantInode(cluster, file.ino, (inode) => ({ ...inode, links: 5 })),
    found: ["wrong-links"],
    check: async (_cluster, { fileSystem }) => {
      assert.equal((await fileSystem.stat("/d/file")).links, 1);
    },
  },
  {
    name: "a name that nobody counted",
    plant: (cluster, { file }) =>
      plant(cluster, (transaction) => {
        transaction.set(schema.child(1, "more"), encodeChild({ ino: file.ino, type: "file" }));
      }),
    found: ["wrong-links"],
    check: async (_cluster, { fileSystem }) => {
      assert.equal((await fileSystem.stat("/more")).links, 2);
    },
  },
  {
    name: "a second name of a directory",
    plant: (cluster, { below }) =>
      plant(cluster, (transaction) => {
        transaction.set(schema.child(1, "b"), encodeChild({ ino: below.ino, type: "directory" }));
        transaction.add(schema.directoryLinks(1), 1n);
      }),
    found: ["wrong-links", "wrong-parent"],
    left: ["wrong-links", "wrong-parent"],
  },
  {
    name: "lost names of a file and a directory",
    plant: (cluster, { file, below, directory }) =>
      plant(cluster, (transaction) => {
        transaction.delete(schema.child(directory.ino, "file"));
        transaction.delete(schema.child(directory.ino, "below"));
        transaction.add(schema.directoryLinks(directory.ino), -1n);
        assert.ok(file && below);
      }),
    found: ["unnamed-inode", "unnamed-inode"],
    check: async (_cluster, { fileSystem, file, below }) => {
      const lost = await fileSystem.stat(`/lost+found/#${file.ino}`);
      assert.deepEqual([lost.ino, lost.links, lost.sizeBytes], [file.ino, 1, file.sizeBytes]);
      assert.equal((await fileSystem.stat(`/lost+found/#${below.ino}/..`)).links, 3);
      assert.equal((await fileSystem.stat("/lost+found")).mode, 0o700);
    },
  },
  {
    name: "a name of another type",
    plant: (cluster, { file, directory }) =>
      plant(cluster, (transaction) => {
        const key = schema.child(directory.ino, "file");
        transaction.set(key, encodeChild({ ino: file.ino, type: "symlink" }));
      }),
    found: ["entry-of-another-type"],
    check: async (_cluster, { fileSystem, file }) => {
      assert.equal((await fileSystem.stat("/d/file")).ino, file.ino);
    },
  },
  {
    name: "a directory that says it is elsewhere",
    plant: (cluster, { below }) =>
      plantInode(cluster, below.ino, (inode) => ({ ...inode, parent: rootInode })),
    found: ["wrong-parent"],
    check: async (_cluster, { fileSystem, directory }) => {
      assert.equal((await fileSystem.stat("/d/below/..")).ino, directory.ino);
    },
  },
  {
    name: "directories that lie below each other",
    plant: (cluster, { directory, below }) =>
      plant(cluster, (transaction) => {
        transaction.delete(schema.child(rootInode, "d"));
        transaction.add(schema.directoryLinks(rootInode), -1n);
        const entry = encodeChild({ ino: directory.ino, type: "directory" });
        transaction.set(schema.child(below.ino, "d"), entry);
        transaction.add(schema.directoryLinks(below.ino), 1n);
      }).then(() =>
        plantInode(cluster, directory.ino, (inode) => ({ ...inode, parent: below.ino }))
      ),
    found: ["directory-loop"],
    left: ["directory-loop"],
  },
  {
    name: "wrong counters",
    plant: (cluster, { directory }) =>
      plant(cluster, (transaction) => {
        transaction.add(schema.directoryLinks(directory.ino), 2n);
        transaction.add(schema.directoryLinks(rootInode), -1n);
        transaction.add(schema.inodeCount, 7n);
      }),
    found: ["wrong-inode-count", "wrong-subdirectory-count", "wrong-subdirectory-count"],
    check: async (_cluster, { fileSystem }) => {
      assert.equal((await fileSystem.stat("/d")).links, 3);
      assert.equal((await fileSystem.statfs()).inodes, 6);
    },
  },
  {
    name: "what is kept of a directory that is gone",
    plant: (cluster) =>
      plant(cluster, (transaction) => {
        transaction.add(schema.directoryLinks(999), 0n);
      }),
    found: ["record-of-no-directory"],
  },
  {
    name: "records that nobody can read",
    plant: (cluster, { file, directory }) =>
      plant(cluster, (transaction) => {
        transaction.set(schema.inode(file.ino), never);
        transaction.set(schema.child(directory.ino, "link"), new Uint8Array([0x93, 1, 4, 9]));
        transaction.set(schema.pending(client, 4000), never);
        transaction.set(schema.session(client), never);
        transaction.set(`${schema.all().begin}new/key`, never);
        transaction.set(`${schema.allOf("ino").begin}short`, never);
      }),
    found: [
      "unknown-record",
      ...Array.from({ length: 5 }, () => "unreadable-record"),
      "unnamed-inode",
      "wrong-inode-count",
    ],
    left: [
      "unknown-record",
      ...Array.from({ length: 5 }, () => "unreadable-record"),
      "unnamed-inode",
    ],
  },
  {
    name: "an inode that cannot be right",
    plant: (cluster, { file }) =>
      plantInode(cluster, file.ino, (inode) => ({ ...inode, dataEndBytes: 2 ** 40 })),
    found: ["bad-inode"],
    left: ["bad-inode"],
  },
  {
    name: "a number that was never handed out",
    plant: (cluster) =>
      plant(cluster, (transaction) => transaction.set(schema.nextIno, encodeNumber(3))),
    found: Array.from({ length: 4 }, () => "number-not-handed-out"),
  },
  {
    name: "a pending file and replies of a client without a session",
    plant: (cluster, { file }) =>
      plant(cluster, (transaction) => {
        const times = { atimeNs: 0n, mtimeNs: 0n, ctimeNs: 0n };
        const inode = { ...file, ...times, ino: 3000 };
        const pending = { inode, parent: 1, name: "p", replace: false };
        transaction.set(schema.pending(client, 3000), encodePending(pending));
      }),
    found: ["left-by-no-session"],
    check: async (cluster) => {
      const isThere = () => transactGet(cluster, schema.pending(client, 3000));
      await cluster.eventually(async () => !(await isThere()));
    },
  },
  {
    name: "a number of two inodes, in the tree and pending",
    plant: (cluster, { file }) =>
      plant(cluster, (transaction) => {
        const expiresAtMs = cluster.clock.nowMs() + 1e9;
        transaction.set(schema.session(client), encodeSession({ expiresAtMs, over: false }));
        const pending = { inode: file, parent: 1, name: "p", replace: false };
        transaction.set(schema.pending(client, file.ino), encodePending(pending));
      }),
    found: ["number-used-twice"],
    left: ["number-used-twice"],
  },
  {
    name: "half of a file open for writing",
    plant: (cluster, { file }) =>
      plant(cluster, (transaction) => {
        const expiresAtMs = cluster.clock.nowMs() + 1e9;
        transaction.set(schema.session(client), encodeSession({ expiresAtMs, over: false }));
        transaction.set(schema.writer({ ino: file.ino, clientId: client, handle }), present);
        transaction.set(schema.writing({ ino: 3000, clientId: client, handle }), present);
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
      const next = await transactGet(cluster, schema.nextIno);
      assert.deepEqual(next, encodeNumber(123_457 + limits.checkNumbersSkipped));
    },
  },
];

async function transactGet(cluster: TestCluster, key: string) {
  let value: Uint8Array | undefined;
  await plant(cluster, async (transaction) => void (value = await transaction.get(key)));
  return value;
}

for (const { name, plant: doPlant, found, left = [], runs = 1, check } of damages) {
  Deno.test(`fsck() finds ${name}`, async () => {
    await withCluster(unchecked, async (cluster) => {
      const tree = await makeTree(cluster);
      await doPlant(cluster, tree);
      const first = await runFsck(cluster);
      assert.deepEqual(first.short, found.map((kind) => `${kind} found`).sort());
      assert.deepEqual(first.findings, { found: found.length, repaired: 0, unrepaired: 0 });
      assert.deepEqual((await runFsck(cluster)).short, first.short, "it changed nothing");
      for (let run = 0; run < runs; run++) await runFsck(cluster, { repair: true });
      const after = await runFsck(cluster);
      assert.deepEqual(after.said.map(({ kind }) => kind).sort(), [...left].sort());
      await check?.(cluster, tree);
    });
  });
}

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
    const gone = { clientId: client };
    await cluster.stop("mds0");
    await plant(cluster, (transaction) => {
      const expiresAtMs = cluster.clock.nowMs() - 2 * limits.checkSessionSlackMs;
      const session = encodeSession({ expiresAtMs, over: false });
      transaction.set(schema.session(gone.clientId), session);
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

Deno.test("fsck() finds nothing wrong with a cut that waits for the last writer", async () => {
  await withCluster({ osts: 3 }, async (cluster) => {
    const fileSystem = cluster.fileSystem();
    await fileSystem.createEmpty("/f");
    const writing = await fileSystem.openForWriting("/f");
    const failing = await fileSystem.openForWriting("/f");
    await failing.write(100, new Uint8Array(100));
    await failing.abandon();
    assert.deepEqual((await runFsck(cluster)).said, []);
    assert.ok(cluster.usage().bytes > 0);
    await writing.close();
    await cluster.eventually(() => cluster.usage().bytes === 0);
  });
});

Deno.test("fsck() says which OSTs it could not ask, and draws no conclusions from that", async () => {
  await withCluster({ osts: 3 }, async (cluster) => {
    await makeTree(cluster);
    await cluster.crash("oss1");
    await cluster.sleep(5_000);
    const { said, failures, failedTargets } = await runFsck(cluster, { repair: true });
    assert.deepEqual(said, []);
    assert.deepEqual(failures, ["OST 1: TARGET_DOWN"]);
    assert.deepEqual(failedTargets, [1]);
    await cluster.startOss(1);
  });
});

// ── while all changes ──────────────────────────────────────────────────────────────────────────

Deno.test("fsck() finds nothing whatever happens between any two of its reads", async () => {
  await withCluster({ osts: 3 }, async (cluster) => {
    const { fileSystem } = await makeTree(cluster);
    await fileSystem.mkdir("/e");
    let turn = 0;
    const change = async () => {
      const [from, to] = turn++ % 2 === 0 ? ["/d", "/e"] : ["/e", "/d"];
      await fileSystem.rename(`${from}/file`, `${to}/file`);
      await fileSystem.rename(`${from}/below`, `${to}/below`);
      await fileSystem.setAttributes("/twice", { sizeBytes: 0 });
      await fileSystem.unlink("/d/twice");
      await fileSystem.link("/twice", "/d/twice");
      await makeFile(fileSystem, `${to}/new`);
      if (turn > 1) await fileSystem.unlink(`${from}/new`);
      await cluster.sleep(2_000);
      await using file = await fileSystem.openForWriting("/twice");
      await file.write(0, pattern(turn, 3 * stripeBytes + 7));
      await file.close();
    };
    await change();
    for (let last = 0, reads = 1; last < reads; last += 1 + Math.floor(last / 20)) {
      reads = 0;
      const store = watchedStore(cluster.store, async () => {
        if (reads++ === last) await change();
      });
      const { said, undecided } = await runFsck(cluster, { store, pageEntries: 3, repair: true });
      assert.deepEqual([said, undecided], [[], 0], `changed before read ${last}`);
      assert.ok(reads > 30);
    }
  });
});

Deno.test("fsck() does not decide about a file whose name it never meets", async () => {
  await withCluster({ osts: 1 }, async (cluster) => {
    const fileSystem = cluster.fileSystem();
    await fileSystem.mkdir("/a");
    await fileSystem.mkdir("/z");
    await fileSystem.createEmpty("/z/f");
    await fileSystem.createEmpty("/a/first");
    const { begin } = schema.allOf("children");
    let isBehind = false;
    // It is always where the entries have been read already.
    const store = watchedStore(cluster.store, async (first) => {
      if (!first.startsWith(begin)) return;
      const goesBehind = first !== begin;
      if (goesBehind === isBehind) return;
      isBehind = goesBehind;
      const [from, to] = isBehind ? ["/z/f", "/a/f"] : ["/a/f", "/z/f"];
      await cluster.sleep(5);
      await fileSystem.rename(from, to);
    });
    // The page with "/a/first" is read before the file comes there.
    const outcome = await runFsck(cluster, { store, pageEntries: 3, repair: true });
    assert.deepEqual([outcome.said, outcome.undecided], [[], 1]);
    assert.deepEqual((await runFsck(cluster)).said, []);
  });
});

/** One client that does whatever its seed says until it is told to stop. */
async function work(
  cluster: TestCluster,
  fileSystem: FileSystem,
  random: SeededRandom,
  isOver: () => boolean,
): Promise<number> {
  const directories = ["", "/a", "/b", "/a/c"];
  const path = () => {
    return `${directories[random.below(4)]}/${"wxyz"[random.below(4)]}`;
  };
  const steps: (() => Promise<unknown>)[] = [
    () => makeFile(fileSystem, path(), 1 + random.below(2)),
    () => makeFile(fileSystem, path(), 1 + random.below(2)),
    () => fileSystem.mkdir(path()),
    () => fileSystem.mkdir(directories[1 + random.below(3)]!),
    () => fileSystem.symlink("target", path()),
    () => fileSystem.link(path(), path()),
    () => fileSystem.rename(path(), path()),
    () => fileSystem.rename(directories[1 + random.below(3)]!, path()),
    () => fileSystem.unlink(path()),
    () => fileSystem.rmdir(path()),
    () => fileSystem.setAttributes(path(), { sizeBytes: random.below(4 * stripeBytes) }),
  ];
  let done = 0;
  while (!isOver()) {
    try {
      await steps[random.below(steps.length)]!();
      done++;
    } catch (error) {
      assert.ok(error instanceof Error && error.name === "RustreError", String(error));
    }
    await cluster.sleep(random.below(20));
  }
  return done;
}

Deno.test("fsck() finds nothing while clients change everything all the time", async () => {
  await seeded(async () => {
    for (let round = 0; round < 3; round++) await checkUnderLoad(Math.abs(testSeed) + round);
  });
});

async function checkUnderLoad(seed: number): Promise<void> {
  await withCluster({ osts: 3, seed, commitJitter: seed }, async (cluster) => {
    let isOver = false;
    const clients = Array.from({ length: 3 }, (_, index) => {
      const random = new SeededRandom(seed * 10 + index);
      return work(cluster, cluster.fileSystem(), random, () => isOver);
    });
    for (let run = 0; run < 3; run++) {
      await cluster.sleep(500);
      const slow = slowStore(cluster, new SeededRandom(seed + run));
      const slowly = run === 0 ? { store: slow, pageEntries: 8 } : {};
      // With repair, for a false alarm that is repaired is the worst one.
      const { said, findings, undecided } = await runFsck(cluster, { repair: true, ...slowly });
      assert.deepEqual(said, [], `seed ${seed}, run ${run}`);
      assert.equal(undecided, 0, `seed ${seed}, run ${run}`);
      assert.equal(findings.repaired, 0, `seed ${seed}, run ${run}`);
    }
    isOver = true;
    const done = await Promise.all(clients);
    assert.ok(done.every((count) => count > 10), `seed ${seed}: ${done}`);
  });
}
