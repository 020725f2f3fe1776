// Makes new files for less: creates and commits that are asked for while others are under way at the
// mds go there together, in one message and one transaction. Nobody waits when nothing is under way.

import { interrupted } from "../shared/deadline.ts";
import type { Clock } from "../shared/environment.ts";
import { codeOfNumber, isRustreError, RustreError } from "../shared/errors.ts";
import { limits } from "../shared/limits.ts";
import type { Attributes, Caller } from "../shared/model.ts";
import type { mdsService, NewInode } from "../shared/protocol/mds.ts";
import type { ReplyOf, RequestOf } from "../shared/rpc/service.ts";
import type { MutationId } from "./session.ts";

type Service = typeof mdsService;
type Own<Name extends "create" | "commit" | "batch"> = Omit<
  RequestOf<Service, Name>,
  keyof MutationId
>;
type BatchReply = ReplyOf<Service, "batch">;
export type NewFile = Omit<Own<"create">, "caller" | "pending">;
export type WholeFile = Omit<Own<"commit">, "caller">;

/** The mutations as metadata_client.ts sends them, each with all its tries. */
export interface FileMutations {
  create(request: Own<"create">, signal: AbortSignal | undefined): Promise<Attributes>;
  commit(request: Own<"commit">, signal: AbortSignal | undefined): Promise<Attributes>;
  batch(request: Own<"batch">, signal: AbortSignal): Promise<BatchReply>;
}

interface Waiting {
  /** What it adds to the body of a request, at most. */
  readonly bytes: number;
  readonly create?: NewFile;
  readonly commit?: WholeFile;
  readonly signal: AbortSignal | undefined;
  /** The mds has answered for it. */
  readonly succeed: (timeNs: bigint, inode: NewInode | undefined) => void;
  readonly fail: (error: unknown) => void;
  /** Sends it in a message of its own. */
  readonly sendAlone: () => Promise<void>;
  /** Nobody waits for it any more. */
  hasLeft: boolean;
  /** Stops the batch that it is in, once all of that have left. */
  onLeft: () => void;
}

/** What one caller asks for: a message is of one, and nobody waits for another's. */
interface CallerQueue {
  readonly caller: Caller;
  readonly key: string;
  waiting: Waiting[];
  /** Messages that are waited for. */
  underWay: number;
}

export class FileBatches {
  readonly #clock: Clock;
  readonly #mutations: FileMutations;
  readonly #closed = new AbortController();
  /** Those in which something waits or is under way, by {@link keyOf}. */
  readonly #queues = new Map<string, CallerQueue>();

  constructor(clock: Clock, mutations: FileMutations) {
    this.#clock = clock;
    this.#mutations = mutations;
  }

  /** A pending create, and what it made. */
  create(
    caller: Caller,
    create: NewFile,
    signal: AbortSignal | undefined,
  ): Promise<Attributes> {
    const bytes = 256 + 3 * (create.directory.path.length + create.name.length);
    return this.#enqueue(caller, signal, (resolve) => ({
      bytes,
      create,
      succeed: (timeNs, inode) => {
        if (!inode) throw new RustreError("BAD_FRAME", "The answer to a create has no inode");
        resolve(newFileAttributes(caller, timeNs, inode));
      },
      sendAlone: async () => {
        resolve(await this.#mutations.create({ caller, ...create, pending: true }, signal));
      },
    }));
  }

  /** The commit of what {@link create} has made, and its attributes from then on. */
  commit(
    caller: Caller,
    { commit, created }: { commit: WholeFile; created: Attributes },
    signal: AbortSignal | undefined,
  ): Promise<Attributes> {
    return this.#enqueue(caller, signal, (resolve) => ({
      bytes: 128,
      commit,
      succeed: (timeNs) => resolve(wholeFileAttributes(created, timeNs, commit)),
      sendAlone: async () => resolve(await this.#mutations.commit({ caller, ...commit }, signal)),
    }));
  }

  /** What waits or is under way fails with SHUTTING_DOWN. */
  close(): void {
    const error = new RustreError("SHUTTING_DOWN", "The client is closed");
    this.#closed.abort(error);
    for (const { waiting } of this.#queues.values()) {
      for (const { fail } of waiting.splice(0)) fail(error);
    }
  }

  #enqueue<T>(
    caller: Caller,
    signal: AbortSignal | undefined,
    what: (
      resolve: (value: T) => void,
    ) => Pick<Waiting, "bytes" | "create" | "commit" | "succeed" | "sendAlone">,
  ): Promise<T> {
    if (signal?.aborted) return Promise.reject(interrupted(signal));
    if (this.#closed.signal.aborted) return Promise.reject(this.#closed.signal.reason);
    const queue = this.#queueOf(caller);
    return new Promise((resolve, reject) => {
      const leave = () => signal?.removeEventListener("abort", onAbort);
      const settle = (value: T) => {
        leave();
        resolve(value);
      };
      const waiting: Waiting = {
        ...what(settle),
        signal,
        fail: (error) => {
          leave();
          reject(error);
        },
        hasLeft: false,
        onLeft: () => {},
      };
      const onAbort = () => {
        waiting.hasLeft = true;
        queue.waiting = queue.waiting.filter((each) => each !== waiting);
        reject(interrupted(signal!));
        waiting.onLeft();
      };
      signal?.addEventListener("abort", onAbort, { once: true });
      queue.waiting.push(waiting);
      this.#send(queue);
    });
  }

  #queueOf(caller: Caller): CallerQueue {
    const key = keyOf(caller);
    const known = this.#queues.get(key);
    if (known) return known;
    const queue: CallerQueue = { caller, key, waiting: [], underWay: 0 };
    this.#queues.set(key, queue);
    return queue;
  }

  #send(queue: CallerQueue): void {
    while (queue.waiting.length > 0 && queue.underWay < limits.batchesInFlight) {
      const batch = take(queue);
      queue.underWay++;
      // A server that hangs is not waited for with what has nothing to do with it.
      const leave = once(() => {
        queue.underWay--;
        this.#send(queue);
        if (queue.underWay === 0) this.#queues.delete(queue.key);
      });
      const cancel = this.#clock.setTimer(leave, limits.batchWaitMs);
      this.#sendBatch(queue.caller, batch).finally(() => {
        cancel();
        leave();
      });
    }
  }

  /** Never rejects. */
  async #sendBatch(caller: Caller, batch: readonly Waiting[]): Promise<void> {
    const [first] = batch;
    if (batch.length === 1) return await sendAlone(first!);
    const stop = new AbortController();
    const onClosed = () => stop.abort(this.#closed.signal.reason);
    this.#closed.signal.addEventListener("abort", onClosed, { once: true });
    for (const each of batch) {
      each.onLeft = () => {
        if (batch.every(({ hasLeft }) => hasLeft)) stop.abort(interrupted(each.signal!));
      };
    }
    const commits = batch.filter(({ commit }) => commit);
    const creates = batch.filter(({ create }) => create);
    try {
      const { timeNs, committed, created } = await this.#mutations.batch({
        caller,
        commits: commits.map(({ commit }) => commit!),
        creates: creates.map(({ create }) => create!),
      }, stop.signal);
      if (committed.length !== commits.length || created.length !== creates.length) {
        throw new RustreError("BAD_FRAME", "The answer to a batch has another length");
      }
      const alone = [
        ...commits.filter((each, index) => !isSettled(each, timeNs, committed[index]!)),
        ...creates.filter((each, index) => !isSettled(each, timeNs, created[index]!)),
      ];
      await Promise.all(alone.map(sendAlone));
    } catch (error) {
      // One of them is malformed, and nobody says which.
      if (isRustreError(error, "BAD_REQUEST")) await Promise.all(batch.map(sendAlone));
      else for (const { fail } of batch) fail(error);
    } finally {
      this.#closed.signal.removeEventListener("abort", onClosed);
    }
  }
}

/** `false` where it was refused for something that may pass: then it was not carried out. */
function isSettled(
  { succeed, fail }: Waiting,
  timeNs: bigint,
  { error, inode }: BatchReply["created"][number],
): boolean {
  if (!error) {
    succeed(timeNs, inode);
    return true;
  }
  const failure = new RustreError(codeOfNumber(error.code), error.message);
  if (failure.retry !== "never") return false;
  fail(failure);
  return true;
}

/** Never rejects. */
async function sendAlone(waiting: Waiting): Promise<void> {
  if (waiting.hasLeft) return;
  try {
    await waiting.sendAlone();
  } catch (error) {
    waiting.fail(error);
  }
}

/** The first that wait, as many as a message takes. */
function take({ waiting }: CallerQueue): Waiting[] {
  let [bytes, creates, commits, count] = [0, 0, 0, 0];
  for (const each of waiting) {
    bytes += each.bytes;
    if (each.create) creates++;
    else commits++;
    const isFull = bytes > limits.batchRequestBytes || creates > limits.batchFilesMax ||
      commits > limits.batchFilesMax;
    if (count > 0 && isFull) break;
    count++;
  }
  return waiting.splice(0, count);
}

/** Callers with the same key have the same rights. */
function keyOf({ uid, gid, groups }: Caller): string {
  return `${uid} ${gid} ${groups.join(" ")}`;
}

function once(action: () => void): () => void {
  let isDone = false;
  return () => {
    if (isDone) return;
    isDone = true;
    action();
  };
}

function newFileAttributes(
  { uid }: Caller,
  timeNs: bigint,
  { ino, gid, mode, layout }: NewInode,
): Attributes {
  const times = { atimeNs: timeNs, mtimeNs: timeNs, ctimeNs: timeNs };
  return {
    ino,
    type: "file",
    mode,
    uid,
    gid,
    links: 1,
    sizeBytes: 0,
    dataEndBytes: 0,
    ...times,
    layout,
  };
}

function wholeFileAttributes(
  created: Attributes,
  timeNs: bigint,
  { sizeBytes, dataEndBytes, atimeNs = timeNs, mtimeNs = timeNs }: WholeFile,
): Attributes {
  return { ...created, sizeBytes, dataEndBytes, atimeNs, mtimeNs, ctimeNs: timeNs };
}
