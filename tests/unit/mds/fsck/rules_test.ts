import assert from "node:assert/strict";
import {
  entryProblem,
  expectedEntries,
  inodeProblem,
  linksProblem,
  mayHaveObject,
  requiredObject,
  requiredObjects,
} from "../../../../mds/fsck/rules.ts";
import type { Inode } from "../../../../mds/values.ts";
import { objectId } from "../../../../shared/layout.ts";

const stripeBytes = 65_536;
const file: Inode = {
  ...{ ino: 7, type: "file", mode: 0o644, uid: 0, gid: 0, links: 2 },
  ...{ sizeBytes: 4 * stripeBytes, dataEndBytes: 3 * stripeBytes + 1 },
  ...{ atimeNs: 0n, mtimeNs: 0n, ctimeNs: 0n },
  layout: { stripeBytes, stripesPerObject: 64, targets: [[0, 2], [1, 0]] },
};
const { layout: _layout, ...plain } = file;
const directory: Inode = { ...plain, type: "directory", sizeBytes: 0, dataEndBytes: 0, parent: 1 };

Deno.test("inodeProblem() takes what an mds writes, and nothing else", () => {
  const root = { ...directory, ino: 1 };
  for (const inode of [file, directory, root]) {
    assert.equal(inodeProblem(inode.ino, inode), undefined);
  }
  const link: Inode = { ...plain, type: "symlink", target: "äb", sizeBytes: 3, dataEndBytes: 0 };
  assert.equal(inodeProblem(7, link), undefined);
  const wrong: Inode[] = [
    { ...file, ino: 8 },
    { ...file, links: -1 },
    { ...file, mode: 0.5 },
    { ...file, uid: "x" as unknown as number },
    { ...file, mtimeNs: 0 as unknown as bigint },
    { ...file, dataEndBytes: 5 * stripeBytes },
    { ...file, sizeBytes: 2 ** 53 - 1 },
    { ...file, layout: undefined },
    { ...file, layout: { ...file.layout!, targets: [] } },
    { ...file, layout: { ...file.layout!, stripeBytes: 1 } },
    { ...file, layout: { ...file.layout!, targets: [[0, 1], [2, 2]] } },
    { ...directory, parent: undefined },
    { ...directory, parent: 0 },
    { ...directory, defaults: { stripeCount: -1 } },
    { ...link, target: undefined },
    { ...link, target: "", sizeBytes: 0 },
    { ...link, sizeBytes: 2 },
  ];
  for (const inode of wrong) assert.notEqual(inodeProblem(7, inode), undefined);
  assert.notEqual(inodeProblem(1, { ...root, parent: 2 }), undefined);
});

Deno.test("entryProblem() and linksProblem() name what does not fit", () => {
  const entry = { parent: 1, name: "a", ino: 7, type: "file" } as const;
  const toDirectory = { ...entry, type: "directory" } as const;
  assert.equal(entryProblem(entry, file), undefined);
  assert.equal(entryProblem(entry, undefined)?.kind, "entry-without-inode");
  assert.equal(entryProblem(toDirectory, file)?.kind, "entry-of-another-type");
  assert.equal(entryProblem(toDirectory, directory), undefined);
  assert.equal(entryProblem({ ...toDirectory, parent: 3 }, directory)?.kind, "wrong-parent");
  assert.deepEqual([file, directory, { ...directory, ino: 1 }].map(expectedEntries), [2, 1, 0]);
  assert.deepEqual([0, 1, 2].map((entries) => linksProblem(file, entries)?.kind), [
    "unnamed-inode",
    "wrong-links",
    undefined,
  ]);
  assert.equal(linksProblem({ ...file, links: 0 }, 0)?.kind, "unnamed-inode");
  assert.equal(linksProblem({ ...directory, ino: 1 }, 0), undefined);
});

Deno.test("requiredObjects() are those that the data reaches, with their lengths", () => {
  const required = [...requiredObjects(file)];
  assert.deepEqual(required, [
    { object: objectId(7, 0), seq: 0, lengthBytes: 2 * stripeBytes, targets: [0, 2] },
    { object: objectId(7, 1), seq: 1, lengthBytes: stripeBytes + 1, targets: [1, 0] },
  ]);
  assert.deepEqual(requiredObject(file, 1), required[1]);
  assert.equal(requiredObject(file, 2), undefined);
  assert.deepEqual([...requiredObjects({ ...file, dataEndBytes: 0 })], []);
  assert.deepEqual([...requiredObjects(directory)], []);
  const places = [0, 1, 2].map((target) =>
    [0, 1, 2].map((seq) => mayHaveObject(file, seq, target))
  );
  assert.deepEqual(places, [[true, true, true], [false, true, false], [true, false, true]]);
});
