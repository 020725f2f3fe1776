// Writes that come to this OST: as the primary, which orders them and takes them to the replicas, or
// as a replica, for which the primary has done that.

import { blockBytes, decodeChecksums, partCount } from "../shared/checksums.ts";
import { isRustreError, RustreError } from "../shared/errors.ts";
import { limits } from "../shared/limits.ts";
import type { Target } from "../shared/model.ts";
import type { Call } from "../shared/rpc/service.ts";
import { wholeBlocks } from "./block_ranges.ts";
import type { ChangeOrder } from "./change_order.ts";
import { requireExisting } from "./existing_bytes.ts";
import type { OssContext, OssReply, OssRequest } from "./context.ts";
import type { Repairs } from "./repairs.ts";

type WriteRequest = OssRequest<"writeObject">;

interface Write {
  readonly request: WriteRequest;
  readonly payload: Uint8Array;
  readonly checksums: Uint32Array;
  readonly replicas: readonly Target[];
  readonly unreadMs: number;
}

/** Runs a step that changes the object on this OST. */
type Here = <Result>(step: () => Promise<Result>) => Promise<Result>;

export class Writes {
  readonly #context: OssContext;
  readonly #order: ChangeOrder;
  readonly #repairs: Repairs;

  constructor(context: OssContext, order: ChangeOrder, repairs: Repairs) {
    this.#context = context;
    this.#order = order;
    this.#repairs = repairs;
  }

  async writeObject(
    request: WriteRequest,
    { payload, unreadMs }: Pick<Call, "payload" | "unreadMs">,
  ): Promise<OssReply<"writeObject">> {
    checkRange(request, payload);
    const checksums = checksumsOf(request, payload);
    const { replication, epochs } = this.#context;
    const replicas = replication.replicasOf(request, await epochs.mapOf(request.epoch));
    const write = { request, payload, checksums, replicas, unreadMs };
    try {
      return await this.#inTurn(write);
    } catch (error) {
      if (!isRustreError(error, "DATA_CORRUPT") || replicas.length === 0) throw error;
      if (!await this.#repairEdges(write)) throw error;
    }
    return await this.#inTurn(write);
  }

  /**
   * The range stays locked until the last replica has answered: what touches the same block, which
   * has one checksum, is then written in the same order everywhere.
   */
  async #inTurn(write: Write): Promise<OssReply<"writeObject">> {
    const { request, payload, unreadMs } = write;
    const range = wholeBlocks(request.offsetBytes, payload.length);
    const verifiers = await this.#order.inTurn({ ...request, unreadMs }, range, (here) => {
      return this.#writeAndForward(write, here);
    });
    return { verifiers };
  }

  /**
   * The replicas get the bytes from memory, while they are written here: the object's file has them
   * later, and where large writes go past the system's cache it would have to be read from disk.
   */
  #writeAndForward(write: Write, here: Here): Promise<[string, ...string[]]> {
    const { request, payload, replicas } = write;
    const { replication } = this.#context;
    return all([
      here(async () => {
        await this.#writeHere(write);
        return await this.#syncHere(request);
      }),
      ...replicas.map((replica) => replication.forward(replica, request, payload)),
    ]);
  }

  async #writeHere({ request, payload, checksums }: Write): Promise<void> {
    const { object, offsetBytes, existingBytes = 0 } = request;
    const { objects, damaged } = this.#context;
    await requireExisting(objects, object, Math.min(offsetBytes, existingBytes));
    try {
      await objects.write(object, offsetBytes, payload, checksums);
    } catch (error) {
      if (isRustreError(error, "DATA_CORRUPT")) {
        await damaged.lookInto(objects, object, offsetBytes, payload.length);
      }
      throw error;
    }
    damaged.written(object, offsetBytes, payload.length);
  }

  async #syncHere({ object, sync }: WriteRequest): Promise<string> {
    const { objects } = this.#context;
    if (sync) await objects.sync([object]);
    return objects.writeVerifier;
  }

  /**
   * Blocks of which only a part is written have to be right on every replica. Tells whether they
   * are now.
   */
  async #repairEdges({ request, payload, replicas }: Write): Promise<boolean> {
    const { offsetBytes } = request;
    const endBytes = offsetBytes + payload.length;
    const edges = new Set(
      [offsetBytes, endBytes].filter((edge) => edge % blockBytes !== 0)
        .map((edge) => edge - edge % blockBytes),
    );
    for (const edge of edges) {
      const block = { ...request, offsetBytes: edge, lengthBytes: blockBytes };
      const { lostBlocks } = await this.#repairs.repair(block, replicas, []);
      if (lostBlocks > 0) return false;
    }
    return true;
  }
}

function checkRange({ object, offsetBytes }: WriteRequest, payload: Uint8Array): void {
  const endBytes = offsetBytes + payload.length;
  if (payload.length === 0) {
    throw new RustreError("BAD_REQUEST", `Cannot write object "${object}": no bytes were sent`);
  }
  if (endBytes > limits.fileBytesMax) {
    const message = `Cannot write object "${object}": it would end at ${endBytes}, over the limit`;
    throw new RustreError("EFBIG", message);
  }
}

function checksumsOf(
  { object, offsetBytes, checksums }: WriteRequest,
  payload: Uint8Array,
): Uint32Array {
  const parts = partCount(offsetBytes, payload.length);
  const decoded = decodeChecksums(checksums, parts);
  if (decoded) return decoded;
  const reason = `${checksums.length} bytes are not the checksums of its ${parts} parts`;
  throw new RustreError("BAD_REQUEST", `Cannot write object "${object}": ${reason}`);
}

/** Waits for all of them, also where one fails; then throws the first failure. */
async function all<T>(steps: [Promise<T>, ...Promise<T>[]]): Promise<[T, ...T[]]> {
  await Promise.allSettled(steps);
  const [first, ...others] = steps;
  return [await first, ...await Promise.all(others)];
}
