// Carries out what operations leave behind: ends the sessions of silent clients, cuts the objects of
// files that were truncated or not committed to their end, destroys the objects of removed ones. One
// mds does it at a time, under a lease; all it does may be done twice. What belongs to an OST that is
// down waits for it, and no kind of work waits for another.

import type { ClusterMap } from "../shared/model.ts";
import { endpointOfTarget, isUp } from "../shared/cluster_map.ts";
import { sleep } from "../shared/environment.ts";
import { isRustreError, messageOf, RustreError } from "../shared/errors.ts";
import { limits } from "../shared/limits.ts";
import { ossService } from "../shared/protocol/oss.ts";
import { workerOf } from "../shared/rpc/worker_routes.ts";
import type { ReplyOf, RequestOf } from "../shared/rpc/service.ts";
import type { Lease } from "../shared/store/lease.ts";
import { type Key, keyAfter, type KeyRange, type KeyValue } from "../shared/store/store.ts";
import type { Peers } from "../shared/workers/peers.ts";
import { Periodic } from "../shared/periodic.ts";
import { readOnly, transact } from "../shared/store/transact.ts";
import type { MdsContext } from "./context.ts";
import { type CallTarget, ObjectCuts, upTarget } from "./object_cuts.ts";
import { decodeInode, decodeNumber, endUnknown, type Inode } from "./values.ts";
import { endExpiredSessions, SessionWatch } from "./sessions.ts";

export class Collector implements AsyncDisposable {
  readonly #context: MdsContext;
  readonly #lease: Lease;
  readonly #peers: Peers | undefined;
  readonly #stop = new AbortController();
  #running: Promise<void> | undefined;
  #leaseRenewal: Periodic | undefined;
  #wake: (() => void) | undefined;
  #kicked = false;
  #cutsKicked = false;
  /** One of each kind at a time. */
  readonly #underWay = new Map<string, Promise<void>>();
  /** On the monotonic clock, from when on what is done once in each interval is due. */
  #scanDueMs = 0;
  /** While this mds holds the lease without a gap. */
  #tenure: Tenure | undefined;

  /** `peers`: where one of them may have the lease. */
  constructor(context: MdsContext, lease: Lease, peers?: Peers) {
    this.#context = context;
    this.#lease = lease;
    this.#peers = peers;
    peers?.on("garbage", ({ cuts }) => this.#noteGarbage(cuts));
  }

  start(): void {
    const { clock } = this.#context.environment;
    this.#leaseRenewal ??= new Periodic({
      clock,
      intervalMs: limits.leaseWatchMs,
      task: () => this.#keepLease(),
    });
    this.#running ??= this.#run();
  }

  /** There is garbage to destroy, or with `cuts` something to cut: do not wait for the interval. */
  kick({ cuts = false }: { cuts?: boolean } = {}): void {
    if (!this.#lease.isHeld()) return this.#peers?.tell("garbage", { cuts });
    this.#noteGarbage(cuts);
  }

  #noteGarbage(cuts: boolean): void {
    this.#kicked = true;
    this.#cutsKicked ||= cuts;
    this.#wake?.();
  }

  async close(): Promise<void> {
    this.#stop.abort();
    this.#wake?.();
    await this.#leaseRenewal?.close();
    await this.#running;
    try {
      await this.#lease.release();
    } catch (error) {
      // Another mds waits for the lease's end instead.
      this.#context.log.debug("Cannot give back the collector's lease", {
        reason: messageOf(error),
      });
    }
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #run(): Promise<void> {
    const { clock } = this.#context.environment;
    while (!this.#stop.signal.aborted) {
      this.#kicked = false;
      const scanIsDue = clock.monotonicMs() >= this.#scanDueMs;
      if (scanIsDue) this.#scanDueMs = clock.monotonicMs() + limits.collectIntervalMs;
      if (this.#tenure && this.#lease.isHeld()) this.#startRound(this.#tenure, scanIsDue);
      await this.#pause();
    }
    await Promise.all(this.#underWay.values());
  }

  /** Until the next scan is due, a kick, or the stop. */
  async #pause(): Promise<void> {
    if (this.#kicked || this.#stop.signal.aborted) return;
    const { clock } = this.#context.environment;
    const wake = new AbortController();
    this.#wake = () => wake.abort();
    try {
      await sleep(clock, Math.max(0, this.#scanDueMs - clock.monotonicMs()), wake.signal);
    } catch {
      // Woken: that is the purpose.
    }
    this.#wake = undefined;
  }

  async #keepLease(): Promise<void> {
    const { log } = this.#context;
    // A process that slept, as with its whole host, has held nothing meanwhile.
    if (!this.#lease.isHeld()) this.#tenure = undefined;
    try {
      const held = await this.#lease.keep();
      this.#tenure = held ? this.#tenure ?? newTenure() : undefined;
    } catch (error) {
      if (!isRustreError(error)) throw error;
      if (!this.#lease.isHeld()) this.#tenure = undefined;
      log.warn("Cannot renew the collector's lease", { reason: error.message });
    }
  }

  /**
   * What costs a scan of all sessions or truncations is done once in each interval, however much
   * garbage there is; and truncations when there is a new one, for its file waits for it.
   */
  #startRound(tenure: Tenure, scanIsDue: boolean): void {
    if (scanIsDue) {
      this.#startUnlessUnderWay(
        "expiry",
        () => endExpiredSessions(this.#context, tenure.sessions),
      );
    }
    const map = this.#context.maps.current;
    if (!map) return;
    if (scanIsDue || this.#cutsKicked) {
      this.#cutsKicked = false;
      this.#startUnlessUnderWay("cuts", () => this.#cutTruncated(tenure));
    }
    for (const { index } of map.targets.filter(isUp)) {
      this.#startUnlessUnderWay(`garbage of OST ${index}`, () => this.#destroyGarbage(map, index));
    }
  }

  /** One that is still under way is tried again by the next round. */
  #startUnlessUnderWay(kind: string, task: () => Promise<void>): void {
    if (this.#underWay.has(kind)) return;
    const running = this.#tryTask(kind, task).finally(() => this.#underWay.delete(kind));
    this.#underWay.set(kind, running);
  }

  async #tryTask(kind: string, task: () => Promise<void>): Promise<void> {
    try {
      await task();
    } catch (error) {
      if (!isRustreError(error)) throw error;
      const { log } = this.#context;
      log.warn("Cannot collect: will try again", { kind, reason: error.message });
    }
  }

  /** Whether a task of several steps takes the next one. */
  get #mayGoOn(): boolean {
    return !this.#stop.signal.aborted && this.#tenure !== undefined;
  }

  // ── truncations ──────────────────────────────────────────────────────────────────────────────

  /** Every one is tried in each interval: those that wait for an OST are in nobody's way. */
  async #cutTruncated(tenure: Tenure): Promise<void> {
    const { schema } = this.#context;
    const left = new Set<number>();
    let { begin, end } = schema.truncations();
    for (let more = true; more && this.#mayGoOn;) {
      const { rows, due } = await this.#truncationsPage({ begin, end });
      if (due.length > 0) await this.#fence(tenure, due);
      for (const truncation of due) {
        if (!this.#mayGoOn) return;
        if (!await this.#cutOne(tenure, truncation)) left.add(truncation.ino);
      }
      const last = rows.at(-1);
      if (last) begin = keyAfter(last.key);
      more = rows.length === limits.collectBatch;
    }
    tenure.fencedCuts = tenure.fencedCuts.intersection(left);
  }

  /**
   * Some records, and those of files that nobody has open for writing. These stay so: nobody opens
   * one before its record has gone.
   */
  #truncationsPage(range: KeyRange): Promise<{ rows: KeyValue[]; due: Truncation[] }> {
    const { schema } = this.#context;
    return readOnly(this.#context, async (transaction) => {
      const options = { limit: limits.collectBatch, snapshot: true };
      const rows = await transaction.getRange(range, options);
      const writers = await Promise.all(
        rows.map(({ key }) =>
          transaction.getRange(schema.writers(schema.inoOf(key)), { limit: 1 })
        ),
      );
      const due = rows.filter((_, at) => writers[at]!.length === 0).map(({ key, value }) => {
        return { ino: schema.inoOf(key), beforeBytes: decodeNumber(value) };
      });
      return { rows, due };
    });
  }

  /**
   * A cut that the last collector has sent, and that arrives when the file has grown again, would cut
   * off what was written since. So what this one sends goes by an epoch that is newer than all of
   * the last one's, and newer than the end of any session, whose late writes would uncover the cut.
   * Where a writer did not know what became of his writes, it is newer than these too.
   */
  async #fence(tenure: Tenure, due: readonly Truncation[]): Promise<void> {
    const { maps } = this.#context;
    const unknown = due.filter(({ beforeBytes }) => beforeBytes === endUnknown);
    const isFenced = tenure.isFenced && unknown.every(({ ino }) => tenure.fencedCuts.has(ino));
    if (isFenced) return void await maps.refresh(this.#stop.signal);
    await maps.raiseEpoch(this.#stop.signal);
    tenure.isFenced = true;
    for (const { ino } of unknown) tenure.fencedCuts.add(ino);
  }

  /** Whether there is nothing left to cut. */
  async #cutOne(tenure: Tenure, { ino, beforeBytes }: Truncation): Promise<boolean> {
    const { schema, log, maps } = this.#context;
    const value = await readOnly(
      this.#context,
      (transaction) => transaction.get(schema.inode(ino)),
    );
    const inode = value && decodeInode(value);
    // The map as it is now: cuts before this one may have taken long.
    const map = maps.current;
    if (!map) return false;
    try {
      if (inode) await this.#cutObjects(map, inode, beforeBytes);
    } catch (error) {
      if (!isRustreError(error)) throw error;
      log.debug("Cannot cut a file yet", { ino, reason: error.message });
      return false;
    }
    // Without the record, others may write it and leave another one.
    tenure.fencedCuts.delete(ino);
    return await transact(this.#context, async (transaction) => {
      await this.#lease.requireHeld(transaction);
      const now = await transaction.get(schema.truncation(ino));
      const inodeNow = await transaction.get(schema.inode(ino));
      // A further cut came in meanwhile: the next round carries it out.
      const same = !inodeNow || decodeInode(inodeNow).dataEndBytes === inode?.dataEndBytes;
      if (now && same) transaction.delete(schema.truncation(ino));
      return same;
    });
  }

  async #cutObjects(map: ClusterMap, inode: Inode, beforeBytes: number): Promise<void> {
    const { layout } = inode;
    if (!layout) return;
    const call: CallTarget = (...how) => this.#callTarget(...how);
    const cuts = new ObjectCuts(call, map, { ...inode, layout });
    if (beforeBytes === endUnknown) await cuts.cutAll();
    else await cuts.cutFrom(beforeBytes);
  }

  // ── garbage ──────────────────────────────────────────────────────────────────────────────────

  async #destroyGarbage(map: ClusterMap, index: number): Promise<void> {
    const { schema, log } = this.#context;
    let { begin, end } = schema.garbageOf(index);
    while (this.#mayGoOn) {
      const { keys, closed } = await this.#garbagePage({ begin, end });
      const last = keys.at(-1);
      if (last === undefined) return;
      // What is open stays for a later round, and is in nobody's way.
      if (closed.length < keys.length) begin = keyAfter(last);
      if (closed.length === 0) continue;
      try {
        await this.#destroyInodes(map, index, closed.map((key) => schema.inoOf(key)));
      } catch (error) {
        if (!isRustreError(error)) throw error;
        log.info("Cannot destroy objects yet", { ost: index, reason: error.message });
        return;
      }
      await transact(this.#context, async (transaction) => {
        await this.#lease.requireHeld(transaction);
        for (const key of closed) transaction.delete(key);
      });
    }
  }

  /**
   * Some garbage of an OST, and what of it nobody has open for writing: an OST that is restarted
   * forgets what it destroyed, and a writer would make the objects again. Nobody opens it any more.
   */
  #garbagePage(range: KeyRange): Promise<{ keys: Key[]; closed: Key[] }> {
    const { schema } = this.#context;
    return readOnly(this.#context, async (transaction) => {
      const options = { limit: limits.collectBatch, snapshot: true };
      const keys = (await transaction.getRange(range, options)).map(({ key }) => key);
      const writers = await Promise.all(keys.map((key) => {
        const ofInode = schema.writers(schema.inoOf(key));
        return transaction.getRange(ofInode, { limit: 1, snapshot: true });
      }));
      return { keys, closed: keys.filter((_, at) => writers[at]!.length === 0) };
    });
  }

  /** Each worker of an oss destroys the objects that it has. */
  async #destroyInodes(map: ClusterMap, index: number, inodes: readonly number[]): Promise<void> {
    const endpoint = endpointOfTarget(upTarget(map, index));
    const { signal } = this.#stop;
    const workers = await this.#context.rpc.workerCount(endpoint, { signal });
    const shares = Map.groupBy(inodes, (ino) => workerOf(ino, workers));
    await Promise.all(
      Array.from(
        shares.values(),
        (share) => this.#callTarget(map, index, "destroyInodes", { inodes: share }),
      ),
    );
  }

  async #callTarget<Name extends "resizeObject" | "syncObjects" | "listInode" | "destroyInodes">(
    map: ClusterMap,
    index: number,
    name: Name,
    request: RequestOf<typeof ossService, Name>,
  ): Promise<ReplyOf<typeof ossService, Name>> {
    // Whoever took the lease over has perhaps done this, and the file has grown again since.
    if (!this.#lease.isHeld()) {
      throw new RustreError("LEASE_LOST", "Cannot go on collecting: the lease is over");
    }
    const endpoint = endpointOfTarget(upTarget(map, index));
    const { signal } = this.#stop;
    return await this.#context.rpc.call(endpoint, ossService, name, request, { signal });
  }
}

/** One time without a gap in which a collector holds the lease. */
interface Tenure {
  /** Of a new collector it has seen nothing: while no mds ran, no client could renew. */
  readonly sessions: SessionWatch;
  /** Whether the OSTs that it talks to refuse what earlier collectors have sent. */
  isFenced: boolean;
  /** Files of which nobody knows how far to cut, and that are fenced since their last writer left. */
  fencedCuts: Set<number>;
}

/** A record of objects that are still to be cut. */
interface Truncation {
  readonly ino: number;
  readonly beforeBytes: number;
}

function newTenure(): Tenure {
  return { sessions: new SessionWatch(), isFenced: false, fencedCuts: new Set() };
}
