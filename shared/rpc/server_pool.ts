// The few connections of a client to one server, and how much is under way there. Calls start at
// once where there is room and a connection; others wait in the order in which they came.

import { interrupted, withSignal } from "../deadline.ts";
import { type Address, type Environment, randomHex } from "../environment.ts";
import { RustreError } from "../errors.ts";
import { limits } from "../limits.ts";
import { Semaphore } from "../semaphore.ts";
import { ClientConnection, type OutgoingCall } from "./client_connection.ts";
import type { HelloReply, HelloRequest } from "./hello.ts";

export interface ServerPoolOptions {
  readonly environment: Environment;
  readonly address: Address;
  /** For messages: which server. */
  readonly what: string;
  readonly hello: () => Omit<HelloRequest, "protocol">;
  /** Throws where the server is not the one that is meant. */
  readonly checkPeer: (peer: HelloReply) => void;
  /** Called when there is neither a connection nor a call, nor a lost connection to tell of. */
  readonly onUnused: () => void;
}

/** A call, or something else that waits for a connection. */
type Waiting = Pick<OutgoingCall, "name" | "signal" | "deadlineMs">;

const noWorkers: readonly number[] = [];

export class ServerPool {
  readonly #options: ServerPoolOptions;
  readonly #room = new Semaphore(limits.requestsPerServerMax);
  readonly #open: ClientConnection[] = [];
  #opening: Promise<ClientConnection> | undefined;
  /** As the newest connection's hello has told; `undefined` where that may be out of date. */
  #workerPorts: readonly number[] | undefined;
  /** After a failure no further connection is tried before, while there is one. Monotonic clock. */
  #openAnotherMs = 0;
  /** Names of lost connections that the server has not been told of, and until when to tell it. */
  readonly #inDoubt = new Map<string, number>();
  readonly #closed = new AbortController();

  constructor(options: ServerPoolOptions) {
    this.#options = options;
  }

  /** How many connections are open or opening. */
  get connectionCount(): number {
    return this.#open.length + (this.#opening ? 1 : 0);
  }

  /** Resolves to the reply, or for a download to the reply and its payload. */
  call(call: OutgoingCall): Promise<unknown> {
    if (!this.#room.tryAcquire()) return this.#callInTurn(call);
    const connection = this.#connection();
    return connection ? this.#start(connection, call) : this.#callWhenConnected(call);
  }

  /** Calls under way fail with CONNECTION_LOST, those that were not sent with SHUTTING_DOWN. */
  async close(): Promise<void> {
    this.#closed.abort(new RustreError("SHUTTING_DOWN", "The client is closed"));
    for (const connection of [...this.#open]) connection.close();
    await this.#opening?.catch(() => {});
  }

  /** The ports of the server's workers, one by one; none where it has only one. */
  async workerPorts(call: Waiting): Promise<readonly number[]> {
    if (this.#workerPorts) return this.#workerPorts;
    const { peer } = await this.#connectionInTime(call);
    return peer.workers ?? noWorkers;
  }

  /** One of these ports is wrong: asks again when they are needed next. */
  forgetWorkers(ports: readonly number[]): void {
    // Somebody else may have asked meanwhile.
    if (this.#workerPorts !== ports) return;
    this.#workerPorts = undefined;
    // Another connection will be opened to ask; those that nobody uses make room for it.
    for (const connection of [...this.#open]) {
      if (connection.callCount === 0) connection.close();
    }
  }

  #start(connection: ClientConnection, call: OutgoingCall): Promise<unknown> {
    return connection.call(call, this.#release);
  }

  readonly #release = () => {
    this.#room.release();
    this.noticeUnused();
  };

  async #callInTurn(call: OutgoingCall): Promise<unknown> {
    await this.#inTime(call, (signal) => this.#room.acquire(1, signal), () => {
      const message = `Cannot call ${this.#nameOf(call)}: too many requests are under way there`;
      return new RustreError("OVERLOADED", message);
    });
    return this.#callWhenConnected(call);
  }

  /** Room has been acquired. */
  async #callWhenConnected(call: OutgoingCall): Promise<unknown> {
    let connection: ClientConnection | undefined;
    try {
      connection = this.#connection();
      while (!connection) {
        const opened = await this.#connectionInTime(call);
        // Others that waited may have made it busy. And it may not know of one that was lost since.
        connection = this.#connection() ?? (this.#hasLost() ? undefined : opened);
      }
    } catch (error) {
      this.#release();
      throw error;
    }
    return this.#start(connection, call);
  }

  #connectionInTime(call: Waiting): Promise<ClientConnection> {
    const opening = this.#opening ??= this.#openAnother();
    return this.#inTime(call, (signal) => withSignal(opening, signal), () => {
      const message = `Cannot call ${this.#nameOf(call)}: it does not answer`;
      return new RustreError("UNREACHABLE", message);
    });
  }

  /** An open connection, the least busy one. Opens a further one only when the others are busy. */
  #connection(): ClientConnection | undefined {
    // What may still arrive on a lost connection would overtake what is sent on another one now.
    if (this.#hasLost()) return undefined;
    const wanted = Math.min(limits.connectionsPerServerMax, this.#room.inUse);
    if (this.#open.length < wanted && !this.#opening && this.#mayOpen()) {
      this.#opening = this.#openAnother();
    }
    let best = this.#open[0];
    for (const each of this.#open) if (each.callCount < best!.callCount) best = each;
    return best;
  }

  #hasLost(): boolean {
    return this.#inDoubt.size > 0 && this.#lostConnections().length > 0;
  }

  /** The newest ones, on which something may still arrive. */
  #lostConnections(): string[] {
    const nowMs = this.#options.environment.clock.monotonicMs();
    for (const [name, untilMs] of this.#inDoubt) {
      if (nowMs >= untilMs) this.#inDoubt.delete(name);
    }
    return [...this.#inDoubt.keys()].slice(-limits.replacedConnectionsMax);
  }

  #mayOpen(): boolean {
    return this.#open.length === 0 ||
      this.#options.environment.clock.monotonicMs() >= this.#openAnotherMs;
  }

  #openAnother(): Promise<ClientConnection> {
    const opening = this.#tryToOpen().finally(() => this.#opening = undefined);
    opening.catch(() => {
      // Whoever waits for it has the error. With nobody waiting it does not matter yet.
      const { clock } = this.#options.environment;
      this.#openAnotherMs = clock.monotonicMs() + limits.retryDelayMaxMs;
      this.noticeUnused();
    });
    return opening;
  }

  async #tryToOpen(): Promise<ClientConnection> {
    const { environment, address, hello, checkPeer } = this.#options;
    const { signal } = this.#closed;
    const name = randomHex(environment.random, 16);
    const replaces = this.#lostConnections();
    const said = { ...hello(), connection: name, ...(replaces.length > 0 ? { replaces } : {}) };
    const connection = await ClientConnection.open(environment, { address, hello: said }, signal);
    for (const lost of replaces) this.#inDoubt.delete(lost);
    try {
      if (signal.aborted) throw interrupted(signal);
      checkPeer(connection.peer);
    } catch (error) {
      connection.close();
      throw error;
    }
    this.#open.push(connection);
    this.#workerPorts = connection.peer.workers ?? noWorkers;
    connection.onClosed(() => {
      this.#open.splice(this.#open.indexOf(connection), 1);
      if (connection.isInDoubt) {
        this.#inDoubt.set(name, environment.clock.monotonicMs() + limits.lateRequestMs);
      }
      // The server may be starting again, with another number of them.
      if (this.#open.length === 0) this.#workerPorts = undefined;
      this.noticeUnused();
    });
    return connection;
  }

  /** Runs `wait` with a signal that fires with the call's, and with `late` at its deadline. */
  async #inTime<T>(
    call: Waiting,
    wait: (signal: AbortSignal) => Promise<T>,
    late: () => RustreError,
  ): Promise<T> {
    const { clock } = this.#options.environment;
    const { signal } = call;
    const stop = new AbortController();
    const remainingMs = Math.max(0, call.deadlineMs - clock.monotonicMs());
    const cancel = clock.setTimer(() => stop.abort(late()), remainingMs);
    const onAbort = () => stop.abort(signal && interrupted(signal, this.#nameOf(call)));
    signal?.addEventListener("abort", onAbort, { once: true });
    try {
      return await wait(stop.signal);
    } finally {
      cancel();
      signal?.removeEventListener("abort", onAbort);
    }
  }

  #nameOf(call: Waiting): string {
    return `${call.name} at ${this.#options.what}`;
  }

  /** Calls `onUnused` where that is so by now. */
  noticeUnused(): void {
    const inUse = this.connectionCount > 0 || this.#room.inUse > 0 || this.#hasLost();
    if (!inUse) this.#options.onUnused();
  }
}
