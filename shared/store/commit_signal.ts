// How the processes that have one SQLite file open tell each other that they committed, for less
// than it costs to ask SQLite: a small file beside it that each overwrites after its commits. Who
// finds it as it was when it took its snapshot knows that nothing was acknowledged since.

import { closeSync, constants, openSync, readSync, writeSync } from "node:fs";

const signalBytes = 16;

export class CommitSignal {
  readonly #file: number;
  readonly #seen = new Uint8Array(signalBytes);
  readonly #found = new Uint8Array(signalBytes);
  readonly #mine = new Uint8Array(signalBytes);
  readonly #mineView = new DataView(this.#mine.buffer);
  #raised = 0;

  /** `handle` is a number that no other user of the file has, now or before. */
  constructor(path: string, handle: number) {
    this.#file = openSync(path, constants.O_RDWR | constants.O_CREAT, 0o644);
    this.#mineView.setFloat64(0, handle);
  }

  /** After a commit, before it is acknowledged. No signal is ever the same as another. */
  raise(): void {
    this.#mineView.setFloat64(8, ++this.#raised);
    writeSync(this.#file, this.#mine, 0, signalBytes, 0);
  }

  /**
   * Whether it was raised since the last call, by anyone. The snapshot must be taken after the
   * call: a commit that comes in between is seen, and its signal only makes for one more snapshot.
   */
  wasRaised(): boolean {
    let differs = readSync(this.#file, this.#found, 0, signalBytes, 0) < signalBytes;
    for (let index = 0; index < signalBytes; index++) {
      if (this.#found[index] === this.#seen[index]) continue;
      this.#seen[index] = this.#found[index]!;
      differs = true;
    }
    return differs;
  }

  close(): void {
    closeSync(this.#file);
  }
}
