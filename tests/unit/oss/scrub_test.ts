// scrubObjects: every object once, in pieces, whatever else happens.

import assert from "node:assert/strict";
import { DamagedBlocks } from "../../../oss/damaged_blocks.ts";
import { MemoryDisk } from "../../../oss/memory_disk.ts";
import { MemoryObjectStore } from "../../../oss/memory_store.ts";
import type { ObjectStore } from "../../../oss/object_store.ts";
import { Scrubber } from "../../../oss/scrub.ts";
import { RustreError } from "../../../shared/errors.ts";
import { objectId, parseObjectId } from "../../../shared/layout.ts";
import { limits } from "../../../shared/limits.ts";
import type { ScrubPlace } from "../../../shared/protocol/oss.ts";
import { pattern, writeBytes } from "../../support/object_bytes.ts";
import { VirtualClock } from "../../support/virtual_clock.ts";

interface World {
  readonly disk: MemoryDisk;
  readonly objects: ObjectStore;
  readonly damaged: DamagedBlocks;
  readonly clock: VirtualClock;
  readonly scrubber: Scrubber;
}

function testScrub(name: string, test: (world: World) => Promise<void>): void {
  Deno.test(`Scrubber ${name}`, async () => {
    const disk = new MemoryDisk();
    const objects = new MemoryObjectStore({ targetIndex: 0, disk });
    const damaged = new DamagedBlocks();
    const clock = new VirtualClock();
    const scrubber = new Scrubber({ clock, objects, damaged });
    await clock.run(test({ disk, objects, damaged, clock, scrubber }));
  });
}

/** Asks until all is checked; what was found, and how many requests that took. */
async function scrubAll({ scrubber }: World, bytesMax: number = limits.scrubBytesMax) {
  const all = { objects: 0, bytes: 0, requests: 0 };
  const damaged: string[] = [];
  let from: ScrubPlace | undefined;
  do {
    const reply = await scrubber.scrub({ ...(from ? { from } : {}), bytesMax });
    all.objects += reply.objects;
    all.bytes += reply.bytes;
    all.requests++;
    for (const { object, offsetBytes, lengthBytes } of reply.damaged) {
      damaged.push(`${object} ${offsetBytes}+${lengthBytes}`);
    }
    from = reply.next;
  } while (from);
  return { ...all, damaged };
}

const inodes = [1, 2, 255, 256, 70_000, 2 ** 40];

async function writeSome(objects: ObjectStore): Promise<number> {
  let bytes = 0;
  for (const [index, ino] of inodes.entries()) {
    for (let seq = 0; seq < 3; seq++) {
      const length = index * seq * 1_000_000 % 3_300_000;
      await objects.resize(objectId(ino, seq), 0, "extend");
      if (length > 0) await writeBytes(objects, objectId(ino, seq), 0, pattern(seq, length));
      bytes += length;
    }
  }
  return bytes;
}

testScrub("says of an empty OST that all is checked", async (world) => {
  assert.deepEqual(await scrubAll(world), { objects: 0, bytes: 0, requests: 1, damaged: [] });
});

testScrub("checks every object once, however small the requests", async (world) => {
  const bytes = await writeSome(world.objects);
  for (const bytesMax of [1, 10_000, 1_500_000, limits.scrubBytesMax]) {
    const { requests, ...found } = await scrubAll(world, bytesMax);
    assert.deepEqual(found, { objects: 18, bytes, damaged: [] });
    if (bytesMax === limits.scrubBytesMax) assert.equal(requests, 1);
    else assert.ok(requests > 5, `${requests} requests`);
  }
});

testScrub("names what is damaged, and counts it once", async (world) => {
  await writeSome(world.objects);
  const object = objectId(70_000, 2);
  const { lengthBytes } = world.disk.objects.get(object)!;
  assert.ok(lengthBytes > 1_050_000);
  world.disk.corruptByte(object, 4096);
  world.disk.corruptChecksum(object, 2);
  world.disk.corruptByte(object, lengthBytes - 1);
  const lastStart = Math.floor((lengthBytes - 1) / 4096) * 4096;
  const expected = [
    `${object} 4096+8192`,
    `${object} ${lastStart}+${lengthBytes - lastStart}`,
  ];
  for (const bytesMax of [1, limits.scrubBytesMax]) {
    assert.deepEqual((await scrubAll(world, bytesMax)).damaged, expected);
  }
  assert.deepEqual(world.damaged.counts, { corruptBlocks: 3, repairedBlocks: 0 });
});

testScrub("ends a reply before it names too many", async (world) => {
  const object = objectId(3, 0);
  const blocks = 2 * limits.scrubDamagedMax + 10;
  await writeBytes(world.objects, object, 0, pattern(1, 2 * blocks * 4096));
  for (let block = 0; block < blocks; block++) world.disk.corruptByte(object, 2 * block * 4096);
  const { damaged, requests } = await scrubAll(world);
  assert.equal(damaged.length, blocks);
  assert.equal(new Set(damaged).size, blocks);
  assert.ok(requests >= 3);
});

testScrub("goes on behind objects that are destroyed meanwhile", async (world) => {
  await writeSome(world.objects);
  const { scrubber, objects } = world;
  const first = await scrubber.scrub({ bytesMax: 1_500_000 });
  assert.ok(first.next && first.next.offsetBytes > 0);
  const { ino, seq } = parseObjectId(first.next.object);
  await objects.destroy([ino]);
  let from: ScrubPlace | undefined = first.next;
  let seen = first.objects;
  while (from) {
    const reply = await scrubber.scrub({ from, bytesMax: 1_500_000 });
    seen += reply.objects;
    from = reply.next;
  }
  assert.equal(seen, 18 - (2 - seq), "all but those that it had not come to");
});

testScrub("lets others run between two pieces", async (world) => {
  const { objects, scrubber, clock } = world;
  await writeBytes(objects, objectId(3, 0), 0, pattern(1, 8 * limits.scrubPieceBytes));
  let turns = 0;
  let done = false;
  const other = (async () => {
    while (!done) {
      turns++;
      await new Promise<void>((resolve) => clock.setTimer(resolve, 0));
    }
  })();
  await scrubber.scrub({ bytesMax: limits.scrubBytesMax });
  done = true;
  await other;
  assert.ok(turns >= 8, `${turns} turns`);
});

testScrub("names damage that goes on as one range", async (world) => {
  const object = objectId(3, 0);
  await writeBytes(world.objects, object, 0, pattern(1, 3 * limits.scrubPieceBytes + 5));
  world.disk.corruptChecksums(object);
  const { damaged } = await scrubAll(world);
  assert.deepEqual(damaged, [`${object} 0+${3 * limits.scrubPieceBytes + 5}`]);
});

testScrub("does not end at an object that cannot be used any more", async (world) => {
  const { objects } = world;
  await writeSome(objects);
  const bad = objectId(256, 2);
  const fails = () => Promise.reject(new RustreError("EIO", "an earlier sync failed"));
  const { stat, verify } = objects;
  objects.stat = (object) => object === bad ? fails() : stat.call(objects, object);
  objects.verify = (...args) => args[0] === bad ? fails() : verify.apply(objects, args);
  for (const bytesMax of [1, limits.scrubBytesMax]) {
    const { objects: count, damaged } = await scrubAll(world, bytesMax);
    assert.equal(count, 18);
    assert.equal(damaged[0]?.split("+")[0], `${bad} 0`);
  }
});

testScrub(
  "ends in time on a slow disk, and takes what cannot be read for damaged",
  async (world) => {
    const { clock, objects, damaged } = world;
    const object = objectId(3, 0);
    await writeBytes(objects, object, 0, pattern(1, 20 * limits.scrubPieceBytes));
    const verify = objects.verify.bind(objects);
    objects.verify = async (...args) => {
      await new Promise<void>((resolve) => clock.setTimer(resolve, 500));
      if (args[1] === 3 * limits.scrubPieceBytes) throw new RustreError("EIO", "the disk is old");
      return await verify(...args);
    };
    const slow = new Scrubber({ clock, objects, damaged });
    const startMs = clock.monotonicMs();
    const { next } = await slow.scrub({ bytesMax: limits.scrubBytesMax });
    assert.ok(next && clock.monotonicMs() - startMs <= limits.scrubRequestMs + 500);
    const all = await scrubAll({ ...world, scrubber: slow });
    const { scrubPieceBytes } = limits;
    assert.deepEqual(all.damaged, [`${object} ${3 * scrubPieceBytes}+${scrubPieceBytes}`]);
  },
);
