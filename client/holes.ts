// Keeps what every reader relies on: below the end of a file's data every object has its full
// length, so that a missing byte is a lost one. Where writes left holes, objects are extended.

import { type ResizedObject, resizedObjects, targetsOfObject } from "../shared/layout.ts";
import type { ObjectClient } from "./object_client.ts";
import type { FileObjects } from "./object_parts.ts";
import type { UnsyncedObjects } from "./unsynced_objects.ts";
import { WrittenRanges } from "./written_ranges.ts";

/** Objects that are looked at together: a hole may be as long as the longest file. */
const batchLength = 1024;

export interface HolesOptions {
  readonly objects: ObjectClient;
  readonly file: FileObjects;
  readonly unsynced: UnsyncedObjects;
  readonly dataEndBytes: number;
}

export class Holes {
  readonly #options: HolesOptions;
  /** Below it every object has its full length; above it only what {@link #written} knows. */
  #filledEndBytes: number;
  #written = new WrittenRanges();

  constructor(options: HolesOptions) {
    this.#options = options;
    this.#filledEndBytes = options.dataEndBytes;
  }

  wrote(beginBytes: number, endBytes: number): void {
    this.#written.add(beginBytes, endBytes);
  }

  /** Whether no object is too short for a reader of this range. */
  areFilled(beginBytes: number, endBytes: number): boolean {
    return this.#written.covers(Math.max(beginBytes, this.#filledEndBytes), endBytes);
  }

  /** Other writers have filled what they committed. */
  filledBelow(endBytes: number): void {
    this.#filledEndBytes = Math.max(this.#filledEndBytes, endBytes);
  }

  /** Makes every object as long as it has to be where the data ends at `endBytes`. */
  async fill(endBytes: number, signal: AbortSignal | undefined): Promise<void> {
    if (!this.areFilled(0, endBytes)) {
      const { layout } = this.#options.file;
      const growing = resizedObjects(layout, this.#filledEndBytes, endBytes);
      for (;;) {
        const batch = take(growing, batchLength);
        if (batch.length === 0) break;
        await this.#extend(batch, signal);
      }
      this.#written = new WrittenRanges();
    }
    this.filledBelow(endBytes);
  }

  async #extend(
    growing: readonly ResizedObject[],
    signal: AbortSignal | undefined,
  ): Promise<void> {
    const { objects, file, unsynced } = this.#options;
    const items = growing.map((object) => ({ ...object, lengthBytes: 0 }));
    const byTarget = Map.groupBy(items, ({ seq }) => targetsOfObject(file.layout, seq)[0]!);
    const byLane = Array.from(byTarget, ([targetIndex, items]) => ({ targetIndex, items }));
    await objects.writeWindows.each(byLane, signal, async ({ seq, higherLengthBytes }) => {
      const answers = await objects.extend(file, seq, higherLengthBytes, signal);
      unsynced.add(seq, answers);
    });
  }
}

function take<T>(from: Iterator<T>, count: number): T[] {
  const taken: T[] = [];
  while (taken.length < count) {
    const next = from.next();
    if (next.done) break;
    taken.push(next.value);
  }
  return taken;
}
