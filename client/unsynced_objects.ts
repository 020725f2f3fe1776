// What was written to one file and is not known to be on disk: which objects, on which OSTs, and the
// verifiers that the OSTs answered with. An OST that has another verifier by now may have lost it.

import { isRustreError, type RustreError } from "../shared/errors.ts";

/** An OST that has taken a write, and the verifier that it answered with. */
export interface WriteAnswer {
  readonly targetIndex: number;
  readonly verifier: string;
}

/** Objects that one OST took writes to under one verifier, by their numbers in the file. */
export interface UnsyncedGroup extends WriteAnswer {
  readonly seqs: ReadonlySet<number>;
}

type SyncGroup = (group: UnsyncedGroup) => Promise<void>;

export class UnsyncedObjects {
  /** By OST and verifier: an OST that was restarted has one of before, which it will refuse. */
  readonly #groups = new Map<string, WriteAnswer & { readonly seqs: Set<number> }>();
  /** What an OST has lost stays lost, whatever else is synced later. */
  #lost: RustreError | undefined;

  /** To be called when a write has been answered: a sync before that may come first on the OST. */
  add(seq: number, answers: readonly WriteAnswer[]): void {
    for (const { targetIndex, verifier } of answers) {
      const key = `${targetIndex}/${verifier}`;
      const group = this.#groups.get(key);
      if (group) group.seqs.add(seq);
      else this.#groups.set(key, { targetIndex, verifier, seqs: new Set([seq]) });
    }
  }

  /**
   * Runs `syncGroup` for all that was added so far, but not for objects from `endSeq` on. What was
   * added meanwhile, and what failed, is left for the next time. Once writes were lost, every sync
   * fails with what the first one failed with.
   */
  async sync(endSeq: number, syncGroup: SyncGroup): Promise<void> {
    if (this.#lost) throw this.#lost;
    const groups = this.#take(endSeq);
    const outcomes = await Promise.allSettled(groups.map((group) => this.#try(group, syncGroup)));
    const failed = outcomes.find((outcome) => outcome.status === "rejected");
    if (failed) throw this.#lost ?? failed.reason;
  }

  #take(endSeq: number): UnsyncedGroup[] {
    const taken: UnsyncedGroup[] = [];
    for (const [key, { targetIndex, verifier, seqs: all }] of this.#groups) {
      const seqs = new Set([...all].filter((seq) => seq < endSeq));
      for (const seq of seqs) all.delete(seq);
      if (all.size === 0) this.#groups.delete(key);
      if (seqs.size > 0) taken.push({ targetIndex, verifier, seqs });
    }
    return taken;
  }

  async #try(
    group: UnsyncedGroup,
    syncGroup: SyncGroup,
  ): Promise<void> {
    try {
      await syncGroup(group);
    } catch (error) {
      // After EIO nobody knows what the disk has, and a restarted OST has forgotten that it failed.
      if (isRustreError(error, "WRITES_LOST", "EIO")) this.#lost ??= error;
      for (const seq of group.seqs) this.add(seq, [group]);
      throw error;
    }
  }
}
