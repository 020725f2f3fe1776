// Puts and gets of trees against a whole cluster: what is asked for, and what changes meanwhile.

import assert from "node:assert/strict";
import { download, type FileSystem } from "../../client/mod.ts";
import { limits } from "../../shared/limits.ts";
import { mdsService } from "../../shared/protocol/mds.ts";
import { ossService } from "../../shared/protocol/oss.ts";
import { root, withCluster } from "../support/cluster.ts";
import { bytesOf, inCluster, same, store, watched } from "../support/transfers.ts";

const { readObject } = ossService.methods;

const { stat } = mdsService.methods;

async function makeTree(fileSystem: FileSystem, count: number): Promise<void> {
  await fileSystem.mkdir("/tree");
  for (let index = 0; index < count; index++) {
    await store(fileSystem, `/tree/${index}`, bytesOf(100, index));
  }
}

Deno.test("get -r takes the attributes of the listing, and asks for none again", () =>
  inCluster({ osts: 2 }, async (cluster, directory) => {
    const count = limits.readdirPlusPageMax + 10;
    const opcodes: number[] = [];
    const { fileSystem, environment } = watched(cluster, {
      onFrame: ({ direction, header }) => {
        if (direction === "sent") opcodes.push(header.opcode);
      },
    });
    await makeTree(fileSystem, count);
    opcodes.length = 0;
    const options = { environment, recursive: true };
    const summary = await download(fileSystem, "/tree", `${directory}/copy`, options);
    assert.equal(summary.files, count);
    assert.equal(
      opcodes.filter((opcode) => opcode === stat.opcode).length,
      1,
      "of the tree's root",
    );
    assert.equal(opcodes.filter((opcode) => opcode === readObject.opcode).length, count);
    same(await Deno.readFile(`${directory}/copy/7`), bytesOf(100, 7));
  }));

Deno.test("open() of a listed file asks again when the listing is old, and who may not read", () =>
  withCluster({ osts: 2 }, async (cluster) => {
    const fileSystem = cluster.fileSystem();
    await makeTree(fileSystem, 1);
    const list = async (caller = root) =>
      (await Array.fromAsync(cluster.fileSystem(caller).readdirPlus("/tree")))[0]!;
    const old = await list();
    await using file = await fileSystem.openForWriting("/tree/0");
    await file.write(0, bytesOf(200, 3));
    await file.close();
    {
      await using stale = await fileSystem.open("/tree/0", { listed: old });
      assert.equal(stale.sizeBytes, 100);
    }
    await cluster.sleep(limits.listedAttributesMs + 1);
    {
      await using fresh = await fileSystem.open("/tree/0", { listed: old });
      assert.equal(fresh.sizeBytes, 200);
    }
    await fileSystem.setAttributes("/tree/0", { mode: 0o600 });
    const other = { uid: 7, gid: 7, groups: [] };
    const listed = await list(other);
    await assert.rejects(cluster.fileSystem(other).open("/tree/0", { listed }), { code: "EACCES" });
  }));

Deno.test("get -r of a file that is replaced behind its listing gets the new one", () =>
  inCluster({ osts: 2 }, async (cluster, directory) => {
    const fileSystem = cluster.fileSystem();
    await makeTree(fileSystem, 3);
    const open = fileSystem.open.bind(fileSystem);
    let opened = 0;
    fileSystem.open = async (path, options) => {
      if (opened++ === 0) {
        await using file = await fileSystem.create(path, { replace: true });
        await file.write(0, bytesOf(300, 9));
        await file.close();
        await cluster.eventually(() => cluster.usage().objects === 3);
      }
      return await open(path, options);
    };
    const environment = cluster.environment("local");
    const options = { environment, recursive: true };
    await download(fileSystem, "/tree", `${directory}/copy`, options);
    assert.equal(opened, 4);
    same(await Deno.readFile(`${directory}/copy/0`), bytesOf(300, 9));
  }));
