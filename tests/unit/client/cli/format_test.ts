import assert from "node:assert/strict";
import {
  describeAttributes,
  formatBytes,
  formatExactBytes,
  formatMode,
  formatTime,
} from "../../../../client/cli/format.ts";
import { formatTable } from "../../../../client/cli/table.ts";
import { formatDuration } from "../../../../client/cli/progress.ts";
import { describeMap } from "../../../../client/cli/stripe.ts";
import { limits } from "../../../../shared/limits.ts";
import type { Attributes } from "../../../../shared/model.ts";

const layout = { stripeBytes: 65_536, stripesPerObject: 4, targets: [[0, 1], [2, 3]] };
const file: Attributes & { layout: typeof layout } = {
  ino: 5,
  type: "file",
  mode: 0o640,
  uid: 1,
  gid: 2,
  links: 1,
  sizeBytes: 200_000,
  dataEndBytes: 200_000,
  atimeNs: 1_500_000n,
  mtimeNs: 1_700_000_000_123_456_789n,
  ctimeNs: -1_500_000n,
  layout,
};

Deno.test("formatMode() writes modes as ls does", () => {
  assert.equal(formatMode("file", 0o644), "-rw-r--r--");
  assert.equal(formatMode("directory", 0o1777), "drwxrwxrwt");
  assert.equal(formatMode("directory", 0o1776), "drwxrwxrwT");
  assert.equal(formatMode("symlink", 0o777), "lrwxrwxrwx");
  assert.equal(formatMode("file", 0o6755), "-rwsr-sr-x");
  assert.equal(formatMode("file", 0o6644), "-rwSr-Sr--");
});

Deno.test("sizes are rounded for people and exact for flags", () => {
  assert.deepEqual([0, 1023, 1024, 1536, 150 * 2 ** 20].map(formatBytes), [
    "0",
    "1023",
    "1.0K",
    "1.5K",
    "150M",
  ]);
  assert.deepEqual([0, 1000, 1536, 65_536, 2 ** 40].map(formatExactBytes), [
    "0",
    "1000",
    "1536",
    "64K",
    "1T",
  ]);
});

Deno.test("formatTime() has nanoseconds, before 1970 too", () => {
  assert.match(formatTime(1_700_000_000_123_456_789n), /^2023-11-1\d \d\d:\d\d:20\.123456789 [+-]/);
  assert.match(formatTime(-1n), /:59\.999999999 /);
});

Deno.test("formatDuration() takes the unit that fits", () => {
  assert.deepEqual([500, 75_000, 600_000, 12_600_000].map(formatDuration), [
    "1 s",
    "75 s",
    "10 min",
    "3.5 h",
  ]);
});

Deno.test("formatTable() aligns columns, without spaces at the end of lines", () => {
  assert.deepEqual(formatTable([["A", "B", "C"], ["long", "1", ""]], { right: [1] }), [
    "A     B  C",
    "long  1",
  ]);
});

Deno.test("describeAttributes() has inode numbers as strings, sizes and times as numbers", () => {
  const described = describeAttributes(file);
  assert.deepEqual(JSON.parse(JSON.stringify(described)), {
    ino: "5",
    type: "file",
    mode: "0640",
    uid: 1,
    gid: 2,
    links: 1,
    sizeBytes: 200_000,
    atimeMs: 1.5,
    mtimeMs: 1_700_000_000_123.4568,
    ctimeMs: -1.5,
    layout: { ...layout, stripeCount: 2, replicas: 2 },
  });
});

Deno.test("describeMap() covers every byte once, in order", () => {
  const { map, mapComplete } = describeMap(file);
  assert.equal(mapComplete, true);
  let endBytes = 0;
  for (const range of map) {
    assert.equal(range.offsetBytes, endBytes);
    endBytes += range.lengthBytes;
  }
  assert.equal(endBytes, 200_000);
  assert.deepEqual(map.at(-1), {
    offsetBytes: 196_608,
    lengthBytes: 3_392,
    object: "0000000000000005:00000001",
    objectOffsetBytes: 65_536,
    osts: [2, 3],
  });
});

Deno.test("describeMap() joins what lies in one object, and is bounded", () => {
  const inOnePosition = { ...layout, targets: [[0]] };
  assert.equal(describeMap({ ...file, layout: inOnePosition }).map.length, 1);
  const huge = describeMap({ ...file, dataEndBytes: 2 ** 40 });
  assert.equal(huge.map.length, limits.stripeMapRangesMax);
  assert.equal(huge.mapComplete, false);
});
