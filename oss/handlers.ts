// The oss's table of contents: one short function for each message. Who may do what when is decided
// here; how bytes are kept is object_store.ts's.

import type { Clock } from "../shared/environment.ts";
import { RustreError } from "../shared/errors.ts";
import { parseObjectId } from "../shared/layout.ts";
import { limits } from "../shared/limits.ts";
import type { ObjectId } from "../shared/model.ts";
import type { Registration } from "../shared/registration.ts";
import type { ossService } from "../shared/rpc/protocol.ts";
import type { Call, Handlers, ReplyOf, RequestOf } from "../shared/rpc/service.ts";
import { DestroyedInodes } from "./destroyed_inodes.ts";
import type { Epochs } from "./epochs.ts";
import { missingObject, type ObjectStore } from "./object_store.ts";
import { type Range, RangeLocks, wholeObject } from "./range_locks.ts";
import type { Replication } from "./replication.ts";

export interface OssContext {
  readonly clock: Clock;
  readonly targetIndex: number;
  readonly objects: ObjectStore;
  readonly epochs: Epochs;
  readonly replication: Replication;
  readonly registration: Registration;
}

type Request<Name extends keyof typeof ossService["methods"]> = RequestOf<typeof ossService, Name>;
type Reply<Name extends keyof typeof ossService["methods"]> = ReplyOf<typeof ossService, Name>;

export function ossHandlers(context: OssContext): Handlers<typeof ossService> {
  const oss = new Oss(context);
  return {
    probe: (request) => Promise.resolve(context.registration.probed(request)),
    writeObject: (request, call) => oss.writeObject(request, call),
    readObject: (request) => oss.readObject(request),
    resizeObject: (request) => oss.resizeObject(request),
    syncObjects: (request) => oss.syncObjects(request),
    statObject: (request) => oss.statObject(request),
    destroyInodes: (request) => oss.destroyInodes(request),
  };
}

class Oss {
  readonly #context: OssContext;
  readonly #locks = new RangeLocks();
  readonly #destroyed = new DestroyedInodes();

  constructor(context: OssContext) {
    this.#context = context;
  }

  /**
   * The range stays locked until the last replica has answered: what overlaps is then written in
   * the same order everywhere.
   */
  async writeObject(
    request: Request<"writeObject">,
    { payload }: Call,
  ): Promise<Reply<"writeObject">> {
    const { replication, epochs } = this.#context;
    const range = rangeOf(request, payload);
    const replicas = replication.replicasOf(request, await epochs.mapOf(request.epoch));
    const verifiers = await this.#inTurn(request, range, (ino) =>
      all([
        this.#writeHere(ino, request, payload),
        ...replicas.map((replica) => replication.forward(replica, request, payload)),
      ]));
    return { verifiers };
  }

  #writeHere(ino: number, request: Request<"writeObject">, payload: Uint8Array): Promise<string> {
    const { objects } = this.#context;
    return this.#destroyed.change(ino, async () => {
      await objects.write(request.object, request.offsetBytes, payload);
      if (request.sync) await objects.sync([request.object]);
      return objects.writeVerifier;
    });
  }

  async readObject({ epoch, object, offsetBytes, lengthBytes }: Request<"readObject">) {
    this.#destroyed.check(inodeOf(object));
    await this.#context.epochs.mapOf(epoch);
    const payload = await this.#context.objects.read(object, offsetBytes, lengthBytes);
    return { reply: {}, payload };
  }

  async resizeObject(request: Request<"resizeObject">) {
    const { objects, epochs } = this.#context;
    await epochs.mapOf(request.epoch);
    const how = request.extend ? "extend" : "cut";
    await this.#inTurn(request, wholeObject, (ino) =>
      this.#destroyed.change(
        ino,
        () => objects.resize(request.object, request.lengthBytes, how),
      ));
    return { verifier: objects.writeVerifier };
  }

  async syncObjects({ epoch, objects, verifier }: Request<"syncObjects">) {
    for (const object of objects) this.#destroyed.check(inodeOf(object));
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

  async statObject({ object }: Request<"statObject">) {
    this.#destroyed.check(inodeOf(object));
    const { objects, targetIndex } = this.#context;
    const lengthBytes = await objects.stat(object);
    if (lengthBytes === undefined) throw missingObject("stat", { object, targetIndex });
    return { lengthBytes };
  }

  async destroyInodes({ inodes }: Request<"destroyInodes">) {
    const destroy = () => this.#context.objects.destroy(inodes);
    return { objects: await this.#destroyed.destroy(inodes, destroy) };
  }

  /**
   * Runs a change when those before it that overlap are done, if it may still run then. One that
   * waited for long is refused: its sender has given up, has perhaps sent it again and written
   * something newer since.
   */
  #inTurn<T>(
    { object, epoch }: { object: ObjectId; epoch: number },
    range: Range,
    change: (ino: number) => Promise<T>,
  ): Promise<T> {
    const { clock, epochs } = this.#context;
    const ino = inodeOf(object);
    this.#destroyed.check(ino);
    const endMs = clock.monotonicMs() + limits.changeWaitMs;
    return this.#locks.run(object, range, () => {
      if (clock.monotonicMs() > endMs) {
        const message = `Cannot change object "${object}": the changes before it took too long`;
        throw new RustreError("OVERLOADED", message);
      }
      epochs.check(epoch);
      this.#destroyed.check(ino);
      return change(ino);
    });
  }
}

/** The inode of an object id from the wire. */
function inodeOf(object: ObjectId): number {
  try {
    return parseObjectId(object).ino;
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    const message = `Cannot use object "${object}": no inode has that number`;
    throw new RustreError("BAD_REQUEST", message, { cause: error });
  }
}

function rangeOf({ object, offsetBytes }: Request<"writeObject">, payload: Uint8Array): Range {
  const endBytes = offsetBytes + payload.length;
  if (payload.length === 0) {
    throw new RustreError("BAD_REQUEST", `Cannot write object "${object}": no bytes were sent`);
  }
  if (endBytes > limits.fileBytesMax) {
    const message = `Cannot write object "${object}": it would end at ${endBytes}, over the limit`;
    throw new RustreError("EFBIG", message);
  }
  return { startBytes: offsetBytes, endBytes };
}

/** Waits for all of them, also where one fails; then throws the first failure. */
async function all<T>(steps: [Promise<T>, ...Promise<T>[]]): Promise<[T, ...T[]]> {
  await Promise.allSettled(steps);
  const [first, ...others] = steps;
  return [await first, ...await Promise.all(others)];
}
