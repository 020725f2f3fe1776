// Commits and pending creates of several files in one transaction: each has the effect and the answer
// that it would have alone, for a fraction of the price.

import { assert } from "../../shared/assert.ts";
import { isRustreError, messageOf, RustreError } from "../../shared/errors.ts";
import { limits } from "../../shared/limits.ts";
import type { Caller } from "../../shared/model.ts";
import type { mdsService, NewInode, Place } from "../../shared/protocol/mds.ts";
import type { ReplyOf } from "../../shared/rpc/service.ts";
import type {
  GetOptions,
  Key,
  KeyRange,
  KeyValue,
  RangeOptions,
  Transaction,
} from "../../shared/store/store.ts";
import type { MdsRequest, Mutation, ReadOperation } from "../context.ts";
import { walkToDirectory } from "../inodes.ts";
import type { Inode } from "../values.ts";
import { commitPending, createPending } from "./create.ts";

type Reply = ReplyOf<typeof mdsService, "batch">;
type Failure = { readonly error: { readonly code: number; readonly message: string } };

/** One after the other, so that each sees what those before it have done. `inos`: for each create. */
export async function batch(
  mutation: Mutation,
  request: MdsRequest<"batch">,
  inos: readonly number[],
): Promise<Reply> {
  const { caller, commits, creates } = request;
  if (mutation.context.store.isRemote) await readAhead(mutation, request, inos);
  const room = new ReplyRoom();
  const committed: Reply["committed"] = [];
  for (const commit of commits) {
    const outcome = await attempt(mutation, (each) => commitPending(each, { caller, ...commit }));
    committed.push(outcome instanceof RustreError ? room.failureOf(outcome) : {});
  }
  const created: Reply["created"] = [];
  const places = new WalkedPlaces(caller);
  for (const [index, create] of creates.entries()) {
    const outcome = await attempt(mutation, async (each) => {
      room.requireRoom();
      const directory = await places.walked(each, create.directory);
      return await createPending(each, { caller, ...create, directory }, inos[index]!);
    });
    const isRefused = outcome instanceof RustreError;
    created.push(
      isRefused ? room.failureOf(refusalOf(outcome)) : { inode: room.inodeOf(outcome) },
    );
  }
  return { timeNs: mutation.nowNs, committed, created };
}

/** Asks for all that the operations will read, at once; what they do is dropped. */
async function readAhead(
  mutation: Mutation,
  { caller, commits, creates }: MdsRequest<"batch">,
  inos: readonly number[],
): Promise<void> {
  const transaction = new OperationTransaction(mutation.transaction, { keepsWrites: false });
  const trial = { ...mutation, transaction, noteGarbage: () => {}, noteCut: () => {} };
  // What fails, fails again when its turn comes.
  await Promise.allSettled([
    ...commits.map((commit) => commitPending(trial, { caller, ...commit })),
    ...creates.map((create, index) => createPending(trial, { caller, ...create }, inos[index]!)),
  ]);
}

/** Whether an error of a create may be due to an old cluster map. */
export function mayBeOfOldMap(error: unknown): error is RustreError {
  return isRustreError(error, "EINVAL", "NOT_ENOUGH_TARGETS");
}

/**
 * Only the newest map tells for good, and the others are not to wait for an mgs: who is refused so
 * tries it alone.
 */
function refusalOf(error: RustreError): RustreError {
  return mayBeOfOldMap(error) ? new RustreError("STALE_MAP", error.message) : error;
}

/** The error where the operation alone has failed. Others fail all of the batch, and are thrown. */
async function attempt(
  mutation: Mutation,
  operation: (mutation: Mutation) => Promise<Inode>,
): Promise<Inode | RustreError> {
  const transaction = new OperationTransaction(mutation.transaction, { keepsWrites: true });
  try {
    return await operation({ ...mutation, transaction });
  } catch (error) {
    const failure = failureOf(mutation, error);
    // What it wrote would be committed with what the others wrote.
    assert(!transaction.wrote, "an operation of a batch has written before it failed");
    return failure;
  }
}

/** Throws what is not of one operation: that the store cannot be read, or a transaction not go on. */
function failureOf({ context }: Mutation, error: unknown): RustreError {
  if (!isRustreError(error)) {
    // As an entry without an inode. Alone it would be in nobody's way.
    context.log.error("A file of a batch met a bug", { error });
    return new RustreError("INTERNAL", `The server has a bug: ${messageOf(error)}`);
  }
  if (error.number < 1000 || isRustreError(error, ...ownCodes)) return error;
  throw error;
}

/** Beside those that are named after an errno. */
const ownCodes = ["NOT_ENOUGH_TARGETS", "OVERLOADED", "STORE_FORMAT"] as const;

/** Many files of a batch are in few directories, and no directory moves while the batch runs. */
class WalkedPlaces {
  readonly #caller: Caller;
  readonly #known = new Map<string, Place>();

  constructor(caller: Caller) {
    this.#caller = caller;
  }

  /** The place of the directory itself. */
  async walked(operation: ReadOperation, place: Place): Promise<Place> {
    if (place.path === "") return place;
    const key = `${place.ino}/${place.path}`;
    const known = this.#known.get(key);
    if (known) return known;
    const { ino } = await walkToDirectory(operation, this.#caller, place);
    const walked = { ino, path: "" };
    this.#known.set(key, walked);
    return walked;
  }
}

/** Answers of a batch are one value in the store: how much of it is left, counted generously. */
class ReplyRoom {
  #leftBytes: number = limits.batchReplyBytesMax;

  /** What is refused so goes into another batch. */
  requireRoom(): void {
    if (this.#leftBytes > 0) return;
    throw new RustreError("OVERLOADED", "the reply of the batch has no room for it");
  }

  failureOf({ number, message }: RustreError): Failure {
    const shown = message.slice(0, failureMessageMax).toWellFormed();
    this.#leftBytes -= 32 + 3 * shown.length;
    return { error: { code: number, message: shown } };
  }

  inodeOf({ ino, gid, mode, layout }: Inode): NewInode {
    assert(layout, "a file without a layout");
    this.#leftBytes -= 128;
    for (const replicas of layout.targets) this.#leftBytes -= 3 + 3 * replicas.length;
    return { ino, gid, mode, layout };
  }
}

/** In UTF-16 units. */
const failureMessageMax = 256;

/** The transaction as one of several operations in it has it. */
class OperationTransaction implements Transaction {
  readonly #transaction: Transaction;
  readonly #keepsWrites: boolean;
  /** Whether the operation has written anything. */
  wrote = false;

  constructor(transaction: Transaction, { keepsWrites }: { keepsWrites: boolean }) {
    this.#transaction = transaction;
    this.#keepsWrites = keepsWrites;
  }

  get(key: Key, options?: GetOptions): Promise<Uint8Array | undefined> {
    return this.#transaction.get(key, options);
  }

  getRange(range: KeyRange, options: RangeOptions): Promise<KeyValue[]> {
    return this.#transaction.getRange(range, options);
  }

  addReadConflictRange(range: KeyRange): void {
    this.#transaction.addReadConflictRange(range);
  }

  set(key: Key, value: Uint8Array): void {
    this.#write()?.set(key, value);
  }

  delete(key: Key): void {
    this.#write()?.delete(key);
  }

  deleteRange(range: KeyRange): void {
    this.#write()?.deleteRange(range);
  }

  add(key: Key, delta: bigint): void {
    this.#write()?.add(key, delta);
  }

  addWriteConflictRange(range: KeyRange): void {
    this.#write()?.addWriteConflictRange(range);
  }

  #write(): Transaction | undefined {
    this.wrote = true;
    return this.#keepsWrites ? this.#transaction : undefined;
  }
}
