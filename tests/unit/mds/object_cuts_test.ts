// Cutting the objects of one file: what it asks the OSTs for, and what it does not believe them.

import assert from "node:assert/strict";
import { type CallTarget, ObjectCuts } from "../../../mds/object_cuts.ts";
import type { Inode } from "../../../mds/values.ts";
import { noUsage } from "../../../shared/usage.ts";
import { objectId } from "../../../shared/layout.ts";
import { limits } from "../../../shared/limits.ts";
import type { ClusterMap, Layout, ObjectId } from "../../../shared/model.ts";

const stripeBytes = limits.stripeBytesMin;
const inode: Inode & { readonly layout: Layout } = {
  ...{ ino: 7, type: "file", mode: 0o644, uid: 0, gid: 0, links: 1 },
  ...{ sizeBytes: 100, dataEndBytes: 100, atimeNs: 0n, mtimeNs: 0n, ctimeNs: 0n },
  layout: { stripeBytes, stripesPerObject: 1, targets: [[0, 1]] },
};
const map = {
  epoch: 5,
  targets: [0, 1].map((index) => ({ index, state: "up", usage: noUsage })),
} as unknown as ClusterMap;

/** OSTs that have these objects; what is cut, by OST, object and length. */
function targets(listed: readonly { object: ObjectId; lengthBytes: number }[]) {
  const cut: string[] = [];
  const call = ((_map: ClusterMap, index: number, name: string, request: object) => {
    const { object, lengthBytes } = request as { object: ObjectId; lengthBytes: number };
    if (name === "listInode") {
      const left = listed.filter((each) => each.object >= object);
      return Promise.resolve({ objects: left.slice(0, limits.objectsPerListMax) });
    }
    if (name === "resizeObject") cut.push(`${index} ${object} ${lengthBytes}`);
    return Promise.resolve({ verifier: "0".repeat(32) });
  }) as unknown as CallTarget;
  return { call, cut };
}

Deno.test("ObjectCuts.cutAll() cuts on all replicas what an OST lists as too long, primary first", async () => {
  const { call, cut } = targets([
    { object: objectId(7, 0), lengthBytes: 500 },
    { object: objectId(7, 1), lengthBytes: 0 },
    { object: objectId(7, 3), lengthBytes: 1 },
  ]);
  await new ObjectCuts(call, map, inode).cutAll();
  const ofEach = [
    ...[`0 ${objectId(7, 0)} 100`, `1 ${objectId(7, 0)} 100`],
    ...[`0 ${objectId(7, 3)} 0`, `1 ${objectId(7, 3)} 0`],
  ];
  assert.deepEqual(cut, [...ofEach, ...ofEach]);
});

Deno.test("ObjectCuts.cutAll() goes through lists of several pages", async () => {
  const count = 2 * limits.objectsPerListMax + 1;
  const all = Array.from({ length: count }, (_, seq) => ({
    object: objectId(7, seq + 1),
    lengthBytes: 1,
  }));
  const { call, cut } = targets(all);
  await new ObjectCuts(call, map, inode).cutAll();
  assert.equal(cut.length, 4 * count);
});

for (const object of [objectId(8, 0), "0000000000000000:00000000", "ffffffffffffffff:00000000"]) {
  Deno.test(`ObjectCuts.cutAll() refuses an answer with ${object}, and cuts nothing by it`, async () => {
    const { call, cut } = targets([{ object, lengthBytes: 500 }]);
    const anything = ((map: ClusterMap, index: number, name: "listInode", request: never) => {
      if (name !== "listInode") return call(map, index, name, request);
      return Promise.resolve({ objects: [{ object, lengthBytes: 500 }] });
    }) as unknown as CallTarget;
    const cutting = new ObjectCuts(anything, map, inode).cutAll();
    await assert.rejects(cutting, { code: "BAD_FRAME" });
    assert.deepEqual(cut, []);
  });
}
