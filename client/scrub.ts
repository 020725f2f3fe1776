// Scrubbing a cluster: has its OSTs check every object against its checksums, and has what is
// damaged repaired from other replicas. The OSTs do the reading; this only asks them, one request
// at a time each, and goes on where one of them fails.

import { endpointOfTarget, targetOf } from "../shared/cluster_map.ts";
import { isRustreError, type RustreError } from "../shared/errors.ts";
import { parseObjectId, targetsOfObject } from "../shared/layout.ts";
import { limits } from "../shared/limits.ts";
import type { Caller, Layout, ObjectId, Target } from "../shared/model.ts";
import { ossService, type ScrubPlace } from "../shared/protocol/oss.ts";
import type { ReplyOf } from "../shared/rpc/service.ts";
import { Semaphore } from "../shared/semaphore.ts";
import type { MetadataClient } from "./metadata_client.ts";
import { type ObjectClientParts, requireUp } from "./object_parts.ts";
import { tryOperation } from "./operation.ts";
import { TaskGroup } from "./transfer/task_group.ts";

export interface ScrubOptions {
  /** All OSTs of the cluster by default. */
  readonly targets?: readonly number[] | undefined;
  /** Whether damage is repaired; otherwise it is only found. True by default. */
  readonly repair?: boolean | undefined;
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: (progress: ScrubProgress) => void;
  /** What is damaged, as it is found. */
  readonly onFinding?: (finding: ScrubFinding) => void | Promise<void>;
  /** An OST that could not be checked to its end. */
  readonly onFailure?: (targetIndex: number, error: RustreError) => void;
}

export interface ScrubProgress {
  /** What the OSTs said that they have before it began; they may have more or less by now. */
  readonly expectedObjects: number;
  readonly expectedBytes: number;
  readonly objects: number;
  readonly bytes: number;
}

/**
 * What has become of a damaged range. "repaired": all replicas are right. "lost": some of its blocks
 * are good nowhere. "gone": no file has it any more, and it will be deleted. "failed": it could not
 * be repaired for now. "damaged": it was not to be repaired.
 */
export type ScrubOutcome = "repaired" | "lost" | "gone" | "failed" | "damaged";

export interface ScrubFinding {
  readonly object: ObjectId;
  readonly ino: number;
  readonly targetIndex: number;
  readonly offsetBytes: number;
  readonly lengthBytes: number;
  readonly outcome: ScrubOutcome;
  /** Why it failed. */
  readonly reason?: string;
}

export interface ScrubSummary {
  readonly objects: number;
  readonly bytes: number;
  /** Findings by what has become of them. */
  readonly findings: Readonly<Record<ScrubOutcome, number>>;
  /** OSTs that could not be checked to their end. */
  readonly failedTargets: readonly number[];
}

export interface ScrubParts extends ObjectClientParts {
  readonly metadata: MetadataClient;
}

type Damaged = ReplyOf<typeof ossService, "scrubObjects">["damaged"][number];

/** Layouts are read whoever may read the files. */
const root: Caller = { uid: 0, gid: 0, groups: [] };

export async function scrub(parts: ScrubParts, options: ScrubOptions = {}): Promise<ScrubSummary> {
  const map = await parts.maps.refresh(options.signal);
  const targets = options.targets?.map((index) => targetOf(map, index)) ?? map.targets;
  const run = new ScrubRun(parts, options, targets);
  await using tasks = new TaskGroup(new Semaphore(limits.scrubTargetsInFlight), options.signal);
  for (const target of targets) await tasks.start(() => run.scrubTarget(target));
  await tasks.done();
  return run.summary();
}

class ScrubRun {
  readonly #parts: ScrubParts;
  readonly #options: ScrubOptions;
  readonly #expected: { readonly expectedObjects: number; readonly expectedBytes: number };
  #objects = 0;
  #bytes = 0;
  readonly #findings = { repaired: 0, lost: 0, gone: 0, failed: 0, damaged: 0 };
  readonly #failedTargets: number[] = [];

  constructor(parts: ScrubParts, options: ScrubOptions, targets: readonly Target[]) {
    this.#parts = parts;
    this.#options = options;
    const sum = (field: "objects" | "usedBytes") =>
      targets.reduce((total, { usage }) => total + usage[field], 0);
    this.#expected = { expectedObjects: sum("objects"), expectedBytes: sum("usedBytes") };
  }

  summary(): ScrubSummary {
    const failedTargets = this.#failedTargets.toSorted((a, b) => a - b);
    const findings = { ...this.#findings };
    return { objects: this.#objects, bytes: this.#bytes, findings, failedTargets };
  }

  async scrubTarget(target: Target): Promise<void> {
    const { rpc } = this.#parts;
    const { signal } = this.#options;
    try {
      // One that is known to be down is not waited for, as others are that go down meanwhile.
      const workers = await rpc.workerCount(endpointOfTarget(requireUp(target)), { signal });
      for (let worker = 0; worker < workers; worker++) {
        await this.#scrubWorker(target.index, worker);
      }
    } catch (error) {
      if (!isRustreError(error) || signal?.aborted) throw error;
      this.#failedTargets.push(target.index);
      this.#options.onFailure?.(target.index, error);
    }
  }

  /** All objects that one worker of an OST has. */
  async #scrubWorker(targetIndex: number, worker: number): Promise<void> {
    let from: ScrubPlace | undefined;
    do {
      const { objects, bytes, damaged, next } = await this.#ask(targetIndex, worker, from);
      this.#objects += objects;
      this.#bytes += bytes;
      for (const range of damaged) await this.#report(targetIndex, range);
      this.#options.onProgress?.({
        ...this.#expected,
        objects: this.#objects,
        bytes: this.#bytes,
      });
      from = next;
    } while (from);
  }

  #ask(targetIndex: number, worker: number, from: ScrubPlace | undefined) {
    const { signal } = this.#options;
    const request = { ...(from ? { from } : {}), bytesMax: limits.scrubBytesMax };
    return tryOperation(this.#parts, signal, ({ map, timeoutMs }) => {
      const endpoint = endpointOfTarget(requireUp(targetOf(map, targetIndex)));
      const call = { signal, timeoutMs, worker };
      return this.#parts.rpc.call(endpoint, ossService, "scrubObjects", request, call);
    });
  }

  async #report(targetIndex: number, { object, offsetBytes, lengthBytes }: Damaged): Promise<void> {
    const { ino } = parseObjectId(object);
    const end = await this.#outcomeOf(targetIndex, { object, offsetBytes, lengthBytes });
    this.#findings[end.outcome]++;
    const finding = { object, ino, targetIndex, offsetBytes, lengthBytes, ...end };
    await this.#options.onFinding?.(finding);
  }

  async #outcomeOf(
    targetIndex: number,
    damaged: Damaged,
  ): Promise<{ outcome: ScrubOutcome; reason?: string }> {
    try {
      const targets = await this.#targetsOf(damaged.object);
      if (!targets?.includes(targetIndex)) return { outcome: "gone" };
      if (this.#options.repair === false) return { outcome: "damaged" };
      return { outcome: await this.#repair(targets, damaged) };
    } catch (error) {
      if (!isRustreError(error) || this.#options.signal?.aborted) throw error;
      if (error.code === "OBJECT_GONE") return { outcome: "gone" };
      return { outcome: "failed", reason: error.message };
    }
  }

  /** The OSTs of an object, the primary first; `undefined` where its file is gone. */
  async #targetsOf(object: ObjectId): Promise<readonly number[] | undefined> {
    const { ino, seq } = parseObjectId(object);
    const layout = await this.#layoutOf(ino);
    return layout && targetsOfObject(layout, seq);
  }

  async #layoutOf(ino: number): Promise<Layout | undefined> {
    const request = { caller: root, place: { ino, path: "" }, follow: false, access: 0 };
    try {
      const { attributes } = await this.#parts.metadata.call("stat", request, this.#options.signal);
      return attributes.layout;
    } catch (error) {
      if (isRustreError(error, "ENOENT")) return undefined;
      throw error;
    }
  }

  async #repair(
    [primary, ...replicas]: readonly number[],
    { object, offsetBytes, lengthBytes }: Damaged,
  ): Promise<ScrubOutcome> {
    const endBytes = offsetBytes + lengthBytes;
    const { signal } = this.#options;
    let lostBlocks = 0;
    for (let start = offsetBytes; start < endBytes; start += limits.framePayloadBytesMax) {
      const length = Math.min(limits.framePayloadBytesMax, endBytes - start);
      const range = { object, offsetBytes: start, lengthBytes: length, replicas };
      const reply = await tryOperation(this.#parts, signal, ({ map, timeoutMs }) => {
        const endpoint = endpointOfTarget(requireUp(targetOf(map, primary!)));
        const request = { epoch: map.epoch, ...range };
        const call = { signal, timeoutMs };
        return this.#parts.rpc.call(endpoint, ossService, "repairObject", request, call);
      });
      lostBlocks += reply.lostBlocks;
    }
    return lostBlocks > 0 ? "lost" : "repaired";
  }
}
