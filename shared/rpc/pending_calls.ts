// The calls of a connection that wait for their replies, by request id. An array: a Map that gets
// and loses an entry with each call is rebuilt all the time, and its dead tables hold on to each
// other and to the calls in them until the whole heap is collected.

import { assert } from "../assert.ts";
import { limits } from "../limits.ts";

/** A power of two, well above the calls under way, so that a free place is found at once. */
const places = 1024;
assert(places >= 2 * limits.requestsPerServerMax, "too few places for calls");

interface HasRequestId {
  requestId: number;
}

export class PendingCalls<Call extends HasRequestId> {
  readonly #calls = new Array<Call | undefined>(places).fill(undefined);
  #nextRequestId: number;
  #size = 0;

  constructor(firstRequestId = 1) {
    this.#nextRequestId = firstRequestId;
  }

  get size(): number {
    return this.#size;
  }

  /** Gives the call a request id that no other one has. */
  add(call: Call): void {
    assert(this.#size < places, "more calls under way than a server pool lets through");
    let requestId = this.#nextRequestId;
    while (this.#calls[requestId % places] !== undefined) requestId = following(requestId);
    this.#nextRequestId = following(requestId);
    call.requestId = requestId;
    this.#calls[requestId % places] = call;
    this.#size++;
  }

  /** A call; `undefined` where none has this id. */
  get(requestId: number): Call | undefined {
    const call = this.#calls[requestId % places];
    return call?.requestId === requestId ? call : undefined;
  }

  /** Removes a call; `undefined` where none has this id. */
  take(requestId: number): Call | undefined {
    const call = this.get(requestId);
    if (!call) return undefined;
    this.#calls[requestId % places] = undefined;
    this.#size--;
    return call;
  }

  /** Those that are there now; some may be gone when it is their turn. */
  *[Symbol.iterator](): Generator<Call> {
    // By number: an array's iterator makes garbage for each place, many times a second.
    for (let place = 0; place < places; place++) {
      const call = this.#calls[place];
      if (call !== undefined) yield call;
    }
  }
}

/** 0 is the hello's. */
function following(requestId: number): number {
  return requestId === 0xffff_ffff ? 1 : requestId + 1;
}
