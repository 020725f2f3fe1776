// Requests that come late, twice, in another order, by an old map, or from a client whose session is
// over: each is refused with an error of its own, and has no effect.

import assert from "node:assert/strict";
import { startOss } from "../../oss/start.ts";
import { limits } from "../../shared/limits.ts";
import { loggerOf } from "../../shared/logging.ts";
import type { Address } from "../../shared/environment.ts";
import type { RpcClient } from "../../shared/rpc/client.ts";
import { mdsService } from "../../shared/protocol/mds.ts";
import { objectId } from "../../shared/layout.ts";
import { MemoryStore } from "../../shared/store/memory.ts";
import { encode } from "@msgpack/msgpack";
import { isRustreError } from "../../shared/errors.ts";
import { root, type TestCluster, withCluster } from "../support/cluster.ts";
import { LateTransport } from "../support/late_transport.ts";
import { OssCaller } from "../support/oss_caller.ts";

const place = (path: string) => ({ ino: 1, path });
const bytesOf = (text: string) => new TextEncoder().encode(text);
/** Its lease, what the collector takes to notice, and the OSTs to hear of the new epoch. */
const overAfterMs = limits.sessionLeaseMs + 4 * limits.collectIntervalMs;

/** A client that says exactly what a test wants said, to two mds. */
class Talker {
  readonly rpc: RpcClient;
  readonly #cluster: TestCluster;
  clientId = "";

  constructor(cluster: TestCluster) {
    this.#cluster = cluster;
    this.rpc = cluster.rpc("talker");
  }

  async open(): Promise<void> {
    this.clientId = (await this.rpc.call(this.#at("mds0"), mdsService, "openSession", {})).clientId;
  }

  close() {
    const { clientId } = this;
    return this.rpc.call(this.#at("mds0"), mdsService, "closeSession", { clientId });
  }

  mkdir(mds: string, requestId: number, name: string) {
    const what = { directory: place(""), name, mode: 0o755 };
    return this.rpc.call(this.#at(mds), mdsService, "mkdir", { ...this.#as(requestId), ...what });
  }

  unlink(mds: string, requestId: number, name: string) {
    const what = { directory: place(""), name };
    return this.rpc.call(this.#at(mds), mdsService, "unlink", { ...this.#as(requestId), ...what });
  }

  openWrite(requestId: number, path: string) {
    const what = { place: place(path), handle: "e".repeat(32) };
    return this.rpc.call(this.#at("mds0"), mdsService, "openWrite", {
      ...this.#as(requestId),
      ...what,
    });
  }

  #as(requestId: number) {
    return { clientId: this.clientId, requestId, caller: root };
  }

  #at(mds: string): { address: Address; role: "mds" } {
    return { address: this.#cluster.endpoint(mds).address, role: "mds" };
  }
}

async function withTwoMds(
  test: (cluster: TestCluster, talker: Talker) => Promise<void>,
): Promise<void> {
  await withCluster({ osts: 2 }, async (cluster) => {
    await cluster.startMds("mds1");
    await cluster.allUp();
    const talker = new Talker(cluster);
    await talker.open();
    await test(cluster, talker);
  });
}

// ── mutations ──────────────────────────────────────────────────────────────────────────────────

Deno.test("a mutation that was refused stays refused when a copy of it comes late", async () => {
  await withTwoMds(async (cluster, talker) => {
    const fileSystem = cluster.fileSystem();
    await fileSystem.mkdir("/a");
    await assert.rejects(talker.mkdir("mds1", 1, "a"), { code: "EEXIST" });
    await assert.rejects(talker.unlink("mds1", 2, "b"), { code: "ENOENT" });
    // By now both would succeed.
    await fileSystem.rmdir("/a");
    await fileSystem.createEmpty("/b");
    for (const mds of ["mds0", "mds1"]) {
      await assert.rejects(talker.mkdir(mds, 1, "a"), { code: "EEXIST", message: /"a"|exists/ });
      await assert.rejects(talker.unlink(mds, 2, "b"), { code: "ENOENT" });
    }
    assert.equal(await fileSystem.find("/a"), undefined);
    assert(await fileSystem.find("/b"));
    await talker.close();
  });
});

Deno.test("copies of one mutation that meet at two mds are answered alike", async () => {
  await withTwoMds(async (cluster, talker) => {
    const fileSystem = cluster.fileSystem();
    for (let requestId = 1; requestId <= 30; requestId++) {
      const name = `d${requestId % 7}`;
      const outcomes = await Promise.all(["mds0", "mds1", "mds0"].map(async (mds) => {
        try {
          return await talker.mkdir(mds, requestId, name);
        } catch (error) {
          assert(isRustreError(error, "EEXIST"), String(error));
          return error.code;
        }
      }));
      assert.deepEqual(outcomes[1], outcomes[0]);
      assert.deepEqual(outcomes[2], outcomes[0]);
      if (requestId % 3 === 0 && await fileSystem.find(`/${name}`)) {
        await fileSystem.rmdir(`/${name}`);
      }
    }
    await talker.close();
  });
});

Deno.test("no request of a session that is over has an effect, nor one that would open it again", async () => {
  await withTwoMds(async (cluster, talker) => {
    await talker.mkdir("mds0", 1, "a");
    await talker.close();
    await cluster.fileSystem().rmdir("/a");
    // A copy of openSession: it opens another session, whatever was opened before.
    const { clientId } = talker;
    await talker.open();
    assert.notEqual(talker.clientId, clientId);
    const late = new Talker(cluster);
    late.clientId = clientId;
    for (const mds of ["mds0", "mds1"]) {
      await assert.rejects(late.mkdir(mds, 1, "a"), { code: "SESSION_OVER" });
      await assert.rejects(late.mkdir(mds, 2, "b"), { code: "SESSION_OVER" });
    }
    assert.deepEqual(await Array.fromAsync(cluster.fileSystem().readdir("/")), []);
    await talker.close();
  });
});

// ── objects ────────────────────────────────────────────────────────────────────────────────────

async function fileOf(cluster: TestCluster, text: string): Promise<number> {
  const fileSystem = cluster.fileSystem();
  await using file = await fileSystem.create("/f", { layout: { stripeCount: 1, replicas: 2 } });
  await file.write(0, bytesOf(text));
  await file.close();
  return (await fileSystem.stat("/f")).ino;
}

async function contentOf(cluster: TestCluster): Promise<string> {
  await using file = await cluster.fileSystem().open("/f");
  return new TextDecoder().decode(await file.read(0, 1_000));
}

Deno.test("a write that comes after the end of its client's session is refused, and changes nothing", async () => {
  await withTwoMds(async (cluster, talker) => {
    const object = objectId(await fileOf(cluster, "before"), 0);
    await talker.openWrite(1, "f");
    const sentBy = new OssCaller(talker.rpc, await cluster.connect().map());
    for (const index of [0, 1]) await sentBy.write(index, bytesOf("second"), { object });
    await cluster.sleep(overAfterMs);
    for (const index of [0, 1]) {
      const late = sentBy.write(index, bytesOf("LATE!!"), { object });
      await assert.rejects(late, { code: "STALE_MAP" });
    }
    assert.equal(await contentOf(cluster), "second");
  });
});

/** Starts oss0 where it always is, as an operator does: no other server sees a difference. */
async function startAtSamePlace(cluster: TestCluster): Promise<void> {
  const host = "oss0";
  const oss = await startOss({
    environment: cluster.environment(host),
    mgs: [cluster.endpoint("mgs0").address],
    listen: { host, port: 9402 },
    advertise: (listening) => Promise.resolve(listening),
    storage: cluster.targets[0]!,
    targetIndex: 0,
    hostName: host,
    version: "test",
    log: loggerOf("oss"),
  });
  cluster.servers.set(host, oss);
  await oss.registered;
}

Deno.test("a write to a file that was removed makes no object, also after its OST was started again", async () => {
  await withTwoMds(async (cluster, talker) => {
    await cluster.stop("oss0");
    await startAtSamePlace(cluster);
    await cluster.allUp();
    const object = objectId(await fileOf(cluster, "before"), 0);
    const sentBy = new OssCaller(talker.rpc, await cluster.connect().map());
    await cluster.fileSystem().unlink("/f");
    await cluster.eventually(() => cluster.usage().objects === 0);
    await assert.rejects(sentBy.write(0, bytesOf("late"), { object }), { code: "OBJECT_GONE" });
    // So quickly that nobody has noticed.
    await cluster.crash("oss0");
    await startAtSamePlace(cluster);
    const { targets: [target] } = await cluster.connect().map();
    assert.deepEqual(target?.address, sentBy.map.targets[0]?.address);
    await assert.rejects(sentBy.write(0, bytesOf("late"), { object }), { code: "STALE_MAP" });
    assert.equal(cluster.usage().objects, 0);
    await talker.close();
  });
});

Deno.test("a write that hung on a lost connection does not overwrite what was written after it", async () => {
  await withCluster({ osts: 2 }, async (cluster) => {
    const late = new LateTransport(cluster.network.transport("late"));
    const fileSystem = cluster.connect("late", { transport: late }).fileSystem(root);
    await fileOf(cluster, "before");
    await using file = await fileSystem.openForWriting("/f");
    await file.write(0, bytesOf("first!"));
    late.hold();
    // Its first try does not arrive; the second one does, on a new connection.
    await file.write(0, bytesOf("second"));
    await file.write(0, bytesOf("third!"));
    await late.deliver();
    await cluster.sleep(100);
    await file.close();
    assert.equal(await contentOf(cluster), "third!");
  });
});

Deno.test("a cut of a collector that was replaced does not reach what was written since", async () => {
  await withTwoMds(async (cluster, talker) => {
    const object = objectId(await fileOf(cluster, "0123456789"), 0);
    const fileSystem = cluster.fileSystem();
    const sentBy = new OssCaller(talker.rpc, await cluster.connect().map());
    // What the one that collects would have sent.
    const cut = { epoch: sentBy.map.epoch, object, lengthBytes: 4, extend: false };
    await cluster.crash("mds0");
    await fileSystem.setAttributes("/f", { sizeBytes: 4 });
    await cluster.eventually(async () => {
      try {
        await using file = await fileSystem.openForWriting("/f");
        await file.write(4, bytesOf("new"));
        await file.close();
        return true;
      } catch (error) {
        if (isRustreError(error, "EAGAIN")) return false;
        throw error;
      }
    });
    for (const index of [0, 1]) {
      await assert.rejects(sentBy.call(index, "resizeObject", cut), { code: "STALE_MAP" });
    }
    assert.equal(await contentOf(cluster), "0123new");
    await cluster.startMds("mds0");
    await talker.close();
  });
});

Deno.test("a request by an old map, or by one that nobody has, is refused and changes nothing", async () => {
  await withTwoMds(async (cluster, talker) => {
    const object = objectId(await fileOf(cluster, "before"), 0);
    const map = await cluster.connect().map();
    for (const [epoch, count] of [[map.epoch - 1, 1], [map.epoch + 5, 1], [0, 1]] as const) {
      const caller = new OssCaller(talker.rpc, { ...map, epoch });
      for (let each = 0; each <= count; each++) {
        const write = caller.write(0, bytesOf("other!"), { object });
        await assert.rejects(write, { code: "STALE_MAP" }, `epoch ${epoch}`);
        const resize = { epoch, object, lengthBytes: 1, extend: false };
        await assert.rejects(caller.call(0, "resizeObject", resize), { code: "STALE_MAP" });
      }
    }
    assert.equal(await contentOf(cluster), "before");
    await talker.close();
  });
});

// ── stores ─────────────────────────────────────────────────────────────────────────────────────

Deno.test("an mds refuses a store of another cluster, of none, and of a newer format", async () => {
  await withCluster({ osts: 1 }, async (cluster) => {
    const empty = new MemoryStore(cluster.clock);
    await assert.rejects(cluster.startMds("mds1", { store: empty }), {
      code: "WRONG_CLUSTER",
      message: /keeps it in another store/,
    });
    const other = new MemoryStore(cluster.clock);
    const transaction = other.begin();
    transaction.set("test/id", encode([1, "b".repeat(32)]));
    transaction.set("test/format", encode([1, 1]));
    await transaction.commit();
    await assert.rejects(cluster.startMds("mds1", { store: other }), { code: "WRONG_CLUSTER" });

    const rewritten = async (format: number) => {
      const transaction = cluster.store.begin();
      transaction.set("test/format", encode([1, format]));
      await transaction.commit();
    };
    await rewritten(2);
    const newer = { code: "STORE_FORMAT", message: /it has format 2, and this version.*format 1/ };
    await assert.rejects(cluster.startMds("mds1"), newer);
    await assert.rejects(cluster.startMgs("mgs1"), newer);
    await rewritten(1);
    await cluster.startMds("mds1");
  });
});
