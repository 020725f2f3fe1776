// Readers of what is being overwritten, against real servers that send from the objects' files: a
// block may leave half old and half new, and must neither arrive so nor count as damage.

import assert from "node:assert/strict";
import { Cluster, parseAddress } from "../../client/mod.ts";
import { limits } from "../../shared/limits.ts";
import { startRustre } from "../support/processes.ts";

const caller = { uid: 0, gid: 0, groups: [] };
const { checksumBlockBytes: blockBytes, transferBytes } = limits;
const fileBytes = 4 * transferBytes;
const rounds = 150;

Deno.test("reads of what is being overwritten give whole blocks, and no false alarm", async () => {
  const directory = await Deno.makeTempDir({ prefix: "rustre-test-" });
  {
    const up = ["up", "--dir", directory, "--listen", "127.0.0.1:0", "--osts", "2"];
    await using server = await startRustre(["--log-level", "warn", ...up]);
    const mgs = [parseAddress(/mgs=(\S+)/.exec(server.ready)![1]!)];
    await using writing = new Cluster({ mgs });
    await using reading = new Cluster({ mgs });
    await write(writing, 0);
    let isWriting = true;
    const writer = (async () => {
      for (let round = 1; round <= rounds; round++) await write(writing, round);
      isWriting = false;
    })();
    await using file = await reading.fileSystem(caller).open("/file");
    const buffer = new Uint8Array(fileBytes);
    let reads = 0;
    for (; isWriting || reads === 0; reads++) {
      assert.equal(await file.readInto(0, buffer), fileBytes);
      checkBlocks(buffer);
    }
    await writer;
    const { damagedCopies, otherReplicaReads } = reading.integrity;
    assert.deepEqual({ damagedCopies, otherReplicaReads }, {
      damagedCopies: 0,
      otherReplicaReads: 0,
    });
    assert.doesNotMatch(server.output(), /damaged/);
    assert(reads > 3, `${reads} reads among ${rounds} writes`);
  }
  await Deno.remove(directory, { recursive: true });
});

/** Overwrites all of the file in place; each block says in which round. */
async function write(cluster: Cluster, round: number): Promise<void> {
  const fileSystem = cluster.fileSystem(caller);
  const bytes = new Uint8Array(fileBytes).fill(round & 0xff);
  if (round === 0) {
    await fileSystem.createEmpty("/file", { layout: { stripeCount: 2, replicas: 2 } });
  }
  await using file = await fileSystem.openForWriting("/file");
  await file.write(0, bytes);
  await file.close();
}

function checkBlocks(bytes: Uint8Array): void {
  const view = new BigUint64Array(bytes.buffer);
  const words = blockBytes / 8;
  for (let start = 0; start < view.length; start += words) {
    const first = view[start]!;
    for (let at = start; at < start + words; at++) {
      if (view[at] !== first) assert.fail(`block ${start / words} is torn`);
    }
  }
}
