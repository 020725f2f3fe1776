// Which bytes of a file were written, as disjoint ranges: to know whether holes are left between.

interface Range {
  begin: number;
  end: number;
}

/** More ranges than this are not worth remembering; everything then counts as possibly unwritten. */
const rangesMax = 1024;

export class WrittenRanges {
  /** Disjoint, not touching, ascending. `undefined`: too many to tell. */
  #ranges: Range[] | undefined = [];

  add(begin: number, end: number): void {
    const ranges = this.#ranges;
    if (!ranges || begin >= end) return;
    const first = ranges.findIndex((range) => range.end >= begin);
    if (first < 0) {
      ranges.push({ begin, end });
    } else {
      let last = first;
      while (last < ranges.length && ranges[last]!.begin <= end) last++;
      const merged = { begin, end };
      for (const range of ranges.slice(first, last)) {
        merged.begin = Math.min(merged.begin, range.begin);
        merged.end = Math.max(merged.end, range.end);
      }
      ranges.splice(first, last - first, merged);
    }
    if (ranges.length > rangesMax) this.#ranges = undefined;
  }

  /** Whether every byte from `begin` to `end` is known to be written. */
  covers(begin: number, end: number): boolean {
    if (begin >= end) return true;
    return this.#ranges?.some((range) => range.begin <= begin && range.end >= end) ?? false;
  }
}
