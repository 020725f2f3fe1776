// Mutations whose first answer is lost, whose commit nobody knows the end of, or that come twice or
// late: each has its effect once.

import assert from "node:assert/strict";
import type { FileSystem } from "../../client/mod.ts";
import { limits } from "../../shared/limits.ts";
import { mdsService } from "../../shared/protocol/mds.ts";
import { root, type TestCluster, withCluster } from "../support/cluster.ts";
import { LossyTransport } from "../support/lossy_transport.ts";
import { type CommitFate, UncertainStore } from "../support/uncertain_store.ts";

type MdsMethod = keyof typeof mdsService["methods"];

const content = new Uint8Array(100).fill(3);
const rootPlace = { ino: 1, path: "" };

interface MutationCase {
  readonly name: string;
  /** What is there before. */
  readonly before?: (fileSystem: FileSystem) => Promise<unknown>;
  /** Would fail or do more if it were carried out twice. */
  readonly act: (fileSystem: FileSystem) => Promise<unknown>;
  /** The messages of `act` that are put to the test, one run for each. */
  readonly messages: readonly MdsMethod[];
  readonly after: (fileSystem: FileSystem) => Promise<void>;
}

async function write(fileSystem: FileSystem, path: string, replace = false): Promise<void> {
  await using file = await fileSystem.create(path, { replace });
  await file.write(0, content);
  await file.close();
}

const isThere = async (fileSystem: FileSystem, path: string) => {
  assert(await fileSystem.find(path, { follow: false }), `${path} is there`);
};
const isGone = async (fileSystem: FileSystem, path: string) => {
  assert.equal(await fileSystem.find(path, { follow: false }), undefined, `${path} is gone`);
};

const cases: readonly MutationCase[] = [
  {
    name: "a put",
    act: (fileSystem) => write(fileSystem, "/a"),
    messages: ["create", "commit"],
    after: async (fileSystem) => {
      assert.equal((await fileSystem.stat("/a")).sizeBytes, content.length);
    },
  },
  {
    name: "a put that replaces",
    before: (fileSystem) => write(fileSystem, "/a"),
    act: (fileSystem) => write(fileSystem, "/a", true),
    messages: ["create", "commit"],
    after: async (fileSystem) => {
      assert.equal((await fileSystem.stat("/a")).links, 1);
    },
  },
  {
    name: "a put that is given up",
    act: async (fileSystem) => {
      const file = await fileSystem.create("/a");
      await file.write(0, content);
      await file.abandon();
    },
    messages: ["create", "abort"],
    after: (fileSystem) => isGone(fileSystem, "/a"),
  },
  {
    name: "a visible create",
    act: (fileSystem) => fileSystem.createEmpty("/a"),
    messages: ["create"],
    after: (fileSystem) => isThere(fileSystem, "/a"),
  },
  {
    name: "mkdir",
    act: (fileSystem) => fileSystem.mkdir("/a"),
    messages: ["mkdir"],
    after: async (fileSystem) => {
      assert.equal((await fileSystem.stat("/")).links, 3);
    },
  },
  {
    name: "symlink",
    act: (fileSystem) => fileSystem.symlink("target", "/a"),
    messages: ["symlink"],
    after: async (fileSystem) => {
      assert.equal(await fileSystem.readlink("/a"), "target");
    },
  },
  {
    name: "link",
    before: (fileSystem) => fileSystem.createEmpty("/a"),
    act: (fileSystem) => fileSystem.link("/a", "/b"),
    messages: ["link"],
    after: async (fileSystem) => {
      assert.equal((await fileSystem.stat("/a")).links, 2);
    },
  },
  {
    name: "unlink of one of two links",
    before: async (fileSystem) => {
      await fileSystem.createEmpty("/a");
      await fileSystem.link("/a", "/b");
    },
    act: (fileSystem) => fileSystem.unlink("/b"),
    messages: ["unlink"],
    after: async (fileSystem) => {
      assert.equal((await fileSystem.stat("/a")).links, 1);
    },
  },
  {
    name: "rmdir",
    before: (fileSystem) => fileSystem.mkdir("/a"),
    act: (fileSystem) => fileSystem.rmdir("/a"),
    messages: ["rmdir"],
    after: async (fileSystem) => {
      assert.equal((await fileSystem.stat("/")).links, 2);
    },
  },
  {
    name: "rename over a file",
    before: async (fileSystem) => {
      await write(fileSystem, "/a");
      await fileSystem.createEmpty("/b");
    },
    act: (fileSystem) => fileSystem.rename("/a", "/b"),
    messages: ["rename"],
    after: async (fileSystem) => {
      await isGone(fileSystem, "/a");
      assert.equal((await fileSystem.stat("/b")).sizeBytes, content.length);
    },
  },
  {
    name: "setattr",
    before: (fileSystem) => write(fileSystem, "/a"),
    act: async (fileSystem) => {
      await fileSystem.setAttributes("/a", { sizeBytes: 10, mode: 0o600, mtimeNs: 5n });
    },
    messages: ["setattr"],
    after: async (fileSystem) => {
      const { sizeBytes, mode, mtimeNs } = await fileSystem.stat("/a");
      assert.deepEqual({ sizeBytes, mode, mtimeNs }, { sizeBytes: 10, mode: 0o600, mtimeNs: 5n });
    },
  },
  {
    name: "setLayoutDefaults",
    act: (fileSystem) => fileSystem.setLayoutDefaults("/", { replicas: 2 }),
    messages: ["setLayoutDefaults"],
    after: async (fileSystem) => {
      assert.deepEqual((await fileSystem.stat("/")).defaults, { replicas: 2 });
    },
  },
  {
    name: "a file that is written in place",
    before: (fileSystem) => fileSystem.createEmpty("/a"),
    act: async (fileSystem) => {
      await using file = await fileSystem.openForWriting("/a");
      await file.write(0, content);
      await file.close();
    },
    messages: ["openWrite", "commitWrite", "closeWrite"],
    after: async (fileSystem) => {
      assert.equal((await fileSystem.stat("/a")).sizeBytes, content.length);
      await fileSystem.setAttributes("/a", { sizeBytes: 0 });
    },
  },
];

for (const { name, before, act, messages, after } of cases) {
  for (const message of messages) {
    const { opcode } = mdsService.methods[message];

    Deno.test(`${name}: ${message} has its effect once when its reply is lost`, async () => {
      await withCluster({}, async (cluster) => {
        const lossy = new LossyTransport(cluster.network.transport("lossy"));
        const fileSystem = cluster.connect("lossy", { transport: lossy }).fileSystem(root);
        await before?.(fileSystem);
        lossy.loseReplies(opcode, 2);
        await act(fileSystem);
        assert.deepEqual(lossy.lost, [opcode, opcode]);
        await after(fileSystem);
      });
    });

    for (const fate of ["committed", "not committed"] as const) {
      const what = `${name}: ${message} has its effect once when its commit was ${fate} unnoticed`;
      Deno.test(what, async () => {
        await withUncertainStore(async (cluster, store) => {
          const fileSystem = cluster.fileSystem();
          await before?.(fileSystem);
          const position = messages.indexOf(message);
          leaveMutationUnanswered(store, position, fate);
          await act(fileSystem);
          assert.equal(store.unanswered, 1);
          await after(fileSystem);
        });
      });
    }
  }
}

/** Of the mutations that follow, the commit of the one at `position` gets no answer. */
function leaveMutationUnanswered(store: UncertainStore, position: number, fate: CommitFate): void {
  let left = position;
  store.beforeCommit = (written) => {
    if (written.some((key) => key.includes("/idem/")) && left-- === 0) {
      store.leaveUnanswered("/idem/", fate);
    }
    return Promise.resolve();
  };
}

async function withUncertainStore(
  test: (cluster: TestCluster, store: UncertainStore) => Promise<void>,
): Promise<void> {
  let store: UncertainStore | undefined;
  const mdsStore = (inner: ConstructorParameters<typeof UncertainStore>[0]) =>
    store = new UncertainStore(inner);
  await withCluster({ mdsStore }, (cluster) => test(cluster, store!));
}

function mkdirRequest(clientId: string, requestId: number, name: string) {
  return { clientId, requestId, caller: root, directory: rootPlace, name, mode: 0o755 };
}

Deno.test("a mutation that comes again gets the same reply, also from another mds", async () => {
  await withCluster({}, async (cluster) => {
    await cluster.startMds("mds1");
    const rpc = cluster.rpc("client");
    const [here, there] = [cluster.endpoint("mds0"), cluster.endpoint("mds1")];
    const { clientId } = await rpc.call(here, mdsService, "openSession", {});
    const request = mkdirRequest(clientId, 1, "a");
    const first = await rpc.call(here, mdsService, "mkdir", request);
    assert.deepEqual(await rpc.call(there, mdsService, "mkdir", request), first);
    const both = await Promise.all([
      rpc.call(here, mdsService, "mkdir", mkdirRequest(clientId, 2, "b")),
      rpc.call(there, mdsService, "mkdir", mkdirRequest(clientId, 2, "b")),
    ]);
    assert.deepEqual(both[0], both[1]);
    const wrong = rpc.call(here, mdsService, "rmdir", {
      clientId,
      requestId: 1,
      caller: root,
      directory: rootPlace,
      name: "b",
    });
    await assert.rejects(wrong, { code: "BAD_REQUEST" });
    await rpc.call(here, mdsService, "closeSession", { clientId });
  });
});

Deno.test("a duplicate that comes after its reply was forgotten is refused", async () => {
  await withCluster({}, async (cluster) => {
    const rpc = cluster.rpc("client");
    const mds = cluster.endpoint("mds0");
    const { clientId } = await rpc.call(mds, mdsService, "openSession", {});
    const call = (requestId: number, name: string) =>
      rpc.call(mds, mdsService, "mkdir", mkdirRequest(clientId, requestId, name));
    await call(1, "a");
    await call(1 + limits.repliesPerClient, "b");
    await cluster.fileSystem().rmdir("/a");
    await assert.rejects(call(1, "a"), { code: "LATE_DUPLICATE" });
    await isGone(cluster.fileSystem(), "/a");
    await rpc.call(mds, mdsService, "closeSession", { clientId });
  });
});

Deno.test("no reply is overwritten while its mutation may be sent again", async () => {
  await withCluster({}, async (cluster) => {
    const lossy = new LossyTransport(cluster.network.transport("lossy"));
    const client = cluster.connect("lossy", { transport: lossy });
    const fileSystem = client.fileSystem(root);
    await fileSystem.mkdir("/d");
    // The first one gets no answer for a while, and many more come after it.
    lossy.loseReplies(mdsService.methods.symlink.opcode, 4);
    await Promise.all([
      fileSystem.symlink("target", "/slow"),
      ...Array.from(
        { length: 2 * limits.repliesPerClient },
        (_, index) => fileSystem.createEmpty(`/d/${index}`),
      ),
    ]);
    assert.equal(lossy.lost.length, 4);
    const names = await Array.fromAsync(fileSystem.readdir("/d"));
    assert.equal(names.length, 2 * limits.repliesPerClient);
  });
});
