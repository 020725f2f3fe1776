// Striping arithmetic, pure: which object holds which byte of a file. Given the inode's layout any
// node computes this; there is no list of chunks.
//
// A file is cut into stripes of `stripeBytes`, dealt round-robin to `targets.length` positions. The
// stripes of one position are packed into objects of at most `stripesPerObject` stripes. Objects are
// numbered so that `seq % positions` is the position. With 2 positions, 1 MiB stripes and 2 stripes
// per object:
//
//   file MiB    0   1   2   3 | 4   5   6   7 | …
//   position    0   1   0   1 | 0   1   0   1
//   object seq  0   1   0   1 | 2   3   2   3
//   MiB in it   0   0   1   1 | 0   0   1   1
//
// The scheme is that of RAID 0 with an object size, as other striped stores have it.

import { assert } from "./assert.ts";
import { limits } from "./limits.ts";
import type { Layout, ObjectId } from "./model.ts";

/** A contiguous range of a file that lies in one object without a gap. */
export interface Piece {
  /** The object's number in its file. */
  readonly seq: number;
  readonly offsetInObjectBytes: number;
  readonly offsetInFileBytes: number;
  readonly lengthBytes: number;
}

export function objectId(ino: number, seq: number): ObjectId {
  assert(Number.isSafeInteger(ino) && ino > 0, `no inode number: ${ino}`);
  assert(Number.isInteger(seq) && seq >= 0 && seq <= 0xffff_ffff, `no object number: ${seq}`);
  return `${ino.toString(16).padStart(16, "0")}:${seq.toString(16).padStart(8, "0")}`;
}

/** The parts of an object id that passed its schema; a number beyond 2^53 is a RangeError. */
export function parseObjectId(id: ObjectId): { ino: number; seq: number } {
  const ino = Number.parseInt(id.slice(0, 16), 16);
  if (!Number.isSafeInteger(ino) || ino < 1) {
    throw new RangeError(`No inode has the number of "${id}"`);
  }
  return { ino, seq: Number.parseInt(id.slice(17), 16) };
}

/** The OSTs of an object, the primary first. */
export function targetsOfObject(layout: Layout, seq: number): readonly number[] {
  const targets = layout.targets[seq % layout.targets.length];
  assert(targets !== undefined, "a layout without targets");
  return targets;
}

/** Every OST that the layout names, once. */
export function targetsOfLayout(layout: Layout): number[] {
  return [...new Set(layout.targets.flat())];
}

/**
 * The pieces of a range in file order, each of at most `pieceBytesMax` and within one stripe. The
 * pieces of a file with one position still end at stripe boundaries.
 */
export function* pieces(
  layout: Layout,
  offsetBytes: number,
  lengthBytes: number,
  pieceBytesMax: number = Number.MAX_SAFE_INTEGER,
): Generator<Piece> {
  const endBytes = offsetBytes + lengthBytes;
  while (offsetBytes < endBytes) {
    const piece = firstPiece(layout, offsetBytes, endBytes - offsetBytes, pieceBytesMax);
    yield piece;
    offsetBytes += piece.lengthBytes;
  }
}

/** The first of {@link pieces} of a range that is not empty. */
export function firstPiece(
  layout: Layout,
  offsetBytes: number,
  lengthBytes: number,
  pieceBytesMax: number,
): Piece {
  const { stripeBytes, stripesPerObject } = layout;
  const positions = layout.targets.length;
  const stripe = Math.floor(offsetBytes / stripeBytes);
  const inStripeBytes = offsetBytes - stripe * stripeBytes;
  const row = Math.floor(stripe / positions);
  const set = Math.floor(row / stripesPerObject);
  return {
    seq: set * positions + (stripe % positions),
    offsetInObjectBytes: (row - set * stripesPerObject) * stripeBytes + inStripeBytes,
    offsetInFileBytes: offsetBytes,
    lengthBytes: Math.min(stripeBytes - inStripeBytes, lengthBytes, pieceBytesMax),
  };
}

/** The pieces of a range that lie on one stripe position. */
interface Lane {
  readonly position: number;
  readonly pieces: Iterable<Piece>;
}

/**
 * {@link pieces} by stripe position, in file order within each: the positions that the range touches,
 * in the order in which it does. What is slow at one position does not hold up the others.
 */
export function* lanes(
  layout: Layout,
  offsetBytes: number,
  lengthBytes: number,
  pieceBytesMax?: number,
): Generator<Lane> {
  if (lengthBytes === 0) return;
  const { stripeBytes, targets: { length: positions } } = layout;
  const firstStripe = Math.floor(offsetBytes / stripeBytes);
  const lastStripe = Math.floor((offsetBytes + lengthBytes - 1) / stripeBytes);
  const endStripe = Math.min(lastStripe + 1, firstStripe + positions);
  for (let stripe = firstStripe; stripe < endStripe; stripe++) {
    const range = { offsetBytes, endBytes: offsetBytes + lengthBytes };
    const ofLane = piecesOfLane(layout, stripe, range, pieceBytesMax);
    yield { position: stripe % positions, pieces: ofLane };
  }
}

/** Of `firstStripe` and every later one at its position. */
function* piecesOfLane(
  layout: Layout,
  firstStripe: number,
  range: { offsetBytes: number; endBytes: number },
  pieceBytesMax: number | undefined,
): Generator<Piece> {
  const { stripeBytes, targets: { length: positions } } = layout;
  for (let stripe = firstStripe;; stripe += positions) {
    const beginBytes = Math.max(range.offsetBytes, stripe * stripeBytes);
    const endBytes = Math.min(range.endBytes, (stripe + 1) * stripeBytes);
    if (beginBytes >= endBytes) return;
    yield* pieces(layout, beginBytes, endBytes - beginBytes, pieceBytesMax);
  }
}

/** A range of an object, as the pieces of a file that follow each other there. */
export interface ObjectRange {
  readonly seq: number;
  readonly offsetInObjectBytes: number;
  readonly lengthBytes: number;
  /** In order, without gaps in the object; one at least. */
  readonly pieces: readonly Piece[];
}

/**
 * Joins pieces to ranges of at most `rangeBytesMax`, wherever one begins in the same object where the
 * one before it ends: the stripes of a lane do. A piece that begins within a block stays alone, as it
 * is written in another way.
 */
export function* objectRanges(
  pieces: Iterable<Piece>,
  rangeBytesMax: number,
  blockBytes: number = limits.checksumBlockBytes,
): Generator<ObjectRange> {
  let joined: Piece[] = [];
  let joinedBytes = 0;
  for (const piece of pieces) {
    const fits = joinedBytes + piece.lengthBytes <= rangeBytesMax;
    const beginsWithBlock = (joined[0]?.offsetInObjectBytes ?? 0) % blockBytes === 0;
    if (!fits || !beginsWithBlock || !follows(joined.at(-1), piece)) {
      if (joined.length > 0) yield rangeOf(joined, joinedBytes);
      joined = [];
      joinedBytes = 0;
    }
    joined.push(piece);
    joinedBytes += piece.lengthBytes;
  }
  if (joined.length > 0) yield rangeOf(joined, joinedBytes);
}

function follows(before: Piece | undefined, { seq, offsetInObjectBytes }: Piece): boolean {
  return before?.seq === seq &&
    before.offsetInObjectBytes + before.lengthBytes === offsetInObjectBytes;
}

function rangeOf(pieces: readonly Piece[], lengthBytes: number): ObjectRange {
  const { seq, offsetInObjectBytes } = pieces[0]!;
  return { seq, offsetInObjectBytes, lengthBytes, pieces };
}

/** How many objects a file of `dataEndBytes` may have: every seq of its objects is below it. */
export function objectCount(layout: Layout, dataEndBytes: number): number {
  if (dataEndBytes === 0) return 0;
  const positions = layout.targets.length;
  const setBytes = layout.stripeBytes * layout.stripesPerObject * positions;
  const fullSets = Math.floor((dataEndBytes - 1) / setBytes);
  const stripesInLastSet = Math.ceil((dataEndBytes - fullSets * setBytes) / layout.stripeBytes);
  return fullSets * positions + Math.min(positions, stripesInLastSet);
}

/** The length of object `seq` in a file whose bytes below `dataEndBytes` were all written. */
export function objectLengthBytes(layout: Layout, seq: number, dataEndBytes: number): number {
  const { stripeBytes, stripesPerObject } = layout;
  const positions = layout.targets.length;
  const position = seq % positions;
  const setBytes = stripeBytes * stripesPerObject * positions;
  const inSetBytes = Math.min(
    Math.max(dataEndBytes - Math.floor(seq / positions) * setBytes, 0),
    setBytes,
  );
  const fullRows = Math.floor(inSetBytes / (stripeBytes * positions));
  const lastRowBytes = inSetBytes - fullRows * stripeBytes * positions;
  const inLastStripeBytes = Math.min(
    Math.max(lastRowBytes - position * stripeBytes, 0),
    stripeBytes,
  );
  return fullRows * stripeBytes + inLastStripeBytes;
}

/** An object whose length depends on which of two ends the data has. */
export interface ResizedObject {
  readonly seq: number;
  /** With the data's end at the lower, and at the higher offset. */
  readonly lowerLengthBytes: number;
  readonly higherLengthBytes: number;
}

/** The objects that are longer when the data ends at `higherBytes` than at `lowerBytes`. */
export function* resizedObjects(
  layout: Layout,
  lowerBytes: number,
  higherBytes: number,
): Generator<ResizedObject> {
  const firstSeq = Math.max(0, objectCount(layout, lowerBytes) - layout.targets.length);
  const count = objectCount(layout, higherBytes);
  for (let seq = firstSeq; seq < count; seq++) {
    const lowerLengthBytes = objectLengthBytes(layout, seq, lowerBytes);
    const higherLengthBytes = objectLengthBytes(layout, seq, higherBytes);
    if (higherLengthBytes > lowerLengthBytes) yield { seq, lowerLengthBytes, higherLengthBytes };
  }
}

/** Highest file size whose objects can still be numbered. */
export function fileBytesMax(layout: Layout): number {
  const { stripeBytes, stripesPerObject, targets } = layout;
  const fullSets = Math.floor(2 ** 32 / targets.length);
  return Math.min(limits.fileBytesMax, fullSets * targets.length * stripeBytes * stripesPerObject);
}
