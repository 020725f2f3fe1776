// A range of a file as pieces, each in one object, and the two ways to run a task on all of them.

import { firstPiece, lanes, type Piece, pieces, targetsOfObject } from "../shared/layout.ts";
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

/** A part of a file whose turn it is to be written. */
export interface PieceToWrite extends FileBytes {
  /** Writes what `contentOf` gives, which is of the piece's length; asked again for each try. */
  write(contentOf: ContentOf): Promise<void>;
}

/** Runs a task on the pieces of a range of a file. */
export type EachPiece = (
  range: FileBytes,
  signal: AbortSignal | undefined,
  task: (piece: Piece) => Promise<void>,
) => Promise<void>;

/** In no order, as many at once as the OSTs have room for. */
export function eachInWindows({ layout }: FileObjects, windows: TargetWindows): EachPiece {
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

/** For whom there is room already. */
export function eachInOrder({ layout }: FileObjects): EachPiece {
  return async ({ offsetBytes, lengthBytes }, _signal, task) => {
    for (const piece of pieces(layout, offsetBytes, lengthBytes, limits.transferBytes)) {
      await task(piece);
    }
  };
}
