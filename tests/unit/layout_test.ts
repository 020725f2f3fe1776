// Striping arithmetic against counting byte by byte. Stripes of a few bytes show every boundary.

import assert from "node:assert/strict";
import * as fc from "fast-check";
import {
  fileBytesMax,
  lanes,
  objectCount,
  objectId,
  objectLengthBytes,
  objectRanges,
  parseObjectId,
  type Piece,
  pieces,
  resizedObjects,
  targetsOfLayout,
  targetsOfObject,
} from "../../shared/layout.ts";
import { limits } from "../../shared/limits.ts";
import type { Layout } from "../../shared/model.ts";
import { checkProperty } from "../support/seed.ts";

const layouts: fc.Arbitrary<Layout> = fc.record({
  stripeBytes: fc.integer({ min: 1, max: 5 }),
  stripesPerObject: fc.integer({ min: 1, max: 4 }),
  targets: fc.array(fc.tuple(fc.nat({ max: 9 })), { minLength: 1, maxLength: 5 }),
});

/** Deals the bytes out one by one, as the comment in layout.ts has it. */
class NaiveDealer {
  readonly #layout: Layout;

  constructor(layout: Layout) {
    this.#layout = layout;
  }

  /** Where each byte of a file goes: the object, and the place in it. */
  *deal(fileBytes: number): Generator<{ seq: number; offset: number }> {
    const { stripeBytes, stripesPerObject, targets } = this.#layout;
    const [lengths, objects] = [targets.map(() => 0), targets.map((_, position) => position)];
    let position = 0;
    for (let byte = 0; byte < fileBytes; byte++) {
      if (byte > 0 && byte % stripeBytes === 0) position = (position + 1) % targets.length;
      if (lengths[position] === stripeBytes * stripesPerObject) {
        objects[position]! += targets.length;
        lengths[position] = 0;
      }
      yield { seq: objects[position]!, offset: lengths[position]!++ };
    }
  }
}

function* bytesOf(parts: Iterable<Piece>): Generator<{ seq: number; offset: number }> {
  for (const { seq, offsetInObjectBytes, lengthBytes } of parts) {
    for (let byte = 0; byte < lengthBytes; byte++) {
      yield { seq, offset: offsetInObjectBytes + byte };
    }
  }
}

Deno.test("pieces() covers each byte of a range once, in order, where it was dealt", async () => {
  const property = fc.property(
    layouts,
    fc.nat({ max: 150 }),
    fc.nat({ max: 150 }),
    fc.integer({ min: 1, max: 7 }),
    (layout, offsetBytes, lengthBytes, pieceBytesMax) => {
      const all = [...new NaiveDealer(layout).deal(offsetBytes + lengthBytes)];
      const found = [...pieces(layout, offsetBytes, lengthBytes, pieceBytesMax)];
      assert.deepEqual([...bytesOf(found)], all.slice(offsetBytes));
      let nextBytes = offsetBytes;
      for (const { offsetInFileBytes, lengthBytes: length } of found) {
        assert.equal(offsetInFileBytes, nextBytes);
        assert(length > 0 && length <= Math.min(pieceBytesMax, layout.stripeBytes));
        nextBytes += length;
      }
    },
  );
  await checkProperty(property, { runs: 1_000 });
});

Deno.test("lanes() are the pieces of a range, dealt to their positions in order", async () => {
  const property = fc.property(
    layouts,
    fc.nat({ max: 150 }),
    fc.nat({ max: 150 }),
    fc.integer({ min: 1, max: 7 }),
    (layout, offsetBytes, lengthBytes, pieceBytesMax) => {
      const byPosition = new Map<number, Piece[]>();
      for (const piece of pieces(layout, offsetBytes, lengthBytes, pieceBytesMax)) {
        const position = piece.seq % layout.targets.length;
        byPosition.set(position, [...byPosition.get(position) ?? [], piece]);
      }
      const found = [...lanes(layout, offsetBytes, lengthBytes, pieceBytesMax)];
      const dealt = found.map(({ position, pieces }) => [position, [...pieces]] as const);
      assert.deepEqual(dealt, [...byPosition]);
    },
  );
  await checkProperty(property, { runs: 1_000 });
});

Deno.test("objectRanges() joins what one request can take of an object, and loses nothing", async () => {
  const property = fc.property(
    layouts,
    fc.nat({ max: 150 }),
    fc.nat({ max: 150 }),
    fc.integer({ min: 1, max: 7 }),
    fc.integer({ min: 7, max: 20 }),
    fc.integer({ min: 1, max: 3 }),
    (layout, offsetBytes, lengthBytes, pieceBytesMax, rangeBytesMax, blockBytes) => {
      for (const lane of lanes(layout, offsetBytes, lengthBytes, pieceBytesMax)) {
        const ofLane = [...lane.pieces];
        const found = [...objectRanges(ofLane, rangeBytesMax, blockBytes)];
        assert.deepEqual(found.flatMap((range) => range.pieces), ofLane);
        for (const [index, range] of found.entries()) {
          assert(range.lengthBytes > 0 && range.lengthBytes <= rangeBytesMax);
          let nextBytes = range.offsetInObjectBytes;
          for (const piece of range.pieces) {
            assert.deepEqual([piece.seq, piece.offsetInObjectBytes], [range.seq, nextBytes]);
            nextBytes += piece.lengthBytes;
          }
          assert.equal(nextBytes, range.offsetInObjectBytes + range.lengthBytes);
          const [next] = found[index + 1]?.pieces ?? [];
          const isFull = next && range.lengthBytes + next.lengthBytes > rangeBytesMax;
          const isWithinBlock = range.offsetInObjectBytes % blockBytes !== 0;
          assert(!isWithinBlock || range.pieces.length === 1);
          assert(
            !next || next.seq !== range.seq || isFull || isWithinBlock,
            "it ends for a reason",
          );
        }
      }
    },
  );
  await checkProperty(property, { runs: 1_000 });
});

Deno.test("objectCount() and objectLengthBytes() are what counting bytes gives", async () => {
  const property = fc.property(layouts, fc.nat({ max: 200 }), (layout, fileBytes) => {
    const lengths = new Map<number, number>();
    for (const { seq } of new NaiveDealer(layout).deal(fileBytes)) {
      lengths.set(seq, (lengths.get(seq) ?? 0) + 1);
    }
    const count = objectCount(layout, fileBytes);
    assert.equal(count, lengths.size, "every object below the count has bytes");
    assert.equal(count, Math.max(-1, ...lengths.keys()) + 1);
    for (let seq = 0; seq < count + 2 * layout.targets.length; seq++) {
      assert.equal(objectLengthBytes(layout, seq, fileBytes), lengths.get(seq) ?? 0);
    }
  });
  await checkProperty(property, { runs: 1_000 });
});

Deno.test("resizedObjects() are those that bytes between the two ends belong to", async () => {
  const ends = fc.tuple(fc.nat({ max: 200 }), fc.nat({ max: 200 }));
  const property = fc.property(layouts, ends, (layout, [one, other]) => {
    const [lower, higher] = [Math.min(one, other), Math.max(one, other)];
    const touched = new Set<number>();
    for (const { seq } of [...new NaiveDealer(layout).deal(higher)].slice(lower)) touched.add(seq);
    const expected = [...touched].sort((a, b) => a - b).map((seq) => ({
      seq,
      lowerLengthBytes: objectLengthBytes(layout, seq, lower),
      higherLengthBytes: objectLengthBytes(layout, seq, higher),
    }));
    assert.deepEqual([...resizedObjects(layout, lower, higher)], expected);
  });
  await checkProperty(property, { runs: 500 });
});

Deno.test("fileBytesMax() is the largest size whose objects have numbers of 32 bits", async () => {
  const shapes = fc.record({
    stripeBytes: fc.constantFrom(1, 2 ** 10, 2 ** 16, 2 ** 26),
    stripesPerObject: fc.constantFrom(1, 3, 64, 2 ** 20),
    targets: fc.integer({ min: 1, max: 256 }).map((count) =>
      Array.from({ length: count }, (_, index) => [index])
    ),
  });
  const property = fc.property(shapes, (layout) => {
    const most = fileBytesMax(layout);
    assert(most <= limits.fileBytesMax);
    assert(objectCount(layout, most) <= 2 ** 32);
    const [last] = pieces(layout, most - 1, 1);
    objectId(1, last!.seq);
  });
  await checkProperty(property, { runs: 500 });
});

Deno.test("pieces() at the boundaries of stripes, objects and sets of the real sizes", () => {
  const { stripeBytesDefault: stripeBytes, stripesPerObject } = limits;
  const layout = { stripeBytes, stripesPerObject, targets: [[0], [1], [2]] };
  const setBytes = 3 * stripeBytes * stripesPerObject;
  const at = (offset: number) => {
    const [{ seq, offsetInObjectBytes }] = pieces(layout, offset, 1) as unknown as [Piece];
    return [seq, offsetInObjectBytes];
  };
  assert.deepEqual(at(stripeBytes - 1), [0, stripeBytes - 1]);
  assert.deepEqual(at(stripeBytes), [1, 0]);
  assert.deepEqual(at(3 * stripeBytes), [0, stripeBytes]);
  assert.deepEqual(at(setBytes - 1), [2, stripeBytes * stripesPerObject - 1]);
  assert.deepEqual(at(setBytes), [3, 0]);
  assert.deepEqual([...pieces(layout, 5, 0)], []);
  assert.equal(objectCount(layout, setBytes), 3);
  assert.equal(objectCount(layout, setBytes + 1), 4);
});

Deno.test("objectId() and parseObjectId() are each other's inverse, in the order of numbers", async () => {
  const ids = fc.record({
    ino: fc.integer({ min: 1, max: Number.MAX_SAFE_INTEGER }),
    seq: fc.integer({ min: 0, max: 0xffff_ffff }),
  }, { noNullPrototype: true });
  const property = fc.property(ids, ids, (left, right) => {
    const id = objectId(left.ino, left.seq);
    assert.match(id, /^[0-9a-f]{16}:[0-9a-f]{8}$/);
    assert.deepEqual(parseObjectId(id), left);
    const numeric = left.ino - right.ino || left.seq - right.seq;
    const other = objectId(right.ino, right.seq);
    assert.equal(Math.sign(numeric), id < other ? -1 : id > other ? 1 : 0);
  });
  await checkProperty(property, { runs: 500 });
  assert.throws(() => parseObjectId("ffffffffffffffff:00000000"), RangeError);
  assert.throws(() => parseObjectId("0000000000000000:00000000"), RangeError);
});

Deno.test("targetsOfObject() goes round the positions, targetsOfLayout() names each once", () => {
  const layout = { stripeBytes: 1, stripesPerObject: 1, targets: [[4, 5], [5, 6]] };
  assert.deepEqual([0, 1, 2, 3].map((seq) => targetsOfObject(layout, seq)), [
    [4, 5],
    [5, 6],
    [4, 5],
    [5, 6],
  ]);
  assert.deepEqual(targetsOfLayout(layout), [4, 5, 6]);
});
