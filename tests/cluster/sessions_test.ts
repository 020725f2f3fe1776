// Sessions: the lease of a client on what it left half done, and what is left of it when it dies.

import assert from "node:assert/strict";
import { isRustreError, RustreError } from "../../shared/errors.ts";
import { mdsService } from "../../shared/protocol/mds.ts";
import { limits } from "../../shared/limits.ts";
import { leftovers } from "../support/check_store.ts";
import { root, type TestCluster, withCluster } from "../support/cluster.ts";
import { UncertainStore } from "../support/uncertain_store.ts";

const rootPlace = { ino: 1, path: "" };
const content = new Uint8Array(300_000).fill(5);

function keysOf(all: readonly string[], kind: string): string[] {
  return all.filter((key) => key.startsWith(`test/mds_meta/${kind}/`));
}

/** Lease, and what the collector takes to notice its end. */
const overAfterMs = limits.sessionLeaseMs + 2 * limits.collectIntervalMs + limits.sessionRenewMs;

Deno.test("a client that is killed while it creates leaves the name free and no bytes", async () => {
  await withCluster({}, async (cluster) => {
    const doomed = cluster.connect("doomed");
    const file = await doomed.fileSystem(root).create("/f", { layout: { replicas: 2 } });
    await file.write(0, content);
    await file.sync();
    cluster.network.kill("doomed");
    const fileSystem = cluster.fileSystem();
    assert.equal(await fileSystem.find("/f"), undefined);
    await fileSystem.createEmpty("/f");
    assert.equal((await fileSystem.stat("/f")).sizeBytes, 0);
    assert.equal(cluster.usage().bytes, 2 * content.length);
    await cluster.eventually(() => cluster.usage().bytes === 0, overAfterMs);
    const names = await Array.fromAsync(fileSystem.readdir("/"), ({ name }) => name);
    assert.deepEqual(names, ["f"]);
  });
});

Deno.test("a client that is killed with a file open for writing blocks nobody for long", async () => {
  await withCluster({}, async (cluster) => {
    const fileSystem = cluster.fileSystem();
    await fileSystem.createEmpty("/f");
    await cluster.connect("doomed").fileSystem(root).openForWriting("/f");
    cluster.network.kill("doomed");
    const cut = () => fileSystem.setAttributes("/f", { sizeBytes: 10 });
    await assert.rejects(cut(), { code: "EBUSY" });
    await cluster.sleep(overAfterMs);
    await cut();
  });
});

Deno.test("a client that wakes up after its lease writes nothing that nobody would remove", async () => {
  await withCluster({}, async (cluster) => {
    const file = await cluster.connect("sleeper").fileSystem(root).create("/f");
    await file.write(0, content);
    cluster.network.freeze("sleeper");
    await cluster.eventually(() => cluster.usage().bytes === 0);
    // The OSTs forget which inodes they destroyed.
    for (const index of cluster.targets.keys()) {
      await cluster.stop(`oss${index}`);
      await cluster.startOss(index);
    }
    cluster.network.freeze("sleeper", false);
    await assert.rejects(
      file.write(0, content),
      (error) => isRustreError(error, "SESSION_OVER", "EAGAIN"),
    );
    await file.abandon();
    assert.equal(cluster.usage().bytes, 0);
  });
});

Deno.test("a session lives as long as its client, however idle", async () => {
  await withCluster({}, async (cluster) => {
    const fileSystem = cluster.fileSystem();
    const file = await fileSystem.create("/f");
    await file.write(0, content);
    await cluster.sleep(20 * limits.sessionLeaseMs);
    await file.close();
    assert.equal((await fileSystem.stat("/f")).sizeBytes, content.length);
  });
});

Deno.test("sessions outlive a long time without an mds", async () => {
  await withCluster({}, async (cluster) => {
    const fileSystem = cluster.fileSystem();
    const file = await fileSystem.create("/f");
    await file.write(0, content);
    await cluster.crash("mds0");
    await cluster.sleep(4 * limits.sessionLeaseMs);
    await cluster.startMds("mds0");
    await cluster.sleep(2 * limits.sessionLeaseMs);
    await file.close();
    assert.equal((await fileSystem.stat("/f")).sizeBytes, content.length);
  });
});

Deno.test("a request of a session that is over has no effect", async () => {
  await withCluster({}, async (cluster) => {
    const rpc = cluster.rpc("other");
    const endpoint = cluster.endpoint("mds0");
    let clientId = "c".repeat(32);
    const mkdir = (requestId: number) =>
      rpc.call(endpoint, mdsService, "mkdir", {
        clientId,
        requestId,
        caller: root,
        directory: rootPlace,
        name: "d",
        mode: 0o755,
      });
    await assert.rejects(mkdir(1), { code: "SESSION_OVER" });
    ({ clientId } = await rpc.call(endpoint, mdsService, "openSession", {}));
    await rpc.call(endpoint, mdsService, "closeSession", { clientId });
    await assert.rejects(mkdir(2), { code: "SESSION_OVER" });
    const renewing = rpc.call(endpoint, mdsService, "renewSession", { clientId });
    await assert.rejects(renewing, { code: "SESSION_OVER" });
    assert.equal(await cluster.fileSystem().find("/d"), undefined);
    assert.deepEqual(
      keysOf(await leftovers(cluster), "idem").filter((key) => key.includes(clientId)),
      [],
    );
  });
});

Deno.test("a client whose session ended goes on under a new one", async () => {
  await withCluster({}, async (cluster) => {
    const client = cluster.connect("sleeper");
    const fileSystem = client.fileSystem(root);
    const file = await fileSystem.create("/f");
    await file.write(0, content);
    await fileSystem.createEmpty("/open");
    const open = await fileSystem.openForWriting("/open");
    await open.write(0, content);
    cluster.network.freeze("sleeper");
    // One renewal may be on its way and arrive when its connection breaks.
    await cluster.sleep(2 * overAfterMs);
    cluster.network.freeze("sleeper", false);
    await assert.rejects(file.close());
    await assert.rejects(open.sync(), { code: "EBADF" });
    await open.abandon();
    assert.equal(await fileSystem.find("/f"), undefined);
    await fileSystem.mkdir("/d");
    assert.equal((await fileSystem.stat("/open")).sizeBytes, 0);
    await fileSystem.unlink("/open");
  });
});

async function commitAgainstEnd(endFirst: boolean): Promise<void> {
  let store: UncertainStore | undefined;
  await withCluster({ mdsStore: (inner) => store = new UncertainStore(inner) }, async (cluster) => {
    const fileSystem = cluster.fileSystem();
    const file = await fileSystem.create("/f");
    await file.write(0, content);
    const [session] = keysOf(await leftovers(cluster), "session");
    const clientId = session!.split("/").at(-1)!;
    const rpc = cluster.rpc("other");
    const end = () => rpc.call(cluster.endpoint("mds0"), mdsService, "closeSession", { clientId });
    let ending: Promise<unknown> | undefined;
    store!.beforeCommit = async (written) => {
      if (ending || !written.some((key) => key.includes("/children/"))) return;
      ending = end();
      if (endFirst) await ending;
    };
    if (endFirst) await assert.rejects(file.close());
    else await file.close();
    await ending;
    const found = await fileSystem.find("/f");
    assert.equal(found?.sizeBytes, endFirst ? undefined : content.length);
  });
}

Deno.test("commit() loses to an end of the session that comes first, as a whole", async () => {
  await commitAgainstEnd(true);
});

Deno.test("commit() that comes first is not undone by the end of the session", async () => {
  await commitAgainstEnd(false);
});

Deno.test("an end of a session that was interrupted is carried through", async () => {
  let store: UncertainStore | undefined;
  await withCluster({ mdsStore: (inner) => store = new UncertainStore(inner) }, async (cluster) => {
    const client = cluster.connect("leaver");
    const fileSystem = client.fileSystem(root);
    await fileSystem.createEmpty("/open");
    await fileSystem.openForWriting("/open");
    const file = await fileSystem.create("/f");
    await file.write(0, content);
    let commits = 0;
    store!.beforeCommit = () => {
      // The session is marked as over, and then the mds dies.
      if (++commits === 2) store!.fail(true);
      return commits < 2 ? Promise.resolve() : Promise.reject(storeFailed());
    };
    await client.close();
    assert.equal(commits >= 2, true);
    assert.equal(keysOf(await leftovers(cluster), "pending").length, 1);
    await cluster.crash("mds0");
    await cluster.startMds("mds0");
    await cluster.sleep(overAfterMs);
    assert.deepEqual(keysOf(await leftovers(cluster), "pending"), []);
    assert.deepEqual(keysOf(await leftovers(cluster), "writer"), []);
    assert.equal(cluster.usage().objects, 0);
  });
});

function storeFailed(): RustreError {
  return new RustreError("STORE_FAILED", "The store cannot be reached");
}

Deno.test("the interrupted opening of a session does not fail those who wait with it", async () => {
  await withCluster({}, async (cluster) => {
    const fileSystem = cluster.connect("slow").fileSystem(root);
    await fileSystem.stat("/");
    cluster.network.freeze("slow");
    const interruption = new AbortController();
    const first = fileSystem.mkdir("/a", { signal: interruption.signal });
    const second = fileSystem.mkdir("/b");
    await cluster.sleep(10);
    interruption.abort();
    await assert.rejects(first, { code: "INTERRUPTED" });
    cluster.network.freeze("slow", false);
    await second;
    assert.equal(await fileSystem.find("/a"), undefined);
  });
});

Deno.test("a client that closes while its session is being opened leaves nothing running", async () => {
  await withCluster({}, async (cluster) => {
    // What the servers themselves wait for varies a little.
    const timersOf = async () => {
      await cluster.sleep(60_000);
      return cluster.clock.timerCount;
    };
    const before = await timersOf();
    for (let round = 0; round < 20; round++) {
      const client = cluster.connect(`hasty${round}`);
      const made = client.fileSystem(root).mkdir(`/d${round}`).catch((error) => error);
      await client.map();
      await client.close();
      await made;
    }
    assert.equal(await timersOf(), before);
    assert.deepEqual(keysOf(await leftovers(cluster), "session"), []);
  });
});

Deno.test("a client that is closed starts no new session", async () => {
  await withCluster({}, async (cluster) => {
    const client = cluster.connect("closed");
    const fileSystem = client.fileSystem(root);
    await fileSystem.mkdir("/a");
    cluster.network.freeze("closed");
    const underWay = fileSystem.mkdir("/b");
    const closing = client.close();
    cluster.network.freeze("closed", false);
    await closing;
    // Where it was sent, nobody knows whether it was carried out.
    await underWay.catch((error) =>
      assert(isRustreError(error, "SHUTTING_DOWN", "CONNECTION_LOST"), error)
    );
    await assert.rejects(fileSystem.mkdir("/c"), { code: "SHUTTING_DOWN" });
    assert.deepEqual(keysOf(await leftovers(cluster), "session").length, 0);
  });
});

Deno.test("a handle that could not be given up is given up later, while its client lives", async () => {
  await withCluster({}, async (cluster) => {
    const fileSystem = cluster.fileSystem();
    await fileSystem.createEmpty("/f");
    const file = await fileSystem.openForWriting("/f");
    const draft = await fileSystem.create("/draft");
    await draft.write(0, content);
    await cluster.crash("mds0");
    await file.abandon();
    await draft.abandon();
    await cluster.startMds("mds0");
    await cluster.sleep(4 * limits.sessionRenewMs);
    await cluster.fileSystem().setAttributes("/f", { sizeBytes: 10 });
    assert.deepEqual(keysOf(await leftovers(cluster), "pending"), []);
    await cluster.eventually(() => cluster.usage().objects === 0, 5_000);
    await stillTheSameSession(cluster);
  });
});

async function stillTheSameSession(cluster: TestCluster): Promise<void> {
  assert.equal(keysOf(await leftovers(cluster), "session").length, 2);
}
