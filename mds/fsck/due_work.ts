// Waits for work that is due, and says what nobody did: sessions long over, cuts and garbage whose
// OSTs are all up.

import { targetsOfLayout } from "../../shared/layout.ts";
import { limits } from "../../shared/limits.ts";
import type { Layout } from "../../shared/model.ts";
import { equalBytes } from "../../shared/store/key_range.ts";
import { type KeyRange, type KeyValue, prefixRange } from "../../shared/store/store.ts";
import { readOnly } from "../../shared/store/transact.ts";
import { type CheckContext, inodeIn, pause, valuesOf } from "./reading.ts";
import type { Targets } from "./targets.ts";
import type { DueWork } from "./work_under_way.ts";

const hint = "see in the log of the mds that collects why it does not go on";

/** `wasUp`: whether an OST was up each time that this was asked. */
export async function waitForDueWork(
  context: CheckContext,
  due: DueWork,
  wasUp: (targetIndex: number) => Promise<boolean>,
): Promise<void> {
  const waiting = new Waiting(context, due, wasUp);
  const { clock } = context.environment;
  await waiting.begin();
  const startMs = clock.monotonicMs();
  let progressMs = startMs;
  while (waiting.size > 0 && clock.monotonicMs() < progressMs + limits.checkPatienceMs) {
    // Somebody works on it, and has much to do.
    if (clock.monotonicMs() >= startMs + limits.checkProgressMs) {
      return context.report.addUndecided(waiting.size);
    }
    await pause(context, limits.collectIntervalMs);
    const before = waiting.size;
    await waiting.look();
    if (waiting.size < before) progressMs = clock.monotonicMs();
  }
  await waiting.tell();
}

/** Nobody ever destroys what is on an OST that the cluster does not have. */
export async function checkGarbageTargets(
  { report }: CheckContext,
  targets: Targets,
  { garbage }: DueWork,
): Promise<void> {
  for (const targetIndex of garbage) {
    if (await targets.isKnown(targetIndex)) continue;
    const message = `objects of removed files wait to be destroyed on OST ${targetIndex}, which ` +
      "the cluster does not have";
    await report.add({ kind: "unknown-target", targetIndex, message }, "start that OST");
  }
}

class Waiting {
  readonly #context: CheckContext;
  readonly #wasUp: (targetIndex: number) => Promise<boolean>;
  readonly #sessions: Map<string, Uint8Array>;
  /** Each file to cut with its inode's record as it was first. */
  readonly #cuts = new Map<number, Uint8Array | undefined>();
  readonly #cutRecords: ReadonlyMap<number, Uint8Array>;
  /** For each OST the first of its inodes to destroy: they are destroyed in order. */
  readonly #garbage = new Map<number, number>();
  readonly #targets: ReadonlySet<number>;

  constructor(
    context: CheckContext,
    due: DueWork,
    wasUp: (targetIndex: number) => Promise<boolean>,
  ) {
    this.#context = context;
    this.#wasUp = wasUp;
    this.#sessions = new Map(due.sessions);
    this.#cutRecords = due.cuts;
    this.#targets = due.garbage;
  }

  get size(): number {
    return this.#sessions.size + this.#cuts.size + this.#garbage.size;
  }

  async begin(): Promise<void> {
    const { schema } = this.#context;
    for (const target of this.#targets) {
      const first = await this.#firstGarbage(target);
      if (first !== undefined) this.#garbage.set(target, first);
    }
    for (const ino of this.#cutRecords.keys()) {
      const [value] = await valuesOf(this.#context, [schema.inode(ino)]);
      this.#cuts.set(ino, value);
    }
    await this.look();
  }

  /** Forgets what was done, what somebody began again, and what has to wait for an OST. */
  async look(): Promise<void> {
    const { schema } = this.#context;
    for (const [clientId, before] of this.#sessions) {
      const [value] = await valuesOf(this.#context, [schema.session(clientId)]);
      // A client that lives renews it, whatever the time is where it is written.
      if (!equalBytes(value, before)) this.#sessions.delete(clientId);
    }
    for (const [target, first] of this.#garbage) {
      const now = await this.#firstGarbage(target);
      if (now !== first || !(await this.#wasUp(target))) this.#garbage.delete(target);
    }
    for (const [ino, inode] of this.#cuts) {
      const keys = [schema.truncation(ino), schema.inode(ino)];
      const [cut, inodeNow] = await valuesOf(this.#context, keys);
      const same = equalBytes(cut, this.#cutRecords.get(ino)) && equalBytes(inodeNow, inode);
      const layout = inodeIn(inodeNow)?.layout;
      const mayBeCut = !layout || (await this.#wereUp(layout) && !(await this.#isWritten(ino)));
      if (!same || !mayBeCut) this.#cuts.delete(ino);
    }
  }

  async tell(): Promise<void> {
    const { report } = this.#context;
    for (const clientId of this.#sessions.keys()) {
      const message = `the session of client ${clientId} is over for long, and nobody ends it`;
      await report.add({ kind: "session-outlived", message }, hint);
    }
    for (const [targetIndex, ino] of this.#garbage) {
      const message = `the objects of inode ${ino} and perhaps others wait to be destroyed on ` +
        `OST ${targetIndex}, which is up`;
      await report.add({ kind: "garbage-outlived", targetIndex, ino, message }, hint);
    }
    for (const ino of this.#cuts.keys()) {
      const message = `the objects of inode ${ino} wait to be cut, and all its OSTs are up`;
      await report.add({ kind: "cut-outlived", ino, message }, hint);
    }
  }

  async #wereUp(layout: Layout): Promise<boolean> {
    for (const target of targetsOfLayout(layout)) {
      if (!(await this.#wasUp(target))) return false;
    }
    return true;
  }

  /** Then its cut waits for the last writer. */
  async #isWritten(ino: number): Promise<boolean> {
    return await this.#firstOf(this.#context.schema.writers(ino)) !== undefined;
  }

  async #firstGarbage(targetIndex: number): Promise<number | undefined> {
    const { schema } = this.#context;
    const first = await this.#firstOf(prefixRange(schema.garbageOf(targetIndex).begin));
    return first && schema.inoOf(first.key);
  }

  async #firstOf(range: KeyRange): Promise<KeyValue | undefined> {
    const [first] = await readOnly(
      this.#context,
      (transaction) => transaction.getRange(range, { limit: 1, snapshot: true }),
    );
    return first;
  }
}
