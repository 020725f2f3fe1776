import assert from "node:assert/strict";
import { encode } from "@msgpack/msgpack";
import { openCluster, Registry } from "../../../mgs/registry.ts";
import { codecs, MgsSchema, storeFormat } from "../../../mgs/schema.ts";
import { isRustreError } from "../../../shared/errors.ts";
import { limits } from "../../../shared/limits.ts";
import { loggerOf } from "../../../shared/logging.ts";
import type { Registration } from "../../../shared/protocol/mgs.ts";
import { Lease } from "../../../shared/store/lease.ts";
import { MemoryStore } from "../../../shared/store/memory.ts";
import type { Transaction } from "../../../shared/store/store.ts";
import { transact } from "../../../shared/store/transact.ts";
import { noUsage } from "../../../shared/usage.ts";
import { SeededRandom } from "../../support/seeded_random.ts";
import { VirtualClock } from "../../support/virtual_clock.ts";

const nodeId = "a".repeat(32);
const ost3: Registration = {
  role: "oss",
  nodeId,
  targetIndex: 3,
  address: { host: "::1", port: 9402 },
  hostName: "host",
  version: "1",
  dataPath: "zero-copy",
  usage: { ...noUsage, capacityBytes: 4, usedBytes: 3, freeBytes: 1, objects: 2 },
};
const mds: Registration = {
  role: "mds",
  nodeId: "b".repeat(32),
  address: { host: "host", port: 9401 },
  hostName: "host",
  version: "1",
};

function setUp() {
  const clock = new VirtualClock();
  const environment = { clock, random: new SeededRandom(1) };
  const context = { store: new MemoryStore(clock), environment };
  const schema = new MgsSchema("name");
  const cluster = { clusterId: "c".repeat(32), clusterName: "name" };
  const registry = () => new Registry({ context, schema, ...cluster, log: loggerOf("mgs") });
  const write = (change: (transaction: Transaction) => void) =>
    transact(context, (transaction) => Promise.resolve(change(transaction)));
  const run = (test: Promise<void>) => clock.run(test);
  return { clock, environment, context, schema, registry, write, run };
}

Deno.test("Registry reads back what another one wrote", async () => {
  const { registry, run } = setUp();
  await run((async () => {
    await registry().apply([
      { type: "registered", registration: ost3 },
      { type: "registered", registration: mds },
      { type: "unregistered", nodeId },
    ]);
    const map = await registry().currentMap();
    assert.deepEqual(map, {
      clusterId: "c".repeat(32),
      clusterName: "name",
      epoch: 1,
      mgs: [],
      mds: [{
        nodeId: mds.nodeId,
        address: mds.address,
        hostName: "host",
        version: "1",
        state: "up",
      }],
      targets: [{
        index: 3,
        nodeId,
        address: ost3.address,
        hostName: "host",
        version: "1",
        dataPath: "zero-copy",
        state: "down",
        usage: ost3.usage,
      }],
    });
    await registry().apply([{ type: "unregistered", nodeId: mds.nodeId }]);
    assert.deepEqual((await registry().currentMap())?.mds, []);
  })());
});

Deno.test("Registry.apply() of concurrent registrations keeps all, each with its epoch", async () => {
  const { registry, run } = setUp();
  await run((async () => {
    const registries = [registry(), registry(), registry()];
    await Promise.all(Array.from({ length: 30 }, (_, port) =>
      registries[port % 3]!.apply([{
        type: "registered",
        registration: {
          ...mds,
          nodeId: String(port).padStart(32, "0"),
          address: { host: "h", port },
        },
      }])));
    const map = await registry().currentMap();
    assert.equal(map?.mds.length, 30);
    assert.equal(map?.epoch, 30);
  })());
});

Deno.test("Registry.apply() writes nothing where nothing changes", async () => {
  const { context, registry, run } = setUp();
  await run((async () => {
    const event = { type: "registered", registration: ost3 } as const;
    await registry().apply([event]);
    const versionBefore = context.store.recent.version;
    await registry().apply([event, { type: "timePassed" }]);
    assert.equal(context.store.recent.version, versionBefore);
  })());
});

Deno.test("Registry.apply() under a lease that another has changes nothing", async () => {
  const { context, schema, registry, run } = setUp();
  await run((async () => {
    const lease = new Lease({ context, key: schema.proberLease, holder: "first" });
    assert.equal(await lease.renew(), true);
    await registry().apply([{ type: "registered", registration: ost3 }], lease);
    const usurper = new Lease({
      context,
      key: schema.proberLease,
      holder: "second",
      isGone: () => true,
    });
    assert.equal(await usurper.renew(), true);
    await assert.rejects(
      registry().apply([{ type: "unregistered", nodeId }], lease),
      (error) => isRustreError(error, "LEASE_LOST"),
    );
    assert.equal((await registry().currentMap())?.targets[0]?.state, "up");
  })());
});

Deno.test("Registry.currentMap() gives nothing to those who know it, and usage a second later", async () => {
  const { clock, registry, run } = setUp();
  await run((async () => {
    const [ours, theirs] = [registry(), registry()];
    await ours.apply([{ type: "registered", registration: ost3 }]);
    const map = await ours.currentMap();
    assert.equal(await ours.currentMap(map?.epoch), undefined);
    const usage = { ...noUsage, capacityBytes: 9, usedBytes: 9, freeBytes: 0, objects: 9 };
    const node = { role: "oss", nodeId, address: ost3.address, targetIndex: 3 } as const;
    await theirs.apply([{ type: "probeSucceeded", node, usage }]);
    await new Promise<void>((resolve) => clock.setTimer(resolve, limits.probeIntervalMs));
    assert.deepEqual((await ours.currentMap())?.targets[0]?.usage, usage);
    await theirs.apply([{ type: "unregistered", nodeId }]);
    const changed = await ours.currentMap(map?.epoch);
    assert.equal(changed?.targets[0]?.state, "down", "a change of the map shows at once");
  })());
});

Deno.test("openCluster() makes one cluster, whoever comes first", async () => {
  const { context, run } = setUp();
  await run((async () => {
    const ids = await Promise.all([1, 2, 3].map(() => openCluster(context, "name")));
    assert.match(ids[0]!, /^[0-9a-f]{32}$/);
    assert.equal(new Set(ids).size, 1);
    assert.equal(await openCluster(context, "name"), ids[0]);
    const other = await openCluster(context, "other");
    assert.notEqual(other, ids[0], "another name is another cluster");
  })());
});

Deno.test("openCluster() refuses a store of another format", async () => {
  const { context, schema, write, run } = setUp();
  await run((async () => {
    await openCluster(context, "name");
    await write((transaction) => {
      transaction.set(schema.format, codecs.format.encode(storeFormat + 1));
    });
    await assert.rejects(
      openCluster(context, "name"),
      (error) => isRustreError(error, "STORE_FORMAT") && /"memory:".*format 2/.test(error.message),
    );
    await write((transaction) => transaction.delete(schema.format));
    await assert.rejects(
      openCluster(context, "name"),
      (error) => isRustreError(error, "STORE_FORMAT"),
    );
  })());
});

const damages: [string, Uint8Array][] = [
  ["no MessagePack", Uint8Array.of(0xc1)],
  ["another format of the value", encode([2, {}])],
  ["a record that lacks fields", encode([1, { index: 3 }])],
  ["no bytes", new Uint8Array()],
];
for (const [name, value] of damages) {
  Deno.test(`Registry refuses a store in which an OST is ${name}`, async () => {
    const { schema, registry, write, run } = setUp();
    await run((async () => {
      await write((transaction) => transaction.set(schema.target(3), value));
      await assert.rejects(
        registry().currentMap(),
        (error) => isRustreError(error, "STORE_FORMAT") && /an OST/.test(error.message),
      );
    })());
  });
}
