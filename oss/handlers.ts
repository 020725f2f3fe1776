// The oss's table of contents: one short function for each message. Who may do what when is decided
// here and in change_order.ts; how bytes are kept is object_store.ts's.

import { encodeChecksums } from "../shared/checksums.ts";
import { isRustreError, RustreError } from "../shared/errors.ts";
import { objectId, parseObjectId } from "../shared/layout.ts";
import { limits } from "../shared/limits.ts";
import type { ObjectId } from "../shared/model.ts";
import type { ossService } from "../shared/protocol/oss.ts";
import type { Call, Download, Handlers } from "../shared/rpc/service.ts";
import { ChangeOrder, inodeOf } from "./change_order.ts";
import type { OssContext, OssReply, OssRequest } from "./context.ts";
import { requireExisting } from "./existing_bytes.ts";
import { missingObject } from "./object_store.ts";
import { wholeObject } from "./range_locks.ts";
import { Repairs } from "./repairs.ts";
import { Scrubber } from "./scrub.ts";
import { Writes } from "./writes.ts";

export function ossHandlers(context: OssContext): Handlers<typeof ossService> {
  const oss = new Oss(context);
  return {
    probe: (request) => Promise.resolve(context.registration.probed(request)),
    writeObject: (request, call) => oss.writes.writeObject(request, call),
    readObject: (request) => oss.readObject(request),
    resizeObject: (request, call) => oss.resizeObject(request, call),
    syncObjects: (request) => oss.syncObjects(request),
    statObject: (request) => oss.statObject(request),
    destroyInodes: (request) => oss.destroyInodes(request),
    repairObject: (request) => oss.repairs.repairObject(request),
    scrubObjects: (request) => oss.scrubber.scrub(request),
    listObjects: (request) => oss.listObjects(request),
    listInode: (request) => oss.listInode(request),
    statObjects: (request) => oss.statObjects(request),
  };
}

class Oss {
  readonly writes: Writes;
  readonly repairs: Repairs;
  readonly scrubber: Scrubber;
  readonly #context: OssContext;
  readonly #order: ChangeOrder;

  constructor(context: OssContext) {
    this.#context = context;
    this.#order = new ChangeOrder(context);
    this.repairs = new Repairs(context, this.#order);
    this.writes = new Writes(context, this.#order, this.repairs);
    this.scrubber = new Scrubber(context);
  }

  async readObject(
    { epoch, object, offsetBytes, lengthBytes, verified }: OssRequest<"readObject">,
  ): Promise<Download<OssReply<"readObject">>> {
    this.#order.check(object);
    const { objects, damaged, epochs } = this.#context;
    await epochs.mapOf(epoch);
    try {
      const data = await objects.read(object, offsetBytes, lengthBytes, { verified });
      const reply = { checksums: encodeChecksums(data.checksums) };
      return { reply, payload: data.payload, release: () => data.release() };
    } catch (error) {
      // It names the first block that is damaged; there may be more.
      if (isRustreError(error, "DATA_CORRUPT")) {
        await damaged.lookInto(objects, object, offsetBytes, lengthBytes);
      }
      throw error;
    }
  }

  async resizeObject(
    request: OssRequest<"resizeObject">,
    { unreadMs }: Call,
  ): Promise<OssReply<"resizeObject">> {
    const { object, lengthBytes, extend, epoch, existingBytes = 0 } = request;
    const { objects, damaged, epochs } = this.#context;
    await epochs.mapOf(epoch);
    await this.#order.inTurn(
      { ...request, unreadMs },
      wholeObject,
      (here) =>
        here(async () => {
          if (extend) await requireExisting(objects, object, Math.min(lengthBytes, existingBytes));
          await objects.resize(object, lengthBytes, extend ? "extend" : "cut");
        }),
    );
    if (!extend) damaged.cut(object, lengthBytes);
    return { verifier: objects.writeVerifier };
  }

  async syncObjects({ epoch, objects, verifier }: OssRequest<"syncObjects">) {
    for (const object of objects) this.#order.check(object);
    await this.#context.epochs.mapOf(epoch);
    this.#requireKept(verifier);
    await this.#context.objects.sync(objects);
    return {};
  }

  /** Throws WRITES_LOST where what was answered with `verifier` may be gone: no sync brings it back. */
  #requireKept(verifier: string): void {
    const { objects, targetIndex } = this.#context;
    if (verifier === objects.writeVerifier) return;
    throw new RustreError(
      "WRITES_LOST",
      `Cannot sync objects: OST ${targetIndex} was restarted and may have lost what was not on ` +
        "its disk; write it again",
    );
  }

  async statObject({ object }: OssRequest<"statObject">): Promise<OssReply<"statObject">> {
    this.#order.check(object);
    const { objects, targetIndex } = this.#context;
    const lengthBytes = await objects.stat(object);
    if (lengthBytes === undefined) throw missingObject("stat", { object, targetIndex });
    return { lengthBytes };
  }

  async listObjects({ after, limit }: OssRequest<"listObjects">) {
    if (after !== undefined) inodeOf(after);
    return { objects: await this.#context.objects.list(after, limit) };
  }

  async listInode({ epoch, object }: OssRequest<"listInode">) {
    this.#order.check(object);
    const { ino, seq } = parseObjectId(object);
    await this.#context.epochs.mapOf(epoch);
    await this.#order.settled(ino);
    const after = seq === 0 ? undefined : objectId(ino, seq - 1);
    return { objects: await this.#context.objects.list(after, limits.objectsPerListMax, ino) };
  }

  async statObjects({ objects }: OssRequest<"statObjects">) {
    for (const object of objects) inodeOf(object);
    const lengthsBytes: (number | null)[] = [];
    for (const object of objects) lengthsBytes.push(await this.#lengthOf(object));
    return { lengthsBytes };
  }

  /** Null where nobody can read the object: it does not exist, or the disk has failed it. */
  async #lengthOf(object: ObjectId): Promise<number | null> {
    try {
      return await this.#context.objects.stat(object) ?? null;
    } catch (error) {
      if (isRustreError(error, "EIO")) return null;
      throw error;
    }
  }

  async destroyInodes({ inodes }: OssRequest<"destroyInodes">) {
    const { objects, damaged } = this.#context;
    const count = await this.#order.destroy(inodes, () => objects.destroy(inodes));
    damaged.destroyed(inodes);
    return { objects: count };
  }
}
