// A range of a file as pieces, each in one object, and the ways to run a task on all of them.

import {
  firstPiece,
  lanes,
  type ObjectRange,
  objectRanges,
  type Piece,
  pieces,
  targetsOfObject,
} from "../shared/layout.ts";
import { limits } from "../shared/limits.ts";
import type { ContentOf } from "./object_client.ts";
import type { FileObjects } from "./object_parts.ts";
import type { TargetWindows } from "./target_windows.ts";

export interface FileBytes {
  readonly offsetBytes: number;
  readonly lengthBytes: number;
}

/** A part of a file whose turn it is to be read. */
export interface PieceToRead extends FileBytes {
  /**
   * Fills a buffer of the piece's length. Resolves to how many bytes there are, fewer where the file
   * was cut meanwhile.
   */
  readInto(buffer: Uint8Array): Promise<number>;
}

/** Parts of a file whose turn it is to be written, with one request. */
export interface PieceToWrite {
  /** In order; not next to each other in the file, but in the object where they are stored. */
  readonly ranges: readonly FileBytes[];
  /** Of all of them. */
  readonly lengthBytes: number;
  /** Writes what `contentOf` gives, which is of the piece's length; asked again for each try. */
  write(contentOf: ContentOf): Promise<void>;
}

/** Runs a task on what a range of a file consists of. */
export type Each<Part> = (
  range: FileBytes,
  signal: AbortSignal | undefined,
  task: (part: Part) => Promise<void>,
) => Promise<void>;

/** On its pieces, in no order, as many at once as the OSTs have room for. */
export function eachInWindows({ layout }: FileObjects, windows: TargetWindows): Each<Piece> {
  return ({ offsetBytes, lengthBytes }, signal, task) => {
    if (lengthBytes === 0) return Promise.resolve();
    const first = firstPiece(layout, offsetBytes, lengthBytes, limits.transferBytes);
    if (first.lengthBytes === lengthBytes) {
      const targetIndex = targetsOfObject(layout, first.seq)[0]!;
      return windows.one({ targetIndex, item: first }, signal, task);
    }
    const byPosition = lanes(layout, offsetBytes, lengthBytes, limits.transferBytes);
    const byTarget = Array.from(byPosition, ({ position, pieces: items }) => {
      return { targetIndex: layout.targets[position]![0]!, items };
    });
    return windows.each(byTarget, signal, task);
  };
}

/** {@link eachInWindows}, but on what one write can take of an object. */
export function eachJoinedInWindows(
  { layout }: FileObjects,
  windows: TargetWindows,
): Each<ObjectRange> {
  return ({ offsetBytes, lengthBytes }, signal, task) => {
    if (lengthBytes === 0) return Promise.resolve();
    const first = firstPiece(layout, offsetBytes, lengthBytes, limits.transferBytes);
    if (first.lengthBytes === lengthBytes) {
      const targetIndex = targetsOfObject(layout, first.seq)[0]!;
      const { seq, offsetInObjectBytes } = first;
      const item = { seq, offsetInObjectBytes, lengthBytes, pieces: [first] };
      return windows.one({ targetIndex, item }, signal, task);
    }
    const byPosition = lanes(layout, offsetBytes, lengthBytes, limits.transferBytes);
    const byTarget = Array.from(byPosition, ({ position, pieces: ofLane }) => {
      const items = objectRanges(ofLane, limits.writeBytesMax);
      return { targetIndex: layout.targets[position]![0]!, items };
    });
    return windows.each(byTarget, signal, task);
  };
}

/** For whom there is room already. */
export function eachInOrder({ layout }: FileObjects): Each<Piece> {
  return async ({ offsetBytes, lengthBytes }, _signal, task) => {
    for (const piece of pieces(layout, offsetBytes, lengthBytes, limits.transferBytes)) {
      await task(piece);
    }
  };
}
