// The client's side of connections: calls with deadlines to any number of servers. One try each;
// retry.ts has the loop, its callers choose the server. server_pool.ts has the connections.

import { formatAddress } from "../address.ts";
import { assert } from "../assert.ts";
import { interrupted } from "../deadline.ts";
import type { Address, Environment, GatheredPayload } from "../environment.ts";
import { isRustreError, RustreError } from "../errors.ts";
import { limits } from "../limits.ts";
import type { ServerRole } from "../model.ts";
import type { OutgoingCall } from "./client_connection.ts";
import type { HelloReply, HelloRequest } from "./hello.ts";
import { ServerPool } from "./server_pool.ts";
import type { ReplyOf, RequestOf, Service } from "./service.ts";
import { hasMoved, inodesOf, workerOf } from "./worker_routes.ts";

export { interrupted, withSignal } from "../deadline.ts";

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
  /** Must not change, and its file not be closed, until the call settles. */
  readonly payload?: GatheredPayload | undefined;
  /** Of an oss, for a request that names no object: which of its workers; see workerCount(). */
  readonly worker?: number | undefined;
}

export interface DownloadOptions extends CallOptions {
  /**
   * What the reply's payload is received into, from its start: BAD_FRAME where that is longer. Until
   * the call settles nobody else may use it, also where it fails; then nothing more is written to it.
   */
  readonly into?: Uint8Array | undefined;
}

export interface RpcClientOptions {
  readonly environment: Environment;
  readonly caller: HelloRequest["caller"];
  /** Where it is not known yet, the first hello tells. */
  readonly clusterId?: string | undefined;
}

export class RpcClient implements AsyncDisposable {
  readonly #environment: Environment;
  readonly #caller: HelloRequest["caller"];
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

  /** From then on no call succeeds. */
  get isClosed(): boolean {
    return this.#closed;
  }

  /** How many connections are open or opening. */
  get connectionCount(): number {
    let count = 0;
    for (const pool of this.#pools.values()) count += pool.connectionCount;
    return count;
  }

  /**
   * One try of a call. Rejects with the server's error, UNREACHABLE or OVERLOADED (nothing was
   * sent), CONNECTION_LOST or TIMED_OUT (it may have been carried out), or INTERRUPTED by the signal.
   */
  call<S extends Service, Name extends keyof S["methods"] & string>(
    endpoint: Endpoint,
    service: S,
    name: Name,
    request: RequestOf<S, Name>,
    options: CallOptions = {},
  ): Promise<ReplyOf<S, Name>> {
    const reply = this.#send(endpoint, service, name, request, { options, download: false });
    return reply as Promise<ReplyOf<S, Name>>;
  }

  /** {@link call} for methods whose reply carries raw bytes. */
  download<S extends Service, Name extends keyof S["methods"] & string>(
    endpoint: Endpoint,
    service: S,
    name: Name,
    request: RequestOf<S, Name>,
    options: DownloadOptions = {},
  ): Promise<{ reply: ReplyOf<S, Name>; payload: Uint8Array }> {
    const answer = this.#send(endpoint, service, name, request, { options, download: true });
    return answer as Promise<{ reply: ReplyOf<S, Name>; payload: Uint8Array }>;
  }

  /** How many workers an oss has: what concerns all its objects is to be asked of each. */
  async workerCount(
    endpoint: Endpoint,
    { signal, timeoutMs = limits.callTimeoutMs }: CallOptions = {},
  ): Promise<number> {
    if (this.#closed) throw closedClient();
    const deadlineMs = this.#environment.clock.monotonicMs() + timeoutMs;
    const ports = await this.#poolOf(endpoint).workerPorts({ name: "hello", signal, deadlineMs });
    return Math.max(1, ports.length);
  }

  /** Closes every connection; calls under way fail with CONNECTION_LOST, others SHUTTING_DOWN. */
  async close(): Promise<void> {
    this.#closed = true;
    await Promise.all(Array.from(this.#pools.values(), (pool) => pool.close()));
    this.#pools.clear();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  #send(
    endpoint: Endpoint,
    service: Service,
    name: string,
    request: unknown,
    how: { options: DownloadOptions; download: boolean },
  ): Promise<unknown> {
    const method = service.methods[name];
    assert(method && service.name === endpoint.role, `${name} is not of this service`);
    const { options, download } = how;
    const { signal, payload, into, worker, timeoutMs = limits.callTimeoutMs } = options;
    if (signal?.aborted) return Promise.reject(interrupted(signal));
    if (this.#closed) return Promise.reject(closedClient());
    const deadlineMs = this.#environment.clock.monotonicMs() + timeoutMs;
    const call = { name, method, request, payload, signal, deadlineMs, download, into };
    const key = endpoint.role === "oss" ? worker ?? inodesOf(request)[0] : undefined;
    if (key === undefined) return this.#poolOf(endpoint).call(call);
    return this.#callWorker(endpoint, call, key);
  }

  /** `key`: an inode number, or the index of a worker. */
  async #callWorker(endpoint: Endpoint, call: OutgoingCall, key: number): Promise<unknown> {
    for (let isSecondTry = false;; isSecondTry = true) {
      const server = this.#poolOf(endpoint);
      const ports = await server.workerPorts(call);
      if (this.#closed) throw closedClient();
      try {
        if (ports.length === 0) return await server.call(call);
        const index = workerOf(key, ports.length);
        return await this.#poolOf(workerEndpoint(endpoint, index, ports[index])).call(call);
      } catch (error) {
        const moved = hasMoved(error, ports.length);
        const lost = ports.length > 0 && isRustreError(error, "CONNECTION_LOST");
        if (moved || lost) server.forgetWorkers(ports);
        // Nothing was done, and the server's own port may know better at once.
        if (isSecondTry || !moved) throw error;
      }
    }
  }

  #poolOf(endpoint: Endpoint): ServerPool {
    const { address: { host, port }, role, targetIndex = -1 } = endpoint;
    const key = `${role} ${targetIndex} ${host} ${port}`;
    return this.#pools.get(key) ?? this.#newPool(key, endpoint);
  }

  #newPool(key: string, endpoint: Endpoint): ServerPool {
    const { address, role, targetIndex } = endpoint;
    for (const each of this.#pools.values()) each.noticeUnused();
    const pool: ServerPool = new ServerPool({
      environment: this.#environment,
      address,
      what: `${role} ${formatAddress(address)}`,
      hello: () => ({
        clusterId: this.#clusterId ?? "",
        wants: role,
        caller: this.#caller,
        ...(targetIndex === undefined ? {} : { targetIndex }),
      }),
      checkPeer: (peer) => this.#checkPeer(peer, endpoint),
      onUnused: () => {
        if (this.#pools.get(key) === pool) this.#pools.delete(key);
      },
    });
    this.#pools.set(key, pool);
    return pool;
  }

  /** A server that does not check what was asked for is found out here. */
  #checkPeer(peer: HelloReply, { address, role, targetIndex }: Endpoint): void {
    const where = `${role} ${formatAddress(address)}`;
    if (peer.role !== role) {
      throw new RustreError("WRONG_ROLE", `Cannot use ${where}: it is an ${peer.role}`);
    }
    if (targetIndex !== undefined && peer.targetIndex !== targetIndex) {
      const message = `Cannot use ${where}: it serves OST ${peer.targetIndex}, not ${targetIndex}`;
      throw new RustreError("WRONG_TARGET", message);
    }
    this.#clusterId ??= peer.clusterId;
    if (peer.clusterId !== this.#clusterId) {
      throw new RustreError(
        "WRONG_CLUSTER",
        `Cannot use ${where}: it is of cluster "${peer.clusterName}" (${peer.clusterId}), not of ` +
          this.#clusterId,
      );
    }
  }
}

function workerEndpoint(endpoint: Endpoint, index: number, port = 0): Endpoint {
  const { host } = endpoint.address;
  if (port !== 0) return { ...endpoint, address: { host, port } };
  const where = formatAddress(endpoint.address);
  throw new RustreError("UNREACHABLE", `Cannot reach worker ${index} of ${where}: it is starting`);
}

function closedClient(): RustreError {
  return new RustreError("SHUTTING_DOWN", "The client is closed");
}
