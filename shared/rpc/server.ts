// A server's listener: accepts connections, bounds how many there are and how much payload they hold
// together, closes them at the end. server_connection.ts serves each. The same for every role.

import { assert } from "../assert.ts";
import type { Address, Connection, Environment, Listener } from "../environment.ts";
import { limits } from "../limits.ts";
import type { Logger } from "../logging.ts";
import { Semaphore } from "../semaphore.ts";
import {
  type AnyHandler,
  type Route,
  ServerConnection,
  type ServerIdentity,
} from "./server_connection.ts";
import type { HelloRequest } from "./hello.ts";
import type { Handlers, Service } from "./service.ts";

export type { ServerIdentity } from "./server_connection.ts";

export interface ServeOptions<S extends Service> {
  readonly environment: Environment;
  readonly listener: Listener;
  readonly service: S;
  readonly handlers: Handlers<S>;
  readonly identity: ServerIdentity;
  readonly log: Logger;
  /** Of a process that share what it may hold; by default this is the only one. */
  readonly workers?: number | undefined;
  /** For tests. */
  readonly connectionsMax?: number;
}

/** Serves `listener` until it is closed. */
export function serve<S extends Service>(options: ServeOptions<S>): RpcServer {
  const server = new RpcServer(options as unknown as ServeOptions<Service>);
  server.start();
  return server;
}

export class RpcServer implements AsyncDisposable {
  readonly address: Address;
  readonly #options: ServeOptions<Service>;
  readonly #routes = new Map<number, Route>();
  readonly #connections = new Set<ServerConnection>();
  /** By the names that callers gave them. */
  readonly #named = new Map<string, ServerConnection>();
  /** Of all connections, also those that make room for others. */
  readonly #runs = new Set<Promise<void>>();
  readonly #payloadRooms: { readonly clients: Semaphore; readonly servers: Semaphore };
  #accepting: Promise<void> = Promise.resolve();
  #closing: Promise<void> | undefined;

  constructor(options: ServeOptions<Service>) {
    this.#options = options;
    this.address = options.listener.address;
    const { workers = 1 } = options;
    // Not less than the buffers of one connection need.
    const roomOf = (bytes: number) =>
      new Semaphore(Math.max(Math.floor(bytes / workers), limits.payloadBytesPerConnectionMax));
    this.#payloadRooms = {
      clients: roomOf(limits.payloadBytesPerServerMax),
      servers: roomOf(limits.forwardedBytesPerServerMax),
    };
    const handlers = options.handlers as Record<string, AnyHandler>;
    for (const [name, method] of Object.entries(options.service.methods)) {
      const handler = handlers[name];
      assert(handler, `${options.service.name}.${name} has no handler`);
      this.#routes.set(method.opcode, { name, method, handler });
    }
  }

  /** What is held for peers now. */
  get load(): { connections: number; payloadBytes: number } {
    const { clients, servers } = this.#payloadRooms;
    return { connections: this.#connections.size, payloadBytes: clients.inUse + servers.inUse };
  }

  start(): void {
    this.#accepting = this.#acceptAll();
  }

  async #acceptAll(): Promise<void> {
    const { listener, log } = this.#options;
    for (;;) {
      const connection = await listener.accept();
      if (connection === null) return;
      if (this.#makeRoom()) {
        this.#serveConnection(connection);
      } else {
        log.warn("Refused a connection: too many are busy", { remote: connection.remote });
        connection.close();
      }
    }
  }

  /**
   * At the limit the connection that is idle for the longest time goes: its peer may be gone, and
   * opens another if it is not.
   */
  #makeRoom(): boolean {
    const { connectionsMax = limits.connectionsMax, log } = this.#options;
    if (this.#connections.size < connectionsMax) return true;
    let idlest: ServerConnection | undefined;
    for (const each of this.#connections) {
      if (each.isIdle && (!idlest || each.activeMs < idlest.activeMs)) idlest = each;
    }
    if (!idlest) return false;
    log.info("Closed an idle connection: too many are open", { remote: idlest.remote });
    this.#connections.delete(idlest);
    idlest.close();
    return true;
  }

  #serveConnection(connection: Connection): void {
    const { environment, identity, log } = this.#options;
    const served = new ServerConnection(connection, {
      environment,
      identity,
      log,
      routes: this.#routes,
      payloadRooms: this.#payloadRooms,
      onHello: (hello, each) => this.#noteHello(hello, each),
    });
    this.#connections.add(served);
    const run = served.run().catch((error) => {
      log.error("A connection failed", { remote: connection.remote, error });
    }).finally(() => {
      this.#connections.delete(served);
      this.#forgetName(served);
      this.#runs.delete(run);
    });
    this.#runs.add(run);
  }

  #noteHello({ connection: name, replaces = [] }: HelloRequest, connection: ServerConnection) {
    for (const lost of replaces) this.#named.get(lost)?.close();
    if (name !== undefined) this.#named.set(name, connection);
  }

  #forgetName(connection: ServerConnection): void {
    for (const [name, each] of this.#named) {
      if (each === connection) return void this.#named.delete(name);
    }
  }

  /**
   * Stops accepting, gives requests under way limits.drainMs to finish, closes the connections.
   * Idempotent.
   */
  close(): Promise<void> {
    return this.#closing ??= this.#close();
  }

  async #close(): Promise<void> {
    const { listener, environment } = this.#options;
    listener.close();
    await this.#accepting;
    const drained = Promise.all(Array.from(this.#connections, (each) => each.drain()));
    let cancel = () => {};
    const timeout = new Promise<void>((resolve) => {
      cancel = environment.clock.setTimer(resolve, limits.drainMs);
    });
    await Promise.race([drained, timeout]);
    cancel();
    for (const connection of this.#connections) connection.close();
    await Promise.all(this.#runs);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}
