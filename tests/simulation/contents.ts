// What the bytes of each file may be. Every write fills its range with a value of its own, so that a
// byte tells which write it comes from; the question is whether a later one should have replaced it.

/** A write of a range, or with the value 0 a cut: zeros from an offset on. */
export interface ByteWrite {
  readonly value: number;
  readonly beginBytes: number;
  readonly endBytes: number;
  /** When it began, by {@link Contents.now}. */
  readonly begunAt: number;
  /** When its writer went on, with or without success. */
  endedAt: number;
  /** When its writer was told that it is on disk. */
  syncedAt: number;
}

const never = Number.POSITIVE_INFINITY;

export class Contents {
  readonly #writes = new Map<number, ByteWrite[]>();
  /** Cuts of which nobody knows the file, or whether they happened. */
  readonly #uncertainCuts: ByteWrite[] = [];
  /** By file, how many writers have not closed it in good order. */
  readonly #writers = new Map<number, number>();
  #now = 0;
  #lastValue = 0;

  /** Counts events, for what came before what. */
  now(): number {
    return ++this.#now;
  }

  /** A value that no other write has, as long as there are few. */
  newValue(): number {
    this.#lastValue = this.#lastValue % 255 + 1;
    return this.#lastValue;
  }

  beginWrite(ino: number, value: number, beginBytes: number, lengthBytes: number): ByteWrite {
    const endBytes = beginBytes + lengthBytes;
    const write = { value, beginBytes, endBytes, ...this.#beginning() };
    this.#of(ino).push(write);
    return write;
  }

  /** A cut that succeeded is known by its file; others may have happened to any. */
  beginCut(sizeBytes: number): { succeeded: (ino: number) => void } {
    const cut: ByteWrite = {
      value: 0,
      beginBytes: sizeBytes,
      endBytes: never,
      ...this.#beginning(),
    };
    this.#uncertainCuts.push(cut);
    const succeeded = (ino: number) => {
      this.#uncertainCuts.splice(this.#uncertainCuts.indexOf(cut), 1);
      cut.endedAt = cut.syncedAt = this.now();
      this.#of(ino).push(cut);
    };
    return { succeeded };
  }

  /** Somebody is going to write; to be called when he has closed the file in good order. */
  beginWriter(ino: number): () => void {
    this.#writers.set(ino, (this.#writers.get(ino) ?? 0) + 1);
    return () => void this.#writers.set(ino, this.#writers.get(ino)! - 1);
  }

  /** Whether a writer failed or was killed: what it was writing then is on some replicas or on none. */
  isTroubled(ino: number): boolean {
    return (this.#writers.get(ino) ?? 0) > 0;
  }

  /** Says what is wrong with bytes that were read by whoever opened the file at `openedAt`. */
  check(ino: number, bytes: Uint8Array, openedAt: number): string | undefined {
    const writes = [...this.#of(ino), ...this.#uncertainCuts];
    const bounds = new Set([0, bytes.length]);
    for (const { beginBytes, endBytes } of writes) {
      if (beginBytes < bytes.length) bounds.add(beginBytes);
      if (endBytes < bytes.length) bounds.add(endBytes);
    }
    const sorted = [...bounds].sort((a, b) => a - b);
    for (let index = 0; index + 1 < sorted.length; index++) {
      const [begin, end] = [sorted[index]!, sorted[index + 1]!];
      const covering = writes.filter((each) => each.beginBytes <= begin && each.endBytes >= end);
      let last: number | undefined;
      for (const value of bytes.subarray(begin, end)) {
        if (value === last) continue;
        last = value;
        if (mayRead(value, covering, openedAt)) continue;
        const range = `bytes ${begin} to ${end} of inode ${ino}`;
        return `a read opened at ${openedAt} found ${value} in ${range}, written by ` +
          JSON.stringify(covering);
      }
    }
    return undefined;
  }

  #beginning(): { begunAt: number; endedAt: number; syncedAt: number } {
    return { begunAt: this.now(), endedAt: never, syncedAt: never };
  }

  #of(ino: number): ByteWrite[] {
    let writes = this.#writes.get(ino);
    if (!writes) this.#writes.set(ino, writes = []);
    return writes;
  }
}

/** Whether a write of the value, or that nothing was written, is not out of date. */
function mayRead(value: number, writes: readonly ByteWrite[], openedAt: number): boolean {
  const synced = writes.filter((each) => each.syncedAt < openedAt);
  const isOver = (endedAt: number) => synced.some((each) => each.begunAt > endedAt);
  if (value === 0 && !isOver(0)) return true;
  const written = writes.filter((each) => each.value === value);
  return written.some((each) => !isOver(each.endedAt));
}
