// Disks that are full: of an OST, of the store. What was there stays, what does not fit is refused
// with a reason, the servers go on. The small disks are tmpfs mounts, which only root makes.

import assert from "node:assert/strict";
import { Cluster, type FileSystem, isRustreError, parseAddress } from "../../client/mod.ts";
import { runRustre, startRustre } from "../support/processes.ts";
import { mayMount, smallDisk } from "../support/small_disk.ts";

const caller = { uid: 0, gid: 0, groups: [] };
const mebibyte = 2 ** 20;

async function startUp(directory: string, ...flags: string[]) {
  const place = ["--dir", directory, "--listen", "127.0.0.1:0", "--osts", "1"];
  const server = await startRustre(["--log-level", "error", "up", ...place, ...flags]);
  const mgs = /mgs=(\S+)/.exec(server.ready)![1]!;
  return { server, mgs, cluster: new Cluster({ mgs: [parseAddress(mgs)] }) };
}

function content(seed: number, length: number): Uint8Array<ArrayBuffer> {
  return Uint8Array.from({ length }, (_, index) => (index * 31 + seed) & 0xff);
}

async function store(fileSystem: FileSystem, path: string, bytes: Uint8Array): Promise<void> {
  await using file = await fileSystem.create(path);
  await file.write(0, bytes);
  await file.close();
}

async function load(fileSystem: FileSystem, path: string): Promise<Uint8Array> {
  await using file = await fileSystem.open(path);
  return await file.read(0, file.sizeBytes);
}

Deno.test({
  name: "a put onto a full OST fails with the reason, frees what it took, and harms nothing",
  ignore: !mayMount,
  fn: async () => {
    await using disk = await smallDisk(16 * mebibyte);
    await using storeDisk = await smallDisk(64 * mebibyte);
    const url = `sqlite:${storeDisk.path}/meta.db`;
    const { server, mgs, cluster } = await startUp(disk.path, "--store", url);
    await using _server = server;
    await using _cluster = cluster;
    const fileSystem = cluster.fileSystem(caller);
    const kept = content(1, 4 * mebibyte);
    await store(fileSystem, "/kept", kept);

    const big = `${storeDisk.path}/big`;
    await Deno.writeFile(big, content(2, 24 * mebibyte));
    const put = await runRustre(["-m", mgs, "client", "put", big, "/big"]);
    assert.equal(put.code, 1);
    assert.match(put.stderr, /"\/big"|big/);
    assert.match(put.stderr, /no space left/i);
    assert.match(put.stderr, /OST 0/);
    assert.equal(await fileSystem.find("/big"), undefined);

    assert.deepEqual(await load(fileSystem, "/kept"), kept);
    // The space of the failed put comes back, so that a file of that size fits again.
    const fits = content(3, 8 * mebibyte);
    const endMs = Date.now() + 20_000;
    for (;;) {
      try {
        await store(fileSystem, "/fits", fits);
        break;
      } catch (error) {
        assert(isRustreError(error, "ENOSPC"), String(error));
        assert(Date.now() < endMs, "the space did not come back");
      }
    }
    assert.deepEqual(await load(fileSystem, "/fits"), fits);
  },
});

Deno.test({
  name: "a get onto a disk that is too full says so before it begins, and leaves nothing",
  ignore: !mayMount,
  fn: async () => {
    await using disk = await smallDisk(8 * mebibyte);
    const directory = await Deno.makeTempDir({ prefix: "rustre-test-" });
    {
      const { server, mgs, cluster } = await startUp(directory);
      await using _server = server;
      await using _cluster = cluster;
      const fileSystem = cluster.fileSystem(caller);
      const big = content(1, 24 * mebibyte);
      await store(fileSystem, "/big", big);
      const local = `${disk.path}/big`;
      const get = await runRustre(["-m", mgs, "client", "get", "/big", local]);
      assert.equal(get.code, 1);
      assert.match(get.stderr, /^rustre: Cannot write ".*\/big": Cannot allocate .*no space left/);
      assert.deepEqual(await Array.fromAsync(Deno.readDir(disk.path)), []);
      await disk.resize(64 * mebibyte);
      const again = await runRustre(["-m", mgs, "client", "get", "/big", local]);
      assert.equal(again.code, 0, again.stderr);
      assert.deepEqual(await Deno.readFile(local), big);
    }
    await Deno.remove(directory, { recursive: true });
  },
});

Deno.test({
  name: "a store on a full disk refuses changes with the reason, keeps what it has, and answers",
  ignore: !mayMount,
  fn: async () => {
    await using disk = await smallDisk(6 * mebibyte);
    const directory = await Deno.makeTempDir({ prefix: "rustre-test-" });
    const made: string[] = [];
    const url = `sqlite:${disk.path}/meta.db`;
    {
      const { server, cluster } = await startUp(directory, "--store", url);
      await using _server = server;
      await using _cluster = cluster;
      const fileSystem = cluster.fileSystem(caller);
      await assert.rejects(async () => {
        for (;;) {
          const path = `/${"x".repeat(200)}-${made.length}`;
          await fileSystem.mkdir(path);
          made.push(path);
        }
      }, (error) => isRustreError(error, "ENOSPC") && error.message.includes("meta.db"));
      for (const path of made) assert.equal((await fileSystem.stat(path)).type, "directory");
    }
    // More room, as an operator gives it; everything that was acknowledged is there.
    await disk.resize(64 * mebibyte);
    const { server, cluster } = await startUp(directory, "--store", url);
    await using _server = server;
    await using _cluster = cluster;
    const fileSystem = cluster.fileSystem(caller);
    for (const path of made) assert.equal((await fileSystem.stat(path)).type, "directory");
    await fileSystem.mkdir("/one more");
    await Deno.remove(directory, { recursive: true });
  },
});
