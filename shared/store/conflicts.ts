// What was written lately, and by which version: the memory against which reads are checked. It
// reaches back to the oldest transaction that is still reading and to the oldest version that is
// not durable yet, and never further than limits.transactionMs of commits.

import { assert } from "../assert.ts";
import { limits } from "../limits.ts";
import { contains, overlaps } from "./key_range.ts";
import type { Key, KeyRange } from "./store.ts";

/** Counts commits. A transaction that reads at version v sees exactly the commits 1 to v. */
export type Version = number;

/** A transaction that has read. */
export interface Reader {
  readonly readVersion: Version;
  readonly begunMs: number;
  /** Its neighbours in the list of {@link RecentCommits}, which alone uses these. */
  older?: Reader | undefined;
  newer?: Reader | undefined;
  isListed?: boolean;
}

interface RecentCommit {
  readonly version: Version;
  readonly keys: readonly Key[];
  readonly ranges: readonly KeyRange[];
}

/** How many forgotten entries may stay at the head of the list before it is cut. */
const forgottenMax = 1024;

export class RecentCommits {
  #version: Version = 0;
  #durableVersion: Version = 0;
  /** Oldest first, from #head on. */
  #commits: RecentCommit[] = [];
  #head = 0;
  /** The last of the recent commits that wrote each key. */
  readonly #lastWrite = new Map<Key, Version>();
  /** How many of the recent commits wrote ranges; mostly none. */
  #commitsWithRanges = 0;
  /**
   * The ends of the list of readers in the order of their read versions: whoever begins to read reads
   * the newest. A Set would do the same, but one with an insertion and a deletion for each
   * transaction keeps the garbage collector busy.
   */
  #oldestReader: Reader | undefined;
  #newestReader: Reader | undefined;

  get version(): Version {
    return this.#version;
  }

  get durableVersion(): Version {
    return this.#durableVersion;
  }

  /** For tests and metrics: how many commits are remembered. */
  get size(): number {
    return this.#commits.length - this.#head;
  }

  /** `reader` reads at the newest version from now on, and what comes later is remembered. */
  addReader(reader: Reader): void {
    assert(reader.readVersion === this.#version, "a reader must begin at the newest version");
    this.removeReader(reader);
    reader.isListed = true;
    reader.older = this.#newestReader;
    if (this.#newestReader) this.#newestReader.newer = reader;
    else this.#oldestReader = reader;
    this.#newestReader = reader;
  }

  removeReader(reader: Reader): void {
    if (!reader.isListed) return;
    const { older, newer } = reader;
    if (older) older.newer = newer;
    else this.#oldestReader = newer;
    if (newer) newer.older = older;
    else this.#newestReader = older;
    reader.older = reader.newer = undefined;
    reader.isListed = false;
  }

  /** Takes note of a commit that wrote `keys` and `ranges`, and gives it the next version. */
  record(keys: readonly Key[], ranges: readonly KeyRange[]): Version {
    const version = ++this.#version;
    this.#commits.push({ version, keys, ranges });
    for (const key of keys) this.#lastWrite.set(key, version);
    if (ranges.length > 0) this.#commitsWithRanges++;
    return version;
  }

  /** Takes back what was recorded after `version`: it was not committed after all. */
  revertTo(version: Version): void {
    assert(version >= this.#durableVersion, "a durable commit cannot be taken back");
    while ((this.#commits.at(-1)?.version ?? 0) > version) this.#commits.pop();
    this.#version = version;
    this.#lastWrite.clear();
    this.#commitsWithRanges = 0;
    for (const { version, keys, ranges } of this.#commits.slice(this.#head)) {
      for (const key of keys) this.#lastWrite.set(key, version);
      if (ranges.length > 0) this.#commitsWithRanges++;
    }
  }

  /** Everything up to `version` is on disk. */
  setDurable(version: Version): void {
    assert(version >= this.#durableVersion, "durability never goes back");
    this.#durableVersion = version;
  }

  /** The last commit after `after` that wrote `key`; `after` when there is none. */
  lastWriteOf(key: Key, after: Version): Version {
    const version = Math.max(this.#lastWrite.get(key) ?? 0, after);
    if (this.#commitsWithRanges === 0) return version;
    return this.#lastCommit(version, (commit) => {
      return commit.ranges.some((range) => contains(range, key));
    });
  }

  /** The last commit after `after` that wrote in `range`; `after` when there is none. */
  lastWriteIn(range: KeyRange, after: Version): Version {
    return this.#lastCommit(after, (commit) => {
      return commit.ranges.some((written) => overlaps(written, range)) ||
        commit.keys.some((key) => contains(range, key));
    });
  }

  /**
   * Forgets what nobody can ask for any more. A reader over limits.transactionMs is not waited
   * for: its reads and its commit are refused as too old.
   */
  trim(nowMs: number): void {
    let oldest = this.#durableVersion;
    for (let reader = this.#oldestReader; reader; reader = this.#oldestReader) {
      if (nowMs - reader.begunMs <= limits.transactionMs) {
        oldest = Math.min(oldest, reader.readVersion);
        break;
      }
      this.removeReader(reader);
    }
    while (this.#head < this.#commits.length && this.#commits[this.#head]!.version <= oldest) {
      this.#forget(this.#commits[this.#head]!);
      this.#head++;
    }
    if (this.#head === this.#commits.length || this.#head > forgottenMax) {
      this.#commits = this.#commits.slice(this.#head);
      this.#head = 0;
    }
  }

  #forget(commit: RecentCommit): void {
    for (const key of commit.keys) {
      if (this.#lastWrite.get(key) === commit.version) this.#lastWrite.delete(key);
    }
    if (commit.ranges.length > 0) this.#commitsWithRanges--;
  }

  #lastCommit(after: Version, matches: (commit: RecentCommit) => boolean): Version {
    for (let index = this.#commits.length - 1; index >= this.#head; index--) {
      const commit = this.#commits[index]!;
      if (commit.version <= after) return after;
      if (matches(commit)) return commit.version;
    }
    return after;
  }
}
