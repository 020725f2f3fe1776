// The workers of one process: each a thread with its own listener on the process's port, all of
// them one server to the others. What one of them is told and all must know goes through here.

import type { mgsService, Registration } from "../protocol/mgs.ts";
import type { RequestOf } from "../rpc/service.ts";

/** What workers tell each other. Both sides are the same program, so nobody checks it. */
export interface PeerMessages {
  /** An mgs has probed this server: it is known, and here are the epoch and the mgs. */
  probed: RequestOf<typeof mgsService, "probe">;
  /** Of an mgs: this node has just registered, and answers. */
  registered: Registration;
  /** Of the mgs that probes: for how long each node has been silent, in milliseconds, by node id. */
  heartbeatAges: Record<string, number>;
  /** Of the mgs that probed: it is cut off and has given the lease back, with this sequence. */
  steppedAside: { readonly sequence: number };
  /** Of an mds: there is something to collect. */
  garbage: { readonly cuts: boolean };
}

export type PeerListener<Name extends keyof PeerMessages> = (message: PeerMessages[Name]) => void;

/** The way to the other workers. What is told while one of them is being replaced passes it by. */
export interface Peers {
  tell<Name extends keyof PeerMessages>(name: Name, message: PeerMessages[Name]): void;
  /** At most one listener for each name. */
  on<Name extends keyof PeerMessages>(name: Name, listener: PeerListener<Name>): void;
}

/** Which worker this is. Can be sent to it. */
export interface WorkerPlace {
  /** Of this run of the process: never the same for two. */
  readonly process: string;
  /** Worker 0 speaks for the process: it registers the server, and says that it leaves. */
  readonly index: number;
  readonly count: number;
  /** How many had this index before it. */
  readonly generation: number;
}

/** One of several workers, as its role sees it. */
export interface WorkerSelf {
  readonly place: WorkerPlace;
  /** Of a {@link SharedCounters} that all workers of the process have. */
  readonly counters: SharedArrayBuffer;
  readonly peers: Peers;
}

/** Whether this is the one that registers its process. */
export function speaksForProcess(worker: WorkerSelf | undefined): boolean {
  return worker === undefined || worker.place.index === 0;
}

/** Never the same for two workers of any process. */
export function workerId({ process, index, generation }: WorkerPlace): string {
  return `${process}.${index}.${generation}`;
}

/** Whether `holder` begins with the id of a worker of this run of this process. */
export function isOfSameProcess({ process }: WorkerPlace, holder: string): boolean {
  return holder.startsWith(`${process}.`);
}

/** Whether it begins with the id of a worker whose place this one has taken: that one is gone. */
export function isPredecessor(place: WorkerPlace, holder: string): boolean {
  const [process, index, generation = ""] = holder.split(".");
  return process === place.process && Number(index) === place.index &&
    Number.parseInt(generation) < place.generation;
}
