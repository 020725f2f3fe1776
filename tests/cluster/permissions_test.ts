// Who may do what: the mds checks the caller's uid, gid and groups on every step of a path.

import assert from "node:assert/strict";
import type { FileSystem } from "../../client/mod.ts";
import { type TestCluster, withCluster } from "../support/cluster.ts";

interface People {
  readonly admin: FileSystem;
  /** uid 100, gid 100, and in group 500. */
  readonly alice: FileSystem;
  /** uid 200, gid 200, and in group 500. */
  readonly bob: FileSystem;
}

async function withPeople(test: (people: People, cluster: TestCluster) => Promise<void>) {
  await withCluster({ osts: 1 }, async (cluster) => {
    await test({
      admin: cluster.fileSystem(),
      alice: cluster.fileSystem({ uid: 100, gid: 100, groups: [500] }),
      bob: cluster.fileSystem({ uid: 200, gid: 200, groups: [500] }),
    }, cluster);
  });
}

Deno.test("the first class that fits decides: an owner without bits is denied", async () => {
  await withPeople(async ({ admin, alice, bob }) => {
    await admin.createEmpty("/f", { mode: 0o007 });
    await admin.setAttributes("/f", { uid: 100, gid: 500 });
    await assert.rejects(alice.open("/f"), { code: "EACCES" });
    await assert.rejects(bob.open("/f"), { code: "EACCES" }, "his group decides, not other");
    await admin.setAttributes("/f", { gid: 7 });
    await bob.stat("/f", { access: 7 });
    await assert.rejects(alice.stat("/f", { access: 1 }), { code: "EACCES" });
    await admin.open("/f");
  });
});

Deno.test("root reads and writes everything, and executes what anybody may", async () => {
  await withPeople(async ({ admin, alice }) => {
    await admin.mkdir("/home", { mode: 0o777 });
    await alice.createEmpty("/home/f", { mode: 0o000 });
    await admin.stat("/home/f", { access: 6 });
    await assert.rejects(admin.stat("/home/f", { access: 1 }), { code: "EACCES" });
    await alice.setAttributes("/home/f", { mode: 0o001 });
    await admin.stat("/home/f", { access: 1 });
  });
});

Deno.test("every directory on the way must be searchable, and tells nothing else", async () => {
  await withPeople(async ({ admin, alice }) => {
    await admin.mkdir("/closed", { mode: 0o700 });
    await admin.createEmpty("/closed/there");
    await admin.mkdir("/readable", { mode: 0o744 });
    await admin.createEmpty("/readable/there");
    const denied = { code: "EACCES" };
    for (const directory of ["/closed", "/readable"]) {
      for (const name of ["there", "not there"]) {
        const path = `${directory}/${name}`;
        await assert.rejects(alice.stat(path), denied);
        await assert.rejects(alice.unlink(path), denied);
        await assert.rejects(alice.rmdir(path), denied);
        await assert.rejects(alice.mkdir(path), denied);
        await assert.rejects(alice.createEmpty(path), denied);
        await assert.rejects(alice.create(path, { replace: true }), denied);
        await assert.rejects(alice.symlink("x", path), denied);
        await assert.rejects(alice.rename(path, "/x"), denied);
        await assert.rejects(alice.rename("/readable", path), denied);
      }
    }
    const names = await Array.fromAsync(alice.readdir("/readable"), ({ name }) => name);
    assert.deepEqual(names, ["there"]);
    await assert.rejects(Array.fromAsync(alice.readdirPlus("/readable")), denied);
    await assert.rejects(Array.fromAsync(alice.readdir("/closed")), denied);
  });
});

Deno.test("entries are made and removed by those who may write to the directory", async () => {
  await withPeople(async ({ admin, alice, bob }) => {
    await admin.mkdir("/d", { mode: 0o775 });
    await admin.setAttributes("/d", { gid: 500 });
    const outsider = { code: "EACCES" };
    await alice.createEmpty("/d/f", { mode: 0o600 });
    await bob.rename("/d/f", "/d/g");
    await bob.unlink("/d/g");
    await admin.setAttributes("/d", { mode: 0o755 });
    await admin.createEmpty("/d/f");
    await assert.rejects(alice.unlink("/d/f"), outsider);
    await assert.rejects(alice.mkdir("/d/x"), outsider);
    await assert.rejects(alice.mkdir("/d/f"), { code: "EEXIST" });
    await assert.rejects(alice.link("/d/f", "/d/g"), outsider);
    await assert.rejects(alice.create("/d/f", { replace: true }), outsider);
  });
});

Deno.test("in a sticky directory only owners remove and replace", async () => {
  await withPeople(async ({ admin, alice, bob }) => {
    await admin.mkdir("/tmp", { mode: 0o1777 });
    await alice.createEmpty("/tmp/hers");
    await alice.mkdir("/tmp/her directory");
    await bob.createEmpty("/tmp/his");
    const denied = { code: "EPERM" };
    await assert.rejects(bob.unlink("/tmp/hers"), denied);
    await assert.rejects(bob.rmdir("/tmp/her directory"), denied);
    await assert.rejects(bob.rename("/tmp/hers", "/tmp/x"), denied);
    await assert.rejects(bob.rename("/tmp/his", "/tmp/hers"), denied);
    await assert.rejects(bob.create("/tmp/hers", { replace: true }), denied);
    await alice.rename("/tmp/hers", "/tmp/still hers");
    await alice.unlink("/tmp/still hers");
    await admin.unlink("/tmp/his");
    await alice.mkdir("/tmp/her directory/sticky", { mode: 0o1777 });
    await bob.createEmpty("/tmp/her directory/sticky/his");
    await alice.unlink("/tmp/her directory/sticky/his");
  });
});

Deno.test("a setgid directory hands on its group, and to directories the bit", async () => {
  await withPeople(async ({ admin, alice }) => {
    await admin.mkdir("/team", { mode: 0o2777 });
    await admin.setAttributes("/team", { gid: 500, mode: 0o2777 });
    const file = await alice.createEmpty("/team/f", { mode: 0o640 });
    assert.deepEqual([file.uid, file.gid, file.mode], [100, 500, 0o640]);
    const directory = await alice.mkdir("/team/d", { mode: 0o750 });
    assert.deepEqual([directory.gid, directory.mode], [500, 0o2750]);
    assert.equal((await alice.symlink("f", "/team/l")).gid, 500);
    await admin.setAttributes("/team", { gid: 900 });
    const foreign = await alice.createEmpty("/team/g", { mode: 0o2755 });
    assert.deepEqual([foreign.gid, foreign.mode], [900, 0o755], "not a setgid file of their group");
    const replaced = await alice.create("/team/g", { replace: true });
    await replaced.close();
    assert.equal((await alice.stat("/team/g")).gid, 900);
  });
});

Deno.test("chmod and chown: owners within their rights, root without bounds", async () => {
  await withPeople(async ({ admin, alice, bob }) => {
    await admin.mkdir("/home", { mode: 0o777 });
    await alice.createEmpty("/home/f");
    const denied = { code: "EPERM" };
    await assert.rejects(bob.setAttributes("/home/f", { mode: 0o777 }), denied);
    await assert.rejects(alice.setAttributes("/home/f", { uid: 200 }), denied);
    await assert.rejects(alice.setAttributes("/home/f", { gid: 900 }), denied);
    await assert.rejects(bob.setAttributes("/home/f", { gid: 500 }), denied);
    assert.equal((await alice.setAttributes("/home/f", { gid: 500 })).gid, 500);
    assert.equal((await alice.setAttributes("/home/f", { mode: 0o6755 })).mode, 0o6755);
    const given = await admin.setAttributes("/home/f", { uid: 200 });
    assert.deepEqual([given.uid, given.mode], [200, 0o755], "a new owner gets no setuid bits");
    await bob.setAttributes("/home/f", { mode: 0o2755, gid: 500 });
    assert.equal((await bob.stat("/home/f")).mode, 0o2755);
    await admin.setAttributes("/home/f", { gid: 900 });
    assert.equal((await bob.setAttributes("/home/f", { mode: 0o2755 })).mode, 0o755);
  });
});

Deno.test("times: explicit ones are the owner's, now is every writer's", async () => {
  await withPeople(async ({ admin, alice, bob }) => {
    await admin.mkdir("/home", { mode: 0o777 });
    await alice.createEmpty("/home/f", { mode: 0o666 });
    await assert.rejects(bob.setAttributes("/home/f", { mtimeNs: 5n }), { code: "EPERM" });
    await bob.setAttributes("/home/f", { mtimeNs: "now", atimeNs: "now" });
    await alice.setAttributes("/home/f", { mode: 0o444 });
    await assert.rejects(bob.setAttributes("/home/f", { mtimeNs: "now" }), { code: "EACCES" });
    const owned = await alice.setAttributes("/home/f", { mtimeNs: -5n, atimeNs: 7n });
    assert.deepEqual([owned.mtimeNs, owned.atimeNs], [-5n, 7n]);
    await alice.setAttributes("/home/f", { mtimeNs: "now" });
  });
});

Deno.test("reading, writing, cutting and striping need their permissions", async () => {
  await withPeople(async ({ admin, alice, bob }) => {
    await admin.mkdir("/home", { mode: 0o755 });
    await admin.setAttributes("/home", { uid: 100 });
    await alice.createEmpty("/home/f", { mode: 0o640 });
    const denied = { code: "EACCES" };
    await assert.rejects(bob.open("/home/f"), denied);
    await assert.rejects(bob.openForWriting("/home/f"), denied);
    await assert.rejects(bob.setAttributes("/home/f", { sizeBytes: 0 }), denied);
    await assert.rejects(bob.setLayoutDefaults("/home", { replicas: 1 }), { code: "EPERM" });
    await alice.setAttributes("/home/f", { gid: 500 });
    await bob.open("/home/f");
    await assert.rejects(bob.openForWriting("/home/f"), denied);
    await alice.setLayoutDefaults("/home", { replicas: 1 });
  });
});

Deno.test("commit() is refused to one who lost the right since the create", async () => {
  await withPeople(async ({ admin, alice }, cluster) => {
    await admin.mkdir("/home", { mode: 0o777 });
    const file = await alice.create("/home/f");
    await file.write(0, new Uint8Array(10));
    await admin.setAttributes("/home", { mode: 0o755 });
    await assert.rejects(file.close(), { code: "EACCES" });
    assert.equal(await admin.find("/home/f"), undefined);
    await cluster.eventually(() => cluster.usage().objects === 0, 5_000);
  });
});
