// The client's side of connections: a few pooled, pipelined connections for each server, calls with
// deadlines. One try each; retry.ts has the loop, its callers choose the server.

import * as v from "valibot";
import { formatAddress } from "../address.ts";
import { assert } from "../assert.ts";
import type { Address, Environment } from "../environment.ts";
import { RustreError } from "../errors.ts";
import { limits } from "../limits.ts";
import type { ServerRole } from "../model.ts";
import { Semaphore } from "../semaphore.ts";
import { ClientConnection, type RawReply } from "./client_connection.ts";
import type { HelloReply } from "./protocol.ts";
import type { Method, ReplyOf, RequestOf, Service } from "./service.ts";

/** A server as the cluster map has it. A server that turns out to be another one is refused. */
export interface Endpoint {
  readonly address: Address;
  readonly role: ServerRole;
  /** Of an oss. */
  readonly targetIndex?: number;
}

export interface CallOptions {
  readonly signal?: AbortSignal | undefined;
  /** From the call to the reply, waiting for room and connecting included. */
  readonly timeoutMs?: number | undefined;
  readonly payload?: Uint8Array | undefined;
}

export interface RpcClientOptions {
  readonly environment: Environment;
  readonly caller: "client" | ServerRole;
  /** Where it is not known yet, the first hello tells. */
  readonly clusterId?: string | undefined;
}

/** Connections to one server, and how much is under way there. */
interface ServerPool {
  readonly room: Semaphore;
  readonly connections: Promise<ClientConnection>[];
  next: number;
}

export class RpcClient implements AsyncDisposable {
  readonly #environment: Environment;
  readonly #caller: "client" | ServerRole;
  readonly #pools = new Map<string, ServerPool>();
  #clusterId: string | undefined;
  #closed = false;

  constructor(options: RpcClientOptions) {
    this.#environment = options.environment;
    this.#caller = options.caller;
    this.#clusterId = options.clusterId;
  }

  /** The cluster that this client belongs to, once a server has told. */
  get clusterId(): string | undefined {
    return this.#clusterId;
  }

  /** How many connections are open or opening. */
  get connectionCount(): number {
    let count = 0;
    for (const pool of this.#pools.values()) count += pool.connections.length;
    return count;
  }

  /**
   * One try of a call. Rejects with the server's error, UNREACHABLE (nothing was sent),
   * CONNECTION_LOST or TIMED_OUT (it may have been carried out), or INTERRUPTED by the signal.
   */
  async call<S extends Service, Name extends keyof S["methods"] & string>(
    endpoint: Endpoint,
    service: S,
    name: Name,
    request: RequestOf<S, Name>,
    options: CallOptions = {},
  ): Promise<ReplyOf<S, Name>> {
    const { reply } = await this.#send(endpoint, service, name, request, options);
    return reply as ReplyOf<S, Name>;
  }

  /** {@link call} for methods whose reply carries raw bytes. */
  async download<S extends Service, Name extends keyof S["methods"] & string>(
    endpoint: Endpoint,
    service: S,
    name: Name,
    request: RequestOf<S, Name>,
    options: CallOptions = {},
  ): Promise<{ reply: ReplyOf<S, Name>; payload: Uint8Array }> {
    const { reply, payload } = await this.#send(endpoint, service, name, request, options);
    return { reply: reply as ReplyOf<S, Name>, payload };
  }

  /** Closes every connection; calls under way fail with CONNECTION_LOST. */
  async close(): Promise<void> {
    this.#closed = true;
    const opening = [...this.#pools.values()].flatMap((pool) => pool.connections);
    this.#pools.clear();
    for (const each of await Promise.allSettled(opening)) {
      if (each.status === "fulfilled") each.value.close();
    }
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #send(
    endpoint: Endpoint,
    service: Service,
    name: string,
    request: unknown,
    options: CallOptions,
  ): Promise<RawReply> {
    const method = service.methods[name];
    assert(method && service.name === serviceNameOf(endpoint), `${name} is not of this service`);
    const { signal, payload, timeoutMs = limits.callTimeoutMs } = options;
    const deadlineMs = this.#environment.clock.monotonicMs() + timeoutMs;
    const pool = this.#poolOf(endpoint);
    if (!pool.room.tryAcquire()) await this.#waitForRoom(pool, endpoint, timeoutMs, signal);
    try {
      const connection = await this.#connectionOf(pool, endpoint, signal);
      const what = `${name} at ${endpoint.role} ${formatAddress(endpoint.address)}`;
      const raw = await connection.call(method.opcode, request, {
        what,
        deadlineMs,
        signal,
        payload,
      });
      return { reply: checkReply(what, method, raw.reply), payload: raw.payload };
    } finally {
      pool.room.release();
    }
  }

  async #waitForRoom(
    pool: ServerPool,
    endpoint: Endpoint,
    timeoutMs: number,
    signal: AbortSignal | undefined,
  ): Promise<void> {
    const full = new AbortController();
    const cancel = this.#environment.clock.setTimer(() => {
      const where = formatAddress(endpoint.address);
      full.abort(new RustreError("OVERLOADED", `Too many requests are under way at ${where}`));
    }, timeoutMs);
    try {
      await pool.room.acquire(1, signal ? AbortSignal.any([signal, full.signal]) : full.signal);
    } catch (error) {
      throw signal?.aborted ? interrupted(signal) : error;
    } finally {
      cancel();
    }
  }

  #poolOf(endpoint: Endpoint): ServerPool {
    if (this.#closed) throw new RustreError("SHUTTING_DOWN", "The client is closed");
    const key = `${endpoint.role} ${endpoint.targetIndex ?? ""} ${formatAddress(endpoint.address)}`;
    let pool = this.#pools.get(key);
    if (!pool) {
      pool = { room: new Semaphore(limits.requestsPerServerMax), connections: [], next: 0 };
      this.#pools.set(key, pool);
    }
    return pool;
  }

  /** A second connection is opened only when the first is busy. */
  #connectionOf(
    pool: ServerPool,
    endpoint: Endpoint,
    signal: AbortSignal | undefined,
  ): Promise<ClientConnection> {
    const { connections } = pool;
    const wanted = Math.min(limits.connectionsPerServerMax, pool.room.inUse);
    if (connections.length < wanted) {
      const opening = this.#open(endpoint);
      connections.push(opening);
      const forget = () => {
        const index = connections.indexOf(opening);
        if (index >= 0) connections.splice(index, 1);
      };
      opening.then((connection) => connection.onClosed(forget), forget);
    }
    pool.next = (pool.next + 1) % connections.length;
    const chosen = connections[pool.next];
    assert(chosen, "a pool without connections");
    return signal ? withSignal(chosen, signal) : chosen;
  }

  async #open(endpoint: Endpoint): Promise<ClientConnection> {
    const connection = await ClientConnection.open(this.#environment, {
      address: endpoint.address,
      hello: {
        clusterId: this.#clusterId ?? "",
        wants: endpoint.role,
        caller: this.#caller,
        ...(endpoint.targetIndex === undefined ? {} : { targetIndex: endpoint.targetIndex }),
      },
    });
    try {
      if (this.#closed) throw new RustreError("SHUTTING_DOWN", "The client is closed");
      this.#learnCluster(connection.peer, endpoint);
    } catch (error) {
      connection.close();
      throw error;
    }
    return connection;
  }

  #learnCluster(peer: HelloReply, endpoint: Endpoint): void {
    this.#clusterId ??= peer.clusterId;
    if (peer.clusterId !== this.#clusterId) {
      throw new RustreError(
        "WRONG_CLUSTER",
        `The ${endpoint.role} at ${formatAddress(endpoint.address)} is of cluster ` +
          `"${peer.clusterName}" (${peer.clusterId}), not of ${this.#clusterId}`,
      );
    }
  }
}

function serviceNameOf(endpoint: Endpoint): string {
  return endpoint.role;
}

/** A server is not trusted to speak the protocol either. */
function checkReply(what: string, method: Method, reply: unknown): unknown {
  const parsed = v.safeParse(method.reply, reply);
  if (parsed.success) return parsed.output;
  const path = v.getDotPath(parsed.issues[0]);
  throw new RustreError(
    "BAD_FRAME",
    `Cannot read the reply to ${what}: ${parsed.issues[0].message}${path ? ` at "${path}"` : ""}`,
  );
}

/** `promise`, or a rejection as soon as the signal fires; what the promise is of goes on. */
export function withSignal<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  if (signal.aborted) return Promise.reject(interrupted(signal));
  return new Promise((resolve, reject) => {
    const onAbort = () => reject(interrupted(signal));
    signal.addEventListener("abort", onAbort, { once: true });
    promise.then(resolve, reject).finally(() => signal.removeEventListener("abort", onAbort));
  });
}

/** What a call rejects with when its signal fires: the reason, if that is an operating error. */
export function interrupted(signal: AbortSignal): RustreError {
  if (signal.reason instanceof RustreError) return signal.reason;
  return new RustreError("INTERRUPTED", "Interrupted", { cause: signal.reason });
}
