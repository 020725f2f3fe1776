// Operations that meet: two clients at one name, a directory that is removed while something is made
// in it, two mds on one store. Commits take random times, so that they meet in every order.

import assert from "node:assert/strict";
import { type FileSystem, isRustreError } from "../../client/mod.ts";
import { type TestCluster, withCluster } from "../support/cluster.ts";
import { seeded, testSeed } from "../support/seed.ts";

const rounds = 60;

/** The code of each attempt that failed; "done" of those that did not. */
async function outcomes(attempts: readonly Promise<unknown>[]): Promise<string[]> {
  const settled = await Promise.allSettled(attempts);
  return settled.map((outcome) => {
    if (outcome.status === "fulfilled") return "done";
    if (isRustreError(outcome.reason)) return outcome.reason.code;
    throw outcome.reason;
  });
}

async function withTwoMds(
  test: (cluster: TestCluster, clients: FileSystem[]) => Promise<void>,
): Promise<void> {
  await seeded(() =>
    withCluster({ commitJitter: testSeed }, async (cluster) => {
      await cluster.startMds("mds1");
      await cluster.allUp();
      // As many as it takes that both mds have some.
      await test(cluster, Array.from({ length: 8 }, () => cluster.fileSystem()));
    })
  );
}

async function put(fileSystem: FileSystem, path: string, fill: number): Promise<void> {
  await using file = await fileSystem.create(path);
  await file.write(0, new Uint8Array(100).fill(fill));
  await file.close();
}

Deno.test("of 8 clients that create one path at once exactly one succeeds", async () => {
  await withTwoMds(async (_cluster, clients) => {
    for (let round = 0; round < 20; round++) {
      const creates = clients.map((client, index) =>
        index % 2 === 0 ? client.createEmpty(`/f${round}`) : put(client, `/f${round}`, index)
      );
      const results = await outcomes(creates);
      assert.deepEqual(results.toSorted(), ["done", ...Array(7).fill("EEXIST")].toSorted());
      const winner = results.indexOf("done");
      const { sizeBytes } = await clients[0]!.stat(`/f${round}`);
      assert.equal(sizeBytes, winner % 2 === 0 ? 0 : 100);
    }
  });
});

Deno.test("of 8 clients that replace one path at once one after the other succeeds", async () => {
  await withTwoMds(async (_cluster, clients) => {
    const replace = async (client: FileSystem, index: number) => {
      await using file = await client.create("/f", { replace: true });
      await file.write(0, new Uint8Array(100).fill(index));
      await file.close();
    };
    await Promise.all(clients.map(replace));
    await using file = await clients[0]!.open("/f");
    const bytes = await file.read(0, 1000);
    assert.deepEqual(bytes, new Uint8Array(100).fill(bytes[0]!));
    assert.equal((await clients[0]!.statfs()).inodes, 2);
  });
});

Deno.test("no inode number is given twice by two mds to many creators", async () => {
  await withCluster({}, async (cluster) => {
    await cluster.startMds("mds1");
    await cluster.allUp();
    const clients = Array.from({ length: 8 }, () => cluster.fileSystem());
    await clients[0]!.mkdir("/d");
    const seen = new Set<number>();
    const create = async (client: FileSystem, index: number) => {
      for (let number = index; number < 10_000; number += clients.length * 16) {
        seen.add((await client.createEmpty(`/d/${number}`)).ino);
      }
    };
    const creators = clients.flatMap((client, index) =>
      Array.from({ length: 16 }, (_, each) => create(client, index * 16 + each))
    );
    await Promise.all(creators);
    assert.equal(seen.size, 10_000);
    const entries = await Array.fromAsync(clients[0]!.readdir("/d"));
    assert.equal(new Set(entries.map(({ ino }) => ino)).size, 10_000);
  });
});

Deno.test("of rmdir and a create in the directory exactly one succeeds", async () => {
  await withTwoMds(async (_cluster, [one, other]) => {
    const winners = new Set<string>();
    for (let round = 0; round < rounds; round++) {
      await one!.mkdir("/d");
      const make = round % 3 === 0
        ? other!.mkdir("/d/x")
        : round % 3 === 1
        ? other!.createEmpty("/d/x")
        : put(other!, "/d/x", 1);
      const [removed, made] = await outcomes([one!.rmdir("/d"), make]);
      winners.add(removed!);
      if (removed === "done") assert.equal(made, "ENOENT");
      else assert.deepEqual([removed, made], ["ENOTEMPTY", "done"]);
      if (removed === "done") continue;
      await (round % 3 === 0 ? one!.rmdir("/d/x") : one!.unlink("/d/x"));
      await one!.rmdir("/d");
    }
    assert.deepEqual([...winners].sort(), ["ENOTEMPTY", "done"], "each won at least once");
  });
});

Deno.test("a file created while its directory is renamed is where both succeeded", async () => {
  await withTwoMds(async (_cluster, [one, other]) => {
    for (let round = 0; round < rounds; round++) {
      const [from, to] = round % 2 === 0 ? ["/a", "/b"] : ["/b", "/a"];
      if (round === 0) await one!.mkdir("/a");
      const [renamed, made] = await outcomes([
        one!.rename(from!, to!),
        round % 4 < 2 ? other!.createEmpty(`${from}/${round}`) : put(other!, `${from}/${round}`, 1),
      ]);
      assert.equal(renamed, "done");
      const found = await one!.find(`${to}/${round}`);
      assert.equal(made, found ? "done" : "ENOENT");
    }
  });
});

Deno.test("two renames at once never make a circle", async () => {
  await withTwoMds(async (_cluster, [one, other]) => {
    for (let round = 0; round < rounds; round++) {
      const top = `/r${round}`;
      for (const path of ["", "/a", "/b", "/a/c", "/b/d"]) await one!.mkdir(`${top}${path}`);
      const results = await outcomes([
        one!.rename(`${top}/a`, `${top}/b/d/a`),
        other!.rename(`${top}/b`, `${top}/a/c/b`),
      ]);
      assert.equal(results.filter((result) => result === "done").length, 1);
    }
  });
});

Deno.test("links that are made and removed at once are counted right", async () => {
  await withTwoMds(async (_cluster, clients) => {
    await clients[0]!.createEmpty("/f");
    const work = clients.map(async (client, index) => {
      for (let round = 0; round < 10; round++) {
        await client.link("/f", `/link${index}`);
        if (round < 9) await client.unlink(`/link${index}`);
      }
    });
    await Promise.all(work);
    assert.equal((await clients[0]!.stat("/f")).links, 9);
    await Promise.all(clients.map((client, index) => client.unlink(`/link${index}`)));
    assert.equal((await clients[0]!.stat("/f")).links, 1);
  });
});

Deno.test("rename and unlink of one name: one finds it, the other does not", async () => {
  await withTwoMds(async (_cluster, [one, other]) => {
    for (let round = 0; round < rounds; round++) {
      await put(one!, "/f", 1);
      const results = await outcomes([one!.rename("/f", "/g"), other!.unlink("/f")]);
      assert.deepEqual(results.toSorted(), ["ENOENT", "done"]);
      if (results[0] === "done") await one!.unlink("/g");
    }
  });
});

Deno.test("two renames onto one name lose no file and keep one", async () => {
  await withTwoMds(async (_cluster, [one, other]) => {
    await Promise.all([put(one!, "/a", 1), put(one!, "/b", 2)]);
    assert.deepEqual(
      await outcomes([one!.rename("/a", "/x"), other!.rename("/b", "/x")]),
      ["done", "done"],
    );
    const names = await Array.fromAsync(one!.readdir("/"), ({ name }) => name);
    assert.deepEqual(names, ["x"]);
  });
});
