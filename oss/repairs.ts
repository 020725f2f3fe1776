// Repairs that this OST runs as the primary of an object: in their turn among the changes of the
// object, a bounded number at a time. What one does is in repair.ts.

import { RustreError } from "../shared/errors.ts";
import { limits } from "../shared/limits.ts";
import type { ObjectId, Target } from "../shared/model.ts";
import { Semaphore } from "../shared/semaphore.ts";
import { wholeBlocks } from "./block_ranges.ts";
import type { ChangeOrder } from "./change_order.ts";
import type { OssContext, OssReply, OssRequest } from "./context.ts";
import { LocalCopy, RemoteCopy } from "./object_copies.ts";
import type { Range } from "./range_locks.ts";
import { repair, type RepairResult } from "./repair.ts";

interface RangeOfObject {
  readonly epoch: number;
  readonly object: ObjectId;
  readonly offsetBytes: number;
  readonly lengthBytes: number;
}

export class Repairs {
  readonly #context: OssContext;
  readonly #order: ChangeOrder;
  readonly #room = new Semaphore(limits.repairsMax);

  constructor(context: OssContext, order: ChangeOrder) {
    this.#context = context;
    this.#order = order;
  }

  async repairObject(request: OssRequest<"repairObject">): Promise<OssReply<"repairObject">> {
    this.#order.check(request.object);
    const { epochs, replication } = this.#context;
    const { up, down } = replication.reachableOf(request, await epochs.mapOf(request.epoch));
    return await this.repair(request, up, down);
  }

  /** Of the copies here and on `replicas`; those on `unreachable` OSTs may be good or not. */
  async repair(
    { epoch, object, offsetBytes, lengthBytes }: RangeOfObject,
    replicas: readonly Target[],
    unreachable: readonly number[],
  ): Promise<RepairResult> {
    const { clock } = this.#context;
    const endMs = clock.monotonicMs() + limits.changeWaitMs;
    await this.#room.acquire();
    try {
      if (clock.monotonicMs() > endMs) {
        const message = `Cannot repair object "${object}": the repairs before it took too long`;
        throw new RustreError("OVERLOADED", message);
      }
      const range = wholeBlocks(offsetBytes, lengthBytes);
      // Nothing behind the range changes either: that would move the end of its last block.
      const locked = { ...range, endBytes: Infinity };
      return await this.#order.inTurn(
        { object, epoch },
        locked,
        (here) => here(() => this.#run({ epoch, object }, range, replicas, unreachable)),
      );
    } finally {
      this.#room.release();
    }
  }

  #run(
    of: { readonly epoch: number; readonly object: ObjectId },
    range: Range,
    replicas: readonly Target[],
    unreachable: readonly number[],
  ): Promise<RepairResult> {
    const { clock, replication, log } = this.#context;
    const endMs = clock.monotonicMs() + limits.forwardTimeoutMs;
    const timeoutMs = () => Math.max(0, endMs - clock.monotonicMs());
    return repair({
      object: of.object,
      range,
      local: new LocalCopy(of.object, this.#context),
      replicas: replicas.map((target) => new RemoteCopy(target, of, replication, timeoutMs)),
      unreachable,
      log,
    });
  }
}
