// What a check finds, and what becomes of it: each finding is said once, after it was confirmed, and
// repaired where that is asked for and safe.

import { isRustreError, messageOf } from "../../shared/errors.ts";
import type { ObjectId } from "../../shared/model.ts";

/** The invariants of docs/architecture.md, by how they can be broken. */
const findingKinds = [
  // A record by itself.
  "unreadable-record",
  "unknown-record",
  "bad-inode",
  "number-not-handed-out",
  "number-used-twice",
  // Names and links.
  "entry-without-inode",
  "entry-of-another-type",
  "entry-in-no-directory",
  "record-of-no-directory",
  "wrong-parent",
  "wrong-links",
  "unnamed-inode",
  "directory-loop",
  "wrong-subdirectory-count",
  "wrong-inode-count",
  // Work under way.
  "left-by-no-session",
  "half-a-writer",
  "garbage-of-a-file",
  "session-outlived",
  "cut-outlived",
  "garbage-outlived",
  // Objects.
  "unknown-target",
  "missing-object",
  "short-object",
  "long-object",
  "orphan-object",
  "astray-object",
  "wrong-usage",
] as const;

export type FindingKind = typeof findingKinds[number];

export interface Finding {
  readonly kind: FindingKind;
  /** What is wrong, as a sentence. */
  readonly message: string;
  readonly ino?: number;
  readonly targetIndex?: number;
  readonly object?: ObjectId;
}

/** "found": nothing was to be repaired. "unrepaired": `reason` says why not. */
export type FindingOutcome = "found" | "repaired" | "unrepaired";

export interface ReportedFinding extends Finding {
  readonly outcome: FindingOutcome;
  readonly reason?: string;
}

/**
 * One transaction that checks again what was found, and repairs it: whether it did. Where the
 * condition does not hold any more, it was somebody's work under way, and there is no finding.
 */
export type Repair = () => Promise<boolean>;

export interface ReportOptions {
  /** Whether what can be repaired safely is. */
  readonly repair: boolean;
  readonly onFinding?: ((finding: ReportedFinding) => void | Promise<void>) | undefined;
}

export class Report {
  readonly #options: ReportOptions;
  readonly #counts: Record<FindingOutcome, number> = { found: 0, repaired: 0, unrepaired: 0 };
  #undecided = 0;
  #uncompared = 0;

  constructor(options: ReportOptions) {
    this.#options = options;
  }

  get counts(): Readonly<Record<FindingOutcome, number>> {
    return { ...this.#counts };
  }

  /** What changed each time that it was looked at. */
  get undecided(): number {
    return this.#undecided;
  }

  addUndecided(count: number): void {
    this.#undecided += count;
  }

  /** Counters of so much that it cannot be counted at one moment, while they changed. */
  get uncompared(): number {
    return this.#uncompared;
  }

  addUncompared(): void {
    this.#uncompared++;
  }

  /** `repair`: how, or why not. */
  async add(finding: Finding, repair: Repair | string): Promise<void> {
    const end = await this.#tryRepair(repair);
    if (!end) return;
    this.#counts[end.outcome]++;
    await this.#options.onFinding?.({ ...finding, ...end });
  }

  async #tryRepair(
    repair: Repair | string,
  ): Promise<{ outcome: FindingOutcome; reason?: string } | undefined> {
    if (!this.#options.repair) return { outcome: "found" };
    if (typeof repair === "string") return { outcome: "unrepaired", reason: repair };
    try {
      return await repair() ? { outcome: "repaired" } : undefined;
    } catch (error) {
      if (!isRustreError(error) || error.code === "INTERRUPTED") throw error;
      return { outcome: "unrepaired", reason: messageOf(error) };
    }
  }
}
