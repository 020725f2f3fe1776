import assert from "node:assert/strict";
import * as fc from "fast-check";
import * as values from "../../../mds/values.ts";
import * as schema from "../../../mds/schema.ts";
import { bytesToKey, type Key, type KeyRange, textToKey } from "../../../shared/store/store.ts";
import { checkProperty } from "../../support/seed.ts";

const keys = new schema.Schema("test");
const record: typeof fc.record = (model: object, constraints: object = {}) =>
  fc.record(model as never, { ...constraints, noNullPrototype: true });
const numbers = fc.oneof(
  fc.integer({ min: 0, max: 100 }),
  fc.integer({ min: 0, max: Number.MAX_SAFE_INTEGER }),
);
const inodeNumbers = numbers.map((number) => Math.max(1, number));
const times = fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n });
const ids = fc.string({
  unit: fc.constantFrom(..."0123456789abcdef"),
  minLength: 32,
  maxLength: 32,
});
const names = fc.string({ unit: "grapheme", minLength: 1, maxLength: 20 }).filter((name) =>
  !/[/\0]/.test(name)
);
const uint32 = fc.integer({ min: 0, max: 0xffff_ffff });
const types = fc.constantFrom("file" as const, "directory" as const, "symlink" as const);
const maybe = <Value>(value: fc.Arbitrary<Value>) => fc.option(value, { nil: undefined });

const inodes: fc.Arbitrary<values.Inode> = record({
  ino: inodeNumbers,
  type: types,
  mode: fc.nat({ max: 0o7777 }),
  uid: uint32,
  gid: uint32,
  links: fc.nat(),
  sizeBytes: numbers,
  dataEndBytes: numbers,
  atimeNs: times,
  mtimeNs: times,
  ctimeNs: times,
  layout: maybe(record({
    stripeBytes: uint32,
    stripesPerObject: uint32,
    targets: fc.array(fc.array(fc.nat({ max: 0xffff }), { minLength: 1, maxLength: 3 }), {
      minLength: 1,
      maxLength: 5,
    }),
  })),
  parent: maybe(inodeNumbers),
  defaults: maybe(record({ stripeCount: uint32, stripeBytes: uint32, replicas: uint32 }, {
    requiredKeys: [],
  })),
  target: maybe(fc.string({ unit: "grapheme" })),
});

async function roundTrips<Value>(
  values: fc.Arbitrary<Value>,
  encode: (value: Value) => Uint8Array,
  decode: (bytes: Uint8Array) => Value,
): Promise<void> {
  const property = fc.property(values, (value) => assert.deepEqual(decode(encode(value)), value));
  await checkProperty(property, { runs: 300 });
}

Deno.test("every value comes back as it was stored", async () => {
  await roundTrips(inodes, values.encodeInode, values.decodeInode);
  await roundTrips(
    record({ ino: inodeNumbers, type: types }),
    values.encodeChild,
    values.decodeChild,
  );
  await roundTrips(
    record({ inode: inodes, parent: inodeNumbers, name: names, replace: fc.boolean() }),
    values.encodePending,
    values.decodePending,
  );
  await roundTrips(
    record({ expiresAtMs: numbers, over: fc.boolean() }),
    values.encodeSession,
    values.decodeSession,
  );
  await roundTrips(
    record({ mtimeNs: times, ctimeNs: times }),
    values.encodeDirectoryTimes,
    values.decodeDirectoryTimes,
  );
  await roundTrips(numbers, values.encodeNumber, values.decodeNumber);
  const reply = record({ ino: numbers, mtimeNs: times, names: fc.array(names) });
  await roundTrips(
    record({ requestId: numbers, opcode: fc.nat({ max: 0xffff }), reply }),
    values.encodeStoredReply as (value: values.StoredReply) => Uint8Array,
    values.decodeStoredReply as (bytes: Uint8Array) => never,
  );
  const idOfReply = fc.property(numbers, (requestId) => {
    const value = values.encodeStoredReply({ requestId, opcode: 1, reply: {} });
    assert.equal(values.requestIdOfStoredReply(value), requestId);
  });
  await checkProperty(idOfReply, { runs: 300 });
});

Deno.test("a value of another format or kind is refused, not misread", () => {
  const bad: Uint8Array[] = [new Uint8Array(0), Uint8Array.of(0xc1), Uint8Array.of(0x93, 2, 1, 1)];
  bad.push(values.encodeNumber(1), values.present, new TextEncoder().encode("text"));
  for (const value of bad) {
    assert.throws(() => values.decodeInode(value), { code: "STORE_FORMAT" });
    assert.throws(() => values.decodeSession(value), { code: "STORE_FORMAT" });
    assert.throws(() => values.requestIdOfStoredReply(value), { code: "STORE_FORMAT" });
  }
});

Deno.test("decodeCounter() reads what the store's add() writes", () => {
  const view = new DataView(new ArrayBuffer(8));
  for (const number of [0, 1, -1, 2 ** 40]) {
    view.setBigInt64(0, BigInt(number), true);
    assert.equal(values.decodeCounter(new Uint8Array(view.buffer)), number);
  }
  assert.equal(values.decodeCounter(undefined), 0);
});

Deno.test("keys sort as their numbers do", async () => {
  const makers: ((number: number) => Key)[] = [
    (number) => keys.inode(number),
    (number) => keys.directoryLinks(number),
    (number) => keys.directoryTimes(number),
    (number) => keys.truncation(number),
    (number) => keys.garbage(7, number),
    (number) => keys.pending("c", number),
    (number) => keys.children(number).begin,
  ];
  const property = fc.property(inodeNumbers, inodeNumbers, (left, right) => {
    for (const make of makers) {
      const [a, b] = [make(left), make(right)];
      assert.equal(a < b ? -1 : a > b ? 1 : 0, Math.sign(left - right));
    }
  });
  await checkProperty(property, { runs: 500 });
});

Deno.test("the entries of a directory sort by the bytes of their names, within its range", async () => {
  const property = fc.property(inodeNumbers, names, names, (parent, left, right) => {
    const [a, b] = [keys.child(parent, left), keys.child(parent, right)];
    const [x, y] = [left, right].map((name) => bytesToKey(new TextEncoder().encode(name)));
    assert.equal(a < b ? -1 : a > b ? 1 : 0, x! < y! ? -1 : x! > y! ? 1 : 0);
    assert.equal(keys.childName(parent, a), left);
    requireIn(keys.children(parent), a);
    requireOutside(keys.children(parent + 1), a);
    requireOutside(keys.children(Math.max(0, parent - 1)), a);
  });
  await checkProperty(property, { runs: 500 });
});

Deno.test("ranges hold their own keys and no other's, which can be read back", async () => {
  const property = fc.property(inodeNumbers, ids, ids, ids, (ino, clientId, other, handle) => {
    fc.pre(clientId !== other);
    const writer = { ino, clientId, handle };
    const pairs: [KeyRange, Key, KeyRange][] = [
      [keys.pendingOf(clientId), keys.pending(clientId, ino), keys.pendingOf(other)],
      [keys.writingOf(clientId), keys.writing(writer), keys.writingOf(other)],
      [keys.writers(ino), keys.writer(writer), keys.writers(ino + 1)],
      [keys.replies(clientId), keys.reply(clientId, 1023), keys.replies(other)],
      [keys.garbageOf(5), keys.garbage(5, ino), keys.garbageOf(6)],
      [keys.truncations(), keys.truncation(ino), keys.sessions()],
      [keys.sessions(), keys.session(clientId), keys.truncations()],
    ];
    for (const [range, key, foreign] of pairs) {
      requireIn(range, key);
      requireOutside(foreign, key);
    }
    assert.deepEqual(keys.writerOf(clientId, keys.writing(writer)), writer);
    assert.equal(keys.clientOfSession(keys.session(clientId)), clientId);
    for (const key of [keys.pending(clientId, ino), keys.truncation(ino), keys.garbage(1, ino)]) {
      assert.equal(keys.inoOf(key), ino);
    }
  });
  await checkProperty(property, { runs: 300 });
});

Deno.test("two clusters in one store share no key", () => {
  const other = new schema.Schema("tést");
  assert(other.inode(1).startsWith(textToKey("tést")));
  assert.notEqual(other.collectorLease, keys.collectorLease);
});

function requireIn({ begin, end }: KeyRange, key: Key): void {
  assert(key >= begin && key < end, `${key} is in its range`);
}

function requireOutside({ begin, end }: KeyRange, key: Key): void {
  assert(key < begin || key >= end, `${key} is in a foreign range`);
}
