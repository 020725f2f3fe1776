// The client's side of connections: calls with deadlines to any number of servers. One try each;
// retry.ts has the loop, its callers choose the server. server_pool.ts has the connections.

import { formatAddress } from "../address.ts";
import { assert } from "../assert.ts";
import { interrupted } from "../deadline.ts";
import type { Address, Environment } from "../environment.ts";
import { RustreError } from "../errors.ts";
import { limits } from "../limits.ts";
import type { ServerRole } from "../model.ts";
import type { HelloReply, HelloRequest } from "./protocol.ts";
import { ServerPool } from "./server_pool.ts";
import type { ReplyOf, RequestOf, Service } from "./service.ts";

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
  /** Must not change until the call settles. */
  readonly payload?: Uint8Array | undefined;
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
    options: CallOptions = {},
  ): Promise<{ reply: ReplyOf<S, Name>; payload: Uint8Array }> {
    const answer = this.#send(endpoint, service, name, request, { options, download: true });
    return answer as Promise<{ reply: ReplyOf<S, Name>; payload: Uint8Array }>;
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
    how: { options: CallOptions; download: boolean },
  ): Promise<unknown> {
    const method = service.methods[name];
    assert(method && service.name === endpoint.role, `${name} is not of this service`);
    const { options: { signal, payload, timeoutMs = limits.callTimeoutMs }, download } = how;
    if (signal?.aborted) return Promise.reject(interrupted(signal));
    if (this.#closed) return Promise.reject(closedClient());
    const deadlineMs = this.#environment.clock.monotonicMs() + timeoutMs;
    const call = { name, method, request, payload, signal, deadlineMs, download };
    return this.#poolOf(endpoint).call(call);
  }

  #poolOf(endpoint: Endpoint): ServerPool {
    const { address: { host, port }, role, targetIndex = -1 } = endpoint;
    const key = `${role} ${targetIndex} ${host} ${port}`;
    return this.#pools.get(key) ?? this.#newPool(key, endpoint);
  }

  #newPool(key: string, endpoint: Endpoint): ServerPool {
    const { address, role, targetIndex } = endpoint;
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

function closedClient(): RustreError {
  return new RustreError("SHUTTING_DOWN", "The client is closed");
}
