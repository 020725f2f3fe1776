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
export function eachInWindows(objects: FileObjects, windows: TargetWindows): Each<Piece> {
  return eachPartInWindows(objects, windows, (ofLane) => ofLane);
}

/** {@link eachInWindows}, but on what one write can take of an object. */
export function eachJoinedInWindows(
  objects: FileObjects,
  windows: TargetWindows,
): Each<ObjectRange> {
  const join = (ofLane: Iterable<Piece>) => objectRanges(ofLane, limits.writeBytesMax);
  return eachPartInWindows(objects, windows, join);
}

function eachPartInWindows<Part extends { readonly lengthBytes: number }>(
  { layout }: FileObjects,
  windows: TargetWindows,
  partsOfLane: (pieces: Iterable<Piece>) => Iterable<Part>,
): Each<Part> {
  return ({ offsetBytes, lengthBytes }, signal, task) => {
    if (lengthBytes === 0) return Promise.resolve();
    const first = firstPiece(layout, offsetBytes, lengthBytes, limits.transferBytes);
    // Most files are one piece, which need not be dealt to lanes.
    if (first.lengthBytes === lengthBytes) {
      const targetIndex = targetsOfObject(layout, first.seq)[0]!;
      const [item] = partsOfLane([first]);
      return windows.one({ targetIndex, item: item! }, signal, task);
    }
    const byPosition = lanes(layout, offsetBytes, lengthBytes, limits.transferBytes);
    const byTarget = Array.from(byPosition, ({ position, pieces: ofLane }) => {
      return { targetIndex: layout.targets[position]![0]!, items: partsOfLane(ofLane) };
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
