// The copy of a store: complete or not usable, wherever it is interrupted, whatever is unknown.

import assert from "node:assert/strict";
import { encode } from "@msgpack/msgpack";
import { RustreError } from "../../../shared/errors.ts";
import { limits } from "../../../shared/limits.ts";
import {
  copyMarkKey,
  readClusterId,
  writeClusterId,
  writeCopyMark,
} from "../../../shared/store/cluster_id.ts";
import { type CopyOptions, copyStore } from "../../../shared/store/copy.ts";
import { Lease } from "../../../shared/store/lease.ts";
import { MemoryStore } from "../../../shared/store/memory.ts";
import { type KeyValue, type Store, type Transaction } from "../../../shared/store/store.ts";
import { transact } from "../../../shared/store/transact.ts";
import { SeededRandom } from "../../support/seeded_random.ts";
import { UncertainStore } from "../../support/uncertain_store.ts";
import { VirtualClock } from "../../support/virtual_clock.ts";

const clusterId = "0123456789abcdef".repeat(2);
const otherId = "fedcba9876543210".repeat(2);

class World {
  readonly clock = new VirtualClock();
  readonly environment = { clock: this.clock, random: new SeededRandom(1) };
  readonly from = new MemoryStore(this.clock);
  readonly to = new MemoryStore(this.clock);

  copy(options: Partial<CopyOptions> = {}) {
    const { environment, from, to } = this;
    return copyStore({ environment, from, to, clusterName: "c", ...options });
  }

  write(store: Store, change: (transaction: Transaction) => void): Promise<void> {
    return transact({ store, environment: this.environment }, (transaction) => {
      change(transaction);
      return Promise.resolve();
    });
  }

  /** Enough for some batches, by their number and by their size. */
  async fill(): Promise<void> {
    await this.write(this.from, (transaction) => writeClusterId(transaction, "c", clusterId));
    for (let start = 0; start < 3000; start += 50) {
      await this.write(this.from, (transaction) => {
        transaction.set(`c/k/${start}`, new Uint8Array(limits.valueBytesMax).fill(start));
        for (let index = start + 1; index < start + 50; index++) {
          transaction.set(`c/k/${index}\xfe`, new Uint8Array(index % 50).fill(index));
        }
      });
    }
    await this.write(this.from, (transaction) => transaction.set("d/k", new Uint8Array(1)));
  }

  async rows(store: Store): Promise<KeyValue[]> {
    const all: KeyValue[] = [];
    for (let begin = "";;) {
      const page = await transact(
        { store, environment: this.environment },
        (transaction) => transaction.getRange({ begin, end: "\xff" }, { limit: 1000 }),
      );
      all.push(...page);
      if (page.length < 1000) return all;
      begin = page.at(-1)!.key + "\0";
    }
  }

  async assertComplete(): Promise<void> {
    const ofCluster = (await this.rows(this.from)).filter(({ key }) => key.startsWith("c/"));
    assert.deepEqual(await this.rows(this.to), ofCluster);
    assert.equal(await this.readId(this.to), clusterId);
  }

  readId(store: Store): Promise<string | undefined> {
    return transact(
      { store, environment: this.environment },
      (transaction) => readClusterId(transaction, "c"),
    );
  }
}

function copyTest(name: string, test: (world: World) => Promise<void>): void {
  Deno.test(name, async () => {
    const world = new World();
    await world.clock.run(test(world));
  });
}

copyTest("copyStore() copies a cluster and nothing else, and says what it read", async (world) => {
  await world.fill();
  const summary = await world.copy();
  await world.assertComplete();
  const rows = await world.rows(world.to);
  assert.equal(summary.pairs, rows.length);
  const bytes = rows.reduce((total, { key, value }) => total + key.length + value.length, 0);
  assert.deepEqual([summary.bytes, summary.resumedAtPairs], [bytes, 0]);
  assert.match(summary.sha256, /^[0-9a-f]{64}$/);
  const again = await world.copy({ to: new MemoryStore(world.clock) });
  assert.equal(again.sha256, summary.sha256);
});

copyTest("copyStore() goes on where it was interrupted, at whichever commit", async (world) => {
  await world.fill();
  let commits = 0;
  const counting = new UncertainStore(world.to);
  counting.beforeCommit = () => {
    commits++;
    return Promise.resolve();
  };
  const whole = await world.copy({ to: counting });
  assert.ok(commits >= 10, `${commits}`);
  for (let last = 1; last < commits; last++) {
    const to = new MemoryStore(world.clock);
    const mortal = new UncertainStore(to);
    let left = last;
    mortal.beforeCommit = () => {
      if (left-- > 0) return Promise.resolve();
      return Promise.reject(new RustreError("STORE_FAILED", "The process died"));
    };
    await assert.rejects(world.copy({ to: mortal }), { code: "STORE_FAILED" });
    // Of the end, only the mark is left to be removed.
    await assert.rejects(world.readId(to), /copy into it is not complete/, `commit ${last}`);
    const { resumedAtPairs, ...summary } = await world.copy({ to });
    assert.ok(resumedAtPairs > 0 || last < 3);
    assert.deepEqual({ ...summary, resumedAtPairs: 0 }, whole);
    assert.deepEqual(await world.rows(to), await world.rows(world.to));
  }
});

for (const fate of ["committed", "not committed"] as const) {
  copyTest(`copyStore() goes on after commits of which it never hears, ${fate}`, async (world) => {
    await world.fill();
    const to = new UncertainStore(world.to);
    for (let index = 0; index < 8; index++) to.leaveUnanswered("c/copy", fate);
    await world.copy({ to });
    assert.equal(to.unanswered, 8);
    await world.assertComplete();
  });
}

copyTest("copyStore() copies again what was changed between its runs", async (world) => {
  await world.fill();
  const mortal = new UncertainStore(world.to);
  let left = 5;
  mortal.beforeCommit = () => {
    return left-- > 0 ? Promise.resolve() : Promise.reject(new RustreError("STORE_FAILED", "-"));
  };
  await assert.rejects(world.copy({ to: mortal }), { code: "STORE_FAILED" });
  await world.write(world.from, (transaction) => {
    transaction.delete("c/k/1\xfe");
    transaction.set("c/k/11", new Uint8Array(3));
    transaction.delete("c/k/999\xfe");
    transaction.set("c/zzz", new Uint8Array(4));
  });
  const { resumedAtPairs } = await world.copy();
  assert.ok(resumedAtPairs > 0);
  await world.assertComplete();
});

copyTest("copyStore() leaves nothing behind the last pair of the source", async (world) => {
  await world.fill();
  const mortal = new UncertainStore(world.to);
  let commits = 0;
  mortal.beforeCommit = (written) => {
    // The last commit only deletes the mark; each other one writes more.
    const isLast = written.length === 1 && written[0] === copyMarkKey("c") && commits > 1;
    commits++;
    return isLast ? Promise.reject(new RustreError("STORE_FAILED", "-")) : Promise.resolve();
  };
  await assert.rejects(world.copy({ to: mortal }), { code: "STORE_FAILED" });
  const last = (await world.rows(world.from)).filter(({ key }) => key.startsWith("c/")).at(-1)!;
  await world.write(world.from, (transaction) => transaction.delete(last.key));
  await world.copy();
  await world.assertComplete();
});

copyTest("copyStore() does not complete a copy of what changes meanwhile", async (world) => {
  await world.fill();
  let changed = false;
  const onProgress = ({ stage }: { stage: string }) => {
    if (stage !== "copying" || changed) return;
    changed = true;
    const transaction = world.from.begin();
    transaction.set("c/k/0", new Uint8Array(9));
    void transaction.commit();
  };
  const copied = world.copy({ onProgress });
  await assert.rejects(copied, { code: "CONFLICT", message: /changed meanwhile/ });
  await assert.rejects(world.readId(world.to), { code: "STORE_FORMAT" });
  await world.copy();
  await world.assertComplete();
});

// ── what is refused ────────────────────────────────────────────────────────────────────────────

copyTest(
  "copyStore() refuses a source without the cluster, or that is a half copy",
  async (world) => {
    await assert.rejects(world.copy(), { code: "WRONG_CLUSTER", message: /no cluster "c"/ });
    const mark = { clusterId, copier: otherId, cursor: "c/", pairs: 0, bytes: 0 };
    await world.write(world.from, (transaction) => writeCopyMark(transaction, "c", mark));
    await assert.rejects(world.copy(), { code: "STORE_FORMAT" });
    assert.deepEqual(await world.rows(world.to), []);
  },
);

copyTest("copyStore() refuses a source of a newer format", async (world) => {
  await world.fill();
  await world.write(world.from, (transaction) => transaction.set("c/format", encode([1, 99])));
  await assert.rejects(world.copy(), { code: "STORE_FORMAT", message: /it has format 99/ });
  assert.deepEqual(await world.rows(world.to), []);
});

const foreign: [string, (transaction: Transaction) => void, RegExp][] = [
  ["another cluster", (transaction) => writeClusterId(transaction, "d", otherId), /something/],
  ["this cluster", (transaction) => writeClusterId(transaction, "c", clusterId), /this cluster/],
  ["keys of anybody", (transaction) => transaction.set("\x01", new Uint8Array(1)), /something/],
  [
    "a copy of another cluster",
    (transaction) => {
      const mark = { clusterId: otherId, copier: otherId, cursor: "c/", pairs: 0, bytes: 0 };
      writeCopyMark(transaction, "c", mark);
    },
    /a copy of another/,
  ],
];
for (const [what, write, message] of foreign) {
  copyTest(`copyStore() refuses a target that holds ${what}`, async (world) => {
    await world.fill();
    await world.write(world.to, write);
    const before = await world.rows(world.to);
    await assert.rejects(world.copy(), { code: "ENOTEMPTY", message });
    assert.deepEqual(await world.rows(world.to), before);
  });
}

copyTest("copyStore() refuses a mark that it cannot read", async (world) => {
  await world.fill();
  await world.write(world.to, (transaction) => {
    transaction.set(copyMarkKey("c"), encode([2, "new"]));
  });
  await assert.rejects(world.copy(), { code: "STORE_FORMAT" });
});

copyTest(
  "copyStore() refuses a source that a server uses, not one that was killed",
  async (world) => {
    await world.fill();
    const context = { store: world.from, environment: world.environment };
    const lease = new Lease({ context, key: "c/lease/prober", holder: "mgs" });
    let isAlive = true;
    const renewing = (async () => {
      while (isAlive) {
        await lease.renew();
        await new Promise<void>((resolve) => world.clock.setTimer(resolve, limits.leaseRenewMs));
      }
    })();
    await new Promise<void>((resolve) => world.clock.setTimer(resolve, 1));
    await assert.rejects(world.copy(), { code: "EBUSY", message: /a server uses it/ });
    assert.deepEqual(await world.rows(world.to), []);
    isAlive = false;
    await renewing;
    const startMs = world.clock.monotonicMs();
    await world.copy();
    await world.assertComplete();
    assert.ok(world.clock.monotonicMs() - startMs >= limits.leaseMs);
  },
);

copyTest("copyStore() does not wait for leases that were given back", async (world) => {
  await world.fill();
  const context = { store: world.from, environment: world.environment };
  const lease = new Lease({ context, key: "c/lease/prober", holder: "mgs" });
  await lease.renew();
  await lease.release();
  const startMs = world.clock.monotonicMs();
  await world.copy();
  assert.ok(world.clock.monotonicMs() - startMs < limits.leaseMs / 2);
});

copyTest(
  "copyStore() notices a server that takes over just when another one stops",
  async (world) => {
    await world.fill();
    const context = { store: world.from, environment: world.environment };
    const [one, other] = ["mds0", "mds1"].map((holder) => {
      return new Lease({ context, key: "c/lease/collector", holder });
    }) as [Lease, Lease];
    await one.renew();
    await one.release();
    world.clock.setTimer(() => void other.keep(), limits.leaseWatchMs);
    await assert.rejects(world.copy(), { code: "CONFLICT", message: /changed meanwhile/ });
    await assert.rejects(world.readId(world.to), { code: "STORE_FORMAT" });
  },
);

copyTest(
  "copyStore() waits for an fsck that repairs, and refuses to run beside it",
  async (world) => {
    await world.fill();
    const context = { store: world.from, environment: world.environment };
    const lease = new Lease({ context, key: "c/lease/fsck", holder: "fsck" });
    await lease.renew();
    world.clock.setTimer(() => void lease.renew(), limits.leaseRenewMs);
    await assert.rejects(world.copy(), { code: "EBUSY" });
  },
);

copyTest("copyStore() gives way to another run that copies to the same store", async (world) => {
  await world.fill();
  for (const commitsBefore of [1, 5]) {
    const to = new MemoryStore(world.clock);
    const interruptedTo = new UncertainStore(to);
    let left = commitsBefore;
    interruptedTo.beforeCommit = async () => {
      if (left-- === 0) await world.copy({ to });
    };
    const first = world.copy({ to: interruptedTo });
    await assert.rejects(first, { code: "EBUSY", message: /another process/ });
    const { sha256 } = await world.copy({ to: new MemoryStore(world.clock) });
    assert.match(sha256, /^[0-9a-f]{64}$/);
    assert.equal(await world.readId(to), clusterId);
  }
});

copyTest("copyStore() ends when it is interrupted", async (world) => {
  await world.fill();
  const stop = new AbortController();
  const onProgress = ({ pairs }: { pairs: number }) => void (pairs > 500 && stop.abort());
  await assert.rejects(world.copy({ signal: stop.signal, onProgress }), { code: "INTERRUPTED" });
  await world.copy();
  await world.assertComplete();
});
