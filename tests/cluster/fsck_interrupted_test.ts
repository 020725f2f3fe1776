// fsck: a repair that is killed at whichever commit, or never hears what became of one, and is run
// again, leaves what one leaves that nobody disturbs.

import assert from "node:assert/strict";
import { encodeChild, encodeSession, present } from "../../mds/values.ts";
import { RustreError } from "../../shared/errors.ts";
import type { Key, Store } from "../../shared/store/store.ts";
import { type TestCluster, withCluster } from "../support/cluster.ts";
import {
  clientId,
  handle,
  type MadeTree,
  makeTree,
  plant,
  plantInode,
  runFsck,
  schema,
} from "../support/fsck.ts";
import { UncertainStore } from "../support/uncertain_store.ts";

/** Some of everything that can be repaired. */
async function plantMuch(cluster: TestCluster, tree: MadeTree): Promise<void> {
  const { directory, below, file, link, twice } = tree;
  await plantInode(cluster, twice.ino, (inode) => ({ ...inode, links: 9 }));
  await plant(cluster, (transaction) => {
    for (const name of ["file", "below"]) transaction.delete(schema.child(directory.ino, name));
    transaction.add(schema.directoryLinks(directory.ino), -1n);
    transaction.set(schema.child(1, "ghost"), encodeChild({ ino: 4000, type: "file" }));
    const entry = encodeChild({ ino: link.ino, type: "file" });
    transaction.set(schema.child(directory.ino, "link"), entry);
    transaction.add(schema.inodeCount, 5n);
    transaction.add(schema.directoryLinks(below.ino), 3n);
    transaction.add(schema.directoryLinks(999), 0n);
    const expiresAtMs = cluster.clock.nowMs() + 1e9;
    transaction.set(schema.session(clientId), encodeSession({ expiresAtMs, over: false }));
    transaction.set(schema.writing({ ino: file.ino, clientId, handle }), present);
  });
}

const found = [
  ...["entry-of-another-type", "entry-without-inode", "half-a-writer", "record-of-no-directory"],
  ...["unnamed-inode", "unnamed-inode", "wrong-inode-count", "wrong-links"],
  "wrong-subdirectory-count",
];

async function requireRepaired(cluster: TestCluster, tree: MadeTree): Promise<void> {
  const { fileSystem, file, below, twice } = tree;
  const { said } = await runFsck(cluster, { repair: true });
  assert.deepEqual(said, [], "nothing is left to be repaired");
  const names = await Array.fromAsync(fileSystem.readdir("/lost+found"), ({ name }) => name);
  assert.deepEqual(names.sort(), [`#${file.ino}`, `#${below.ino}`].sort());
  assert.equal((await fileSystem.stat(`/lost+found/#${file.ino}`)).links, 1);
  assert.equal((await fileSystem.stat("/twice")).ino, twice.ino);
  assert.equal((await fileSystem.stat("/twice")).links, 2);
}

/** A repair in a store of its own, between planted damage and a look at what came of it. */
async function repairing(
  storeOf: (inner: UncertainStore) => Store,
  repair: (cluster: TestCluster, store: Store) => Promise<void>,
): Promise<void> {
  await withCluster({ osts: 3, uncheckedBecause: "damage was planted" }, async (cluster) => {
    const tree = await makeTree(cluster);
    await plantMuch(cluster, tree);
    await repair(cluster, storeOf(new UncertainStore(cluster.store)));
    await runFsck(cluster, { repair: true });
    await requireRepaired(cluster, tree);
  });
}

function isOfLease(written: readonly Key[]): boolean {
  return written.every((key) => key === schema.fsckLease);
}

Deno.test("fsck() finishes a repair that was killed, at whichever commit", async () => {
  let commits = 0;
  await repairing((counting) => {
    counting.beforeCommit = (written) => {
      if (written.length > 0 && !isOfLease(written)) commits++;
      return Promise.resolve();
    };
    return counting;
  }, async (cluster, store) => {
    const { short } = await runFsck(cluster, { repair: true, store });
    assert.deepEqual(short, found.map((kind) => `${kind} repaired`));
  });
  assert.ok(commits >= found.length, `${commits}`);
  for (let last = 0; last < commits; last++) {
    await repairing((mortal) => {
      let left = last;
      mortal.beforeCommit = (written) => {
        if (written.length === 0) return Promise.resolve();
        // A dead process gives no lease back either.
        if (isOfLease(written)) return left < 0 ? refuse() : Promise.resolve();
        if (left-- > 0) return Promise.resolve();
        return Promise.reject(new Error("killed"));
      };
      return mortal;
    }, async (cluster, store) => {
      await assert.rejects(runFsck(cluster, { repair: true, store }), /killed/);
    });
  }
});

function refuse(): Promise<never> {
  return Promise.reject(new RustreError("STORE_FAILED", "The process is dead"));
}

for (const fate of ["committed", "not committed"] as const) {
  Deno.test(`fsck() repairs once where it never hears of a commit, ${fate}`, async () => {
    const store = (uncertain: UncertainStore) => {
      for (const what of ["ino/", "children/", "inodes", "dir_links", "writer/"]) {
        uncertain.leaveUnanswered(`mds_meta/${what}`, fate);
      }
      return uncertain;
    };
    await repairing(store, async (cluster, uncertain) => {
      await runFsck(cluster, { repair: true, store: uncertain });
    });
  });
}

Deno.test("fsck() repairs once where two are started at once", async () => {
  await repairing((store) => store, async (cluster, store) => {
    const both = await Promise.allSettled([
      runFsck(cluster, { repair: true, store }),
      runFsck(cluster, { repair: true }),
    ]);
    const findings = both.map((each) => each.status === "fulfilled" ? each.value.short.length : 0);
    assert.deepEqual(findings.toSorted((a, b) => a - b), [0, found.length]);
  });
});

Deno.test("fsck() ends with INTERRUPTED wherever it is interrupted", async () => {
  await withCluster({ osts: 3, uncheckedBecause: "damage was planted" }, async (cluster) => {
    await plantMuch(cluster, await makeTree(cluster));
    for (let afterMs = 0;; afterMs += 7) {
      const stop = new AbortController();
      cluster.clock.setTimer(() => stop.abort(), afterMs);
      const [outcome] = await Promise.allSettled([runFsck(cluster, { signal: stop.signal })]);
      if (outcome!.status === "fulfilled") return assert.ok(afterMs > 100);
      assert.equal(outcome!.reason.code, "INTERRUPTED", String(outcome!.reason));
    }
  });
});
