// Keeps docs/formats.md true: its keys, values, places, lengths and names are compared with the code.

import assert from "node:assert/strict";
import { decode } from "@msgpack/msgpack";
import * as mds from "../../mds/schema.ts";
import * as values from "../../mds/values.ts";
import { MgsSchema } from "../../mgs/schema.ts";
import { fileNameOf, prefixOf } from "../../oss/file_names.ts";
import { objectCount, objectId, objectLengthBytes, pieces } from "../../shared/layout.ts";
import { limits } from "../../shared/limits.ts";
import {
  codesIn,
  numberOf,
  readDocument,
  rowsUnder,
  sectionOf,
  tablesOf,
} from "../support/markdown.ts";

const formatsPage = readDocument("docs/formats.md");

const id = "0123456789abcdef".repeat(2);
const sampleInode: values.Inode = {
  ino: 2,
  type: "file",
  mode: 0o644,
  uid: 0,
  gid: 0,
  links: 1,
  sizeBytes: 0,
  dataEndBytes: 0,
  atimeNs: 0n,
  mtimeNs: 0n,
  ctimeNs: 0n,
};

/** One key of each kind that the mds has, with a value where it is an array. */
function mdsSamples(): [string, Uint8Array | undefined][] {
  const keys = new mds.Schema("c");
  const writer = { ino: 2, clientId: id, handle: id };
  const pending = { inode: sampleInode, parent: 1, name: "a", replace: false };
  return [
    [keys.inode(2), values.encodeInode(sampleInode)],
    [keys.child(1, "a"), values.encodeChild({ ino: 2, type: "file" })],
    [keys.directoryLinks(1), undefined],
    [keys.directoryTimes(1), values.encodeDirectoryTimes({ mtimeNs: 0n, ctimeNs: 0n })],
    [keys.nextIno, values.encodeNumber(2)],
    [keys.inodeCount, undefined],
    [keys.session(id), values.encodeSession({ expiresAtMs: 0, over: false })],
    [keys.reply(id, 5), values.encodeStoredReply({ requestId: 5, opcode: 1, reply: {} })],
    [keys.pending(id, 2), values.encodePending(pending)],
    [keys.writer(writer), values.present],
    [keys.writing(writer), values.present],
    [keys.truncation(2), values.encodeNumber(0)],
    [keys.garbage(3, 2), values.present],
  ];
}

function mgsSamples(): string[] {
  const keys = new MgsSchema("c");
  const address = { host: "h", port: 1 };
  return [
    keys.format,
    "c/id",
    keys.epoch,
    keys.server("mgs", address),
    keys.server("mds", address),
    keys.target(3),
    keys.usage(3),
    keys.proberLease,
  ];
}

/** What a documented key stands for: `{ino:016x}` is 16 hexadecimal digits. */
function patternOf(documented: string): RegExp {
  const escaped = documented.replace(/[.*+?^$()|[\]\\]/g, "\\$&");
  const pattern = escaped
    .replace(/\{\w+:0(\d+)x\}/g, "[0-9a-f]{$1}")
    .replace(/\{(clientId|handle)\}/g, "[0-9a-f]{32}")
    .replace(/\{(name|address)\}/g, "[^/]+");
  return new RegExp(`^${pattern}$`);
}

/** The keys that the comment at the head of a schema file lists. */
function keysInComment(path: string): string[] {
  const [head = ""] = readDocument(path).split("\nimport ");
  return [...head.matchAll(/^\/\/ {3}(\S+) {2,}\S/gm)].map(([, key]) => key!)
    .filter((key) => !key.startsWith("{cluster}"));
}

function documentedKeys(section: string): { key: string; value: string }[] {
  return tablesOf(sectionOf(formatsPage, section))[0]!.slice(1).map(([key, value]) => {
    return { key: codesIn(key!)[0]!, value: value! };
  });
}

Deno.test("docs/formats.md has every key of the mds with the length of its value", () => {
  const documented = documentedKeys("Keys of the mds");
  assert.deepEqual(documented.map(({ key }) => key), keysInComment("mds/schema.ts"));
  const samples = mdsSamples();
  assert.equal(samples.length, documented.length);
  for (const [index, { key, value }] of documented.entries()) {
    const [sampleKey, sampleValue] = samples[index]!;
    assert.match(sampleKey.replace(/^c\/mds_meta\//, ""), patternOf(key));
    if (!sampleValue) assert.equal(value, "counter");
    else assert.equal(lengthOfArray(value), (decode(sampleValue) as unknown[]).length, key);
  }
  assert.ok(formatsPage.includes("`{cluster}/lease/collector`"));
  assert.equal(new mds.Schema("c").collectorLease, "c/lease/collector");
});

/** Of "`[1, a, b]`" 3; of "`[1, …inode]`, 16 elements" 16. */
function lengthOfArray(cell: string): number {
  const said = /, (\d+) elements$/.exec(cell)?.[1];
  return said === undefined ? cell.split(",").length : Number(said);
}

Deno.test("docs/formats.md has every key of the mgs", () => {
  const documented = documentedKeys("Keys of the mgs").map(({ key }) => key);
  assert.deepEqual(documented, keysInComment("mgs/schema.ts"));
  for (const [index, key] of mgsSamples().entries()) {
    assert.match(key.replace(/^c\//, ""), patternOf(documented[index]!));
  }
});

Deno.test("docs/formats.md has every element of an inode in its order", () => {
  const rows = rowsUnder(sectionOf(formatsPage, "Keys of the mds"), "element");
  const marked = { ...sampleInode, parent: 77, target: "t", mode: 1, uid: 2, gid: 3, links: 4 };
  const value = decode(values.encodeInode(marked)) as unknown[];
  assert.deepEqual(rows.map(([element]) => Number(element)), [...value.keys()]);
  for (const name of ["ino", "mode", "uid", "gid", "links", "parent", "target"] as const) {
    const index = rows.findIndex(([, field]) => field === name);
    assert.equal(value[index], marked[name], name);
  }
});

Deno.test("docs/formats.md computes places and lengths as the code does", () => {
  const section = sectionOf(formatsPage, "Where the bytes of a file are");
  const targets = JSON.parse(/`targets` = (\[\[.*\]\])/.exec(section)![1]!);
  const layout = { stripeBytes: 2 ** 20, stripesPerObject: limits.stripesPerObject, targets };
  for (const row of rowsUnder(section, "byte of the file")) {
    const [offset, stripe, gridRow, set, seq, inObject] = row.map(numberOf);
    const [piece] = pieces(layout, offset!, 1);
    assert.equal(piece!.seq, seq);
    assert.equal(piece!.offsetInObjectBytes, inObject);
    assert.equal(row[6], targets[seq! % targets.length].join(", "));
    assert.equal(stripe, Math.floor(offset! / layout.stripeBytes));
    assert.equal(gridRow, Math.floor(stripe! / targets.length));
    assert.equal(set, Math.floor(gridRow! / layout.stripesPerObject));
  }
  const endBytes = numberOf(/data of this file ends at ([\d,]+\d)/.exec(section)![1]!);
  const objects = rowsUnder(section, "seq");
  assert.equal(objects.length, objectCount(layout, endBytes));
  for (const [seq, length] of objects) {
    assert.equal(numberOf(length!), objectLengthBytes(layout, Number(seq), endBytes));
  }
});

Deno.test("docs/formats.md names the files of objects as the code does", () => {
  const section = sectionOf(formatsPage, "The directory of an OST");
  const examples = [...section.matchAll(/inode ([\d,]+)\D*?`objects\/([0-9a-f]{3})`/gi)];
  assert.equal(examples.length, 1);
  assert.equal(prefixOf(5), "000");
  assert.equal(prefixOf(numberOf("74,565")), "123");
  assert.match(fileNameOf(objectId(5, 1)), patternOf("{ino:016x}_{seq:08x}"));
});
