// Files that are made together: one message and one transaction for many, and yet each as if it were
// alone, whatever happens to the others, to the message, and to the mds.

import assert from "node:assert/strict";
import type { FileSystem } from "../../client/mod.ts";
import { isRustreError } from "../../shared/errors.ts";
import { mdsService } from "../../shared/protocol/mds.ts";
import type { ReplyOf, RequestOf } from "../../shared/rpc/service.ts";
import type { Endpoint, RpcClient } from "../../shared/rpc/client.ts";
import type { Store } from "../../shared/store/store.ts";
import { root as caller, type TestCluster, withCluster } from "../support/cluster.ts";
import { LossyTransport } from "../support/lossy_transport.ts";
import { RecordingTransport } from "../support/recording_transport.ts";
import { UncertainStore } from "../support/uncertain_store.ts";

type Batch = RequestOf<typeof mdsService, "batch">;
type Reply = ReplyOf<typeof mdsService, "batch">;

const { batch, create, commit } = mdsService.methods;
const content = Uint8Array.from({ length: 5_000 }, (_, index) => index % 251);
const sizes = { sizeBytes: 0, dataEndBytes: 0, clean: true };

function newFile(name: string, { directory = "", replace = false } = {}) {
  return { directory: { ino: 1, path: directory }, name, mode: 0o640, layout: {}, replace };
}

/** A client that sends what it is told, one request after the other. */
class Caller {
  readonly rpc: RpcClient;
  readonly #mds: Endpoint;
  clientId = "";
  requestId = 0;

  constructor(cluster: TestCluster) {
    this.rpc = cluster.rpc("caller");
    this.#mds = cluster.endpoint("mds0");
  }

  async open(): Promise<this> {
    this.clientId = (await this.rpc.call(this.#mds, mdsService, "openSession", {})).clientId;
    return this;
  }

  batch(what: Partial<Pick<Batch, "commits" | "creates">>, mds = this.#mds): Promise<Reply> {
    const id = { clientId: this.clientId, requestId: ++this.requestId };
    const request = { ...id, caller, commits: [], creates: [], ...what };
    return this.rpc.call(mds, mdsService, "batch", request);
  }

  async close(): Promise<void> {
    await this.rpc.call(this.#mds, mdsService, "closeSession", { clientId: this.clientId });
  }
}

/** The numbers of the files; of those that were refused the error's. */
function inosOf({ created }: Reply): number[] {
  return created.map(({ inode, error }) => inode?.ino ?? -error!.code);
}

async function put(fileSystem: FileSystem, path: string, replace = false): Promise<void> {
  await using file = await fileSystem.create(path, { replace });
  await file.write(0, content, { sync: true });
  await file.close();
}

async function names(fileSystem: FileSystem, path = "/"): Promise<string[]> {
  return await Array.fromAsync(fileSystem.readdir(path), ({ name }) => name);
}

/** How the mds has the store: as one whose reads are to be asked for together, or not. */
const stores = {
  "a store of its own host": undefined,
  "a remote store": (inner: Store) =>
    new Proxy(inner, {
      get(store, name) {
        if (name === "isRemote") return true;
        const member = Reflect.get(store, name);
        return typeof member === "function" ? member.bind(store) : member;
      },
    }),
};

for (const [where, mdsStore] of Object.entries(stores)) {
  const options = mdsStore ? { mdsStore } : {};

  Deno.test(`${where}: a batch answers for each file as if it were alone`, async () => {
    await withCluster(options, async (cluster) => {
      const fileSystem = cluster.fileSystem();
      await fileSystem.mkdir("/d");
      await fileSystem.createEmpty("/taken");
      const client = await new Caller(cluster).open();
      const made = await client.batch({
        creates: [
          newFile("a"),
          newFile("taken"),
          newFile("b", { directory: "nowhere" }),
          newFile("..", { replace: true }),
          newFile("b", { directory: "d" }),
          newFile("taken", { replace: true }),
          newFile("d", { replace: true }),
        ],
      });
      const [a, , , , b, taken] = inosOf(made);
      assert.deepEqual(inosOf(made), [a, -17, -2, -1103, b, taken, -21]);
      assert.deepEqual(
        await names(fileSystem),
        ["d", "taken"],
        "nobody sees them before the commit",
      );
      const commits = [a!, 999, b!, a!, taken!].map((ino) => ({ ...sizes, ino }));
      const reply = await client.batch({
        commits: [...commits, { ...commits[0]!, dataEndBytes: 1 }],
      });
      const codes = reply.committed.map(({ error }) => error?.code);
      assert.deepEqual(codes, [undefined, 2, undefined, 2, undefined, 2]);
      assert.deepEqual(await names(fileSystem), ["a", "d", "taken"]);
      const { ino, mode, ctimeNs } = await fileSystem.stat("/d/b");
      assert.deepEqual({ ino, mode, ctimeNs }, { ino: b, mode: 0o640, ctimeNs: reply.timeNs });
      assert.equal((await fileSystem.stat("/taken")).ino, taken);
      await client.close();
    });
  });

  Deno.test(`${where}: files of a batch see what those before them have done`, async () => {
    await withCluster(options, async (cluster) => {
      const fileSystem = cluster.fileSystem();
      await fileSystem.createEmpty("/one");
      await fileSystem.link("/one", "/two");
      const replace = { replace: true };
      const client = await new Caller(cluster).open();
      const first = await client.batch({
        creates: [
          newFile("same"),
          newFile("same"),
          newFile("one", replace),
          newFile("two", replace),
        ],
      });
      const inos = inosOf(first);
      // Two names of one inode go in one batch: the second has to see that the first is gone.
      const second = await client.batch({
        commits: inos.map((ino) => ({ ...sizes, ino })),
        creates: [newFile("same"), newFile("one")],
      });
      assert.deepEqual(second.committed.map(({ error }) => error?.code), [
        undefined,
        17,
        undefined,
        undefined,
      ]);
      assert.deepEqual(inosOf(second), [-17, -17]);
      assert.equal((await fileSystem.statfs()).inodes, 4);
      await client.close();
    });
  });
}

Deno.test("a batch goes the ways that its own commits have left", async () => {
  await withCluster({}, async (cluster) => {
    const fileSystem = cluster.fileSystem();
    await fileSystem.mkdir("/d");
    await fileSystem.symlink("d", "/link");
    const client = await new Caller(cluster).open();
    const inLink = newFile("f", { directory: "link" });
    const first = await client.batch({
      creates: [newFile("link", { replace: true }), inLink, inLink],
    });
    const [link, f] = inosOf(first);
    const commits = [link!, f!].map((ino) => ({ ...sizes, ino }));
    const second = await client.batch({ commits, creates: [inLink, newFile("g")] });
    assert.deepEqual(second.committed, [{}, {}]);
    assert.equal(second.created[0]!.error?.code, 20);
    assert(second.created[1]!.inode);
    assert.equal((await fileSystem.stat("/d/f")).ino, f);
    await client.close();
  });
});

Deno.test("a batch that comes again gets the same reply, also from another mds", async () => {
  await withCluster({}, async (cluster) => {
    await cluster.startMds("mds1");
    const client = await new Caller(cluster).open();
    const creates = [newFile("a"), newFile("b", { directory: "nowhere" })];
    const first = await client.batch({ creates });
    client.requestId--;
    assert.deepEqual(await client.batch({ creates }, cluster.endpoint("mds1")), first);
    const [ino] = inosOf(first);
    const commits = [{ ...sizes, ino: ino! }];
    const done = await client.batch({ commits }, cluster.endpoint("mds1"));
    client.requestId--;
    assert.deepEqual(await client.batch({ commits }), done);
    assert.deepEqual(done.committed, [{}]);
    await client.close();
    await assert.rejects(client.batch({ creates }), { code: "SESSION_OVER" });
  });
});

Deno.test("files that are made at once share messages, one alone has its own", async () => {
  await withCluster({}, async (cluster) => {
    const recording = new RecordingTransport(cluster.network.transport("many"));
    const fileSystem = cluster.connect("many", { transport: recording }).fileSystem(caller);
    const mutations = () => {
      const events = recording.take().filter(({ what }) => what === "request");
      const count = (opcode: number) => events.filter((event) => event.opcode === opcode).length;
      return {
        batches: count(batch.opcode),
        alone: count(create.opcode) + count(commit.opcode),
      };
    };
    await put(fileSystem, "/alone");
    assert.deepEqual(mutations(), { batches: 0, alone: 2 });
    const paths = Array.from({ length: 150 }, (_, index) => `/file-${index}`);
    await Promise.all(paths.map((path) => put(fileSystem, path)));
    const { batches, alone } = mutations();
    assert(batches > 0 && batches + alone <= 60, `${batches} batches and ${alone} alone`);
    for (const path of paths) {
      await using file = await fileSystem.open(path);
      assert.deepEqual(await file.read(0, 10_000), content);
    }
  });
});

Deno.test("of files that are made at once some fail, and the others are there", async () => {
  await withCluster({}, async (cluster) => {
    const fileSystem = cluster.fileSystem();
    for (const index of [3, 11, 40]) await fileSystem.createEmpty(`/file-${index}`);
    const outcomes = await Promise.all(
      Array.from({ length: 60 }, async (_, index) => {
        const path = index === 20 ? "/nowhere/file" : `/file-${index}`;
        try {
          await put(fileSystem, path, index === 40);
          return "made";
        } catch (error) {
          if (!isRustreError(error)) throw error;
          return error.message;
        }
      }),
    );
    const failures = outcomes.filter((outcome) => outcome !== "made");
    assert.deepEqual(failures, [
      'Cannot create "/file-3": already exists',
      'Cannot create "/file-11": already exists',
      'Cannot create "/nowhere/file": no such file or directory',
    ]);
    assert.equal((await fileSystem.stat("/file-40")).sizeBytes, content.length);
    assert.equal((await names(fileSystem)).length, 59);
  });
});

Deno.test("files of several callers are made with the rights of each", async () => {
  await withCluster({}, async (cluster) => {
    const client = cluster.connect("client");
    await client.fileSystem(caller).setAttributes("/", { mode: 0o1777 });
    const users = [1000, 1001].map((uid) => client.fileSystem({ uid, gid: uid, groups: [] }));
    await users[0]!.mkdir("/own", { mode: 0o755 });
    const made = await Promise.allSettled(
      Array.from({ length: 40 }, (_, index) => put(users[index % 2]!, `/own/file-${index}`)),
    );
    assert.deepEqual(
      made.map(({ status }) => status),
      made.map((_, index) => index % 2 === 0 ? "fulfilled" : "rejected"),
    );
    for await (const { attributes } of users[0]!.readdirPlus("/own")) {
      assert.equal(attributes.uid, 1000);
    }
  });
});

Deno.test("a batch whose reply is lost has its effect once", async () => {
  await withCluster({}, async (cluster) => {
    const lossy = new LossyTransport(cluster.network.transport("lossy"));
    const fileSystem = cluster.connect("lossy", { transport: lossy }).fileSystem(caller);
    lossy.loseReplies(batch.opcode, 3);
    const paths = Array.from({ length: 30 }, (_, index) => `/file-${index}`);
    await Promise.all(paths.map((path) => put(fileSystem, path)));
    assert.deepEqual(lossy.lost, [batch.opcode, batch.opcode, batch.opcode]);
    assert.equal((await names(fileSystem)).length, 30);
    assert.equal((await fileSystem.statfs()).inodes, 31);
  });
});

for (const fate of ["committed", "not committed"] as const) {
  Deno.test(`a batch has its effect once when its commit was ${fate} unnoticed`, async () => {
    let store: UncertainStore | undefined;
    const mdsStore = (inner: ConstructorParameters<typeof UncertainStore>[0]) =>
      store = new UncertainStore(inner);
    await withCluster({ mdsStore }, async (cluster) => {
      const fileSystem = cluster.fileSystem();
      // The first ones go alone.
      let left = 4;
      store!.beforeCommit = (written) => {
        if (written.some((key) => key.includes("/idem/")) && left-- === 0) {
          store!.leaveUnanswered("/idem/", fate);
        }
        return Promise.resolve();
      };
      await Promise.all(
        Array.from({ length: 30 }, (_, index) => put(fileSystem, `/file-${index}`)),
      );
      assert.equal(store!.unanswered, 1);
      assert.equal((await fileSystem.statfs()).inodes, 31);
    });
  });
}
