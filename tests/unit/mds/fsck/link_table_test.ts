import assert from "node:assert/strict";
import { LinkTable } from "../../../../mds/fsck/link_table.ts";
import { limits } from "../../../../shared/limits.ts";

Deno.test("LinkTable counts entries by inode number, and knows what has no inode", () => {
  const table = new LinkTable();
  for (let time = 0; time < 300; time++) table.addEntry(255, "file");
  table.addEntry(256, "directory");
  table.addEntry(limits.inodeMax, "symlink");
  table.addInode(256);
  table.addInode(257);
  const counts = [254, 255, 256, 257, limits.inodeMax].map((ino) => table.entriesOf(ino));
  assert.deepEqual(counts, [0, 300, 1, 0, 1]);
  assert.deepEqual([...table.namedOnly()], [255, limits.inodeMax]);
});

Deno.test("LinkTable remembers all types that entries said", () => {
  const table = new LinkTable();
  table.addEntry(1, "file");
  table.addEntry(2, "file");
  table.addEntry(2, "directory");
  assert.deepEqual([1, 2, 3].map((ino) => table.hasOtherType(ino, "file")), [false, true, false]);
  assert.equal(table.hasOtherType(1, "symlink"), true);
  table.addInode(1);
  assert.equal(table.hasOtherType(1, "file"), false);
});
