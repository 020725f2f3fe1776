// What an oss does beside the rest where it is one of several workers of its process: it has the
// objects of every n-th inode alone, and a port of its own at which clients reach it for them.

import type { Address, Clock, Connection, Listener, Transport } from "../shared/environment.ts";
import { RustreError } from "../shared/errors.ts";
import { limits } from "../shared/limits.ts";
import type { Usage } from "../shared/model.ts";
import { Periodic } from "../shared/periodic.ts";
import type { ossService } from "../shared/protocol/oss.ts";
import type { Handlers } from "../shared/rpc/service.ts";
import { inodesOf, workerOf } from "../shared/rpc/worker_routes.ts";
import type { WorkerPlace, WorkerSelf } from "../shared/workers/peers.ts";
import { SharedCounters } from "../shared/workers/shared_counters.ts";

type OssHandlers = Handlers<typeof ossService>;

export class OssWorker implements AsyncDisposable {
  readonly #transport: Transport;
  readonly #place: WorkerPlace;
  readonly #counters: SharedCounters;
  #ownPort = 0;
  #publishing: Periodic | undefined;

  constructor(transport: Transport, { place, counters }: WorkerSelf) {
    this.#transport = transport;
    this.#place = place;
    this.#counters = new SharedCounters(place.count, counters);
  }

  /** On the port that all share, and on one of its own. */
  async listen(shared: Address): Promise<Listener> {
    const transport = this.#transport;
    const own = await transport.listen({ host: shared.host, port: 0 });
    try {
      const both = new PairOfListeners(await transport.listen(shared, { shared: true }), own);
      this.#ownPort = own.address.port;
      return both;
    } catch (error) {
      own.close();
      throw error;
    }
  }

  /** From now on clients are sent here, and the others count what is here. */
  start(clock: Clock, usage: () => Usage): void {
    const { index } = this.#place;
    const publish = () => {
      this.#counters.setUsage(index, usage());
      return Promise.resolve();
    };
    void publish();
    this.#counters.setPort(index, this.#ownPort);
    this.#publishing = new Periodic({ clock, intervalMs: limits.probeIntervalMs, task: publish });
  }

  /** The ports of all workers, for the hello. */
  readonly ports = (): number[] => this.#counters.ports();

  /** Of the whole OST, the other workers' part up to limits.probeIntervalMs old. */
  totalUsage(own: Usage): Usage {
    this.#counters.setUsage(this.#place.index, own);
    return this.#counters.totalUsage(own);
  }

  /** Those handlers, but for the objects of other workers. */
  guard(handlers: OssHandlers): OssHandlers {
    const guarded = Object.entries(handlers).map(([name, handler]) => {
      const handle = handler as (request: unknown, call: unknown) => Promise<unknown>;
      // deno-lint-ignore require-await -- a refusal must be a rejection.
      return [name, async (request: unknown, call: unknown) => {
        this.#requireOwn(name, request);
        return handle(request, call);
      }];
    });
    return Object.fromEntries(guarded) as OssHandlers;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#publishing?.close();
  }

  #requireOwn(name: string, request: unknown): void {
    const { index, count } = this.#place;
    const foreign = inodesOf(request).find((ino) => workerOf(ino, count) !== index);
    if (foreign === undefined) return;
    throw new RustreError(
      "WRONG_WORKER",
      `Cannot handle ${name} of inode ${foreign}: its objects are with worker ` +
        `${workerOf(foreign, count)} of ${count}, this is worker ${index}`,
    );
  }
}

/** Accepts from both of two listeners. */
export class PairOfListeners implements Listener {
  /** The shared one's. */
  readonly address: Address;
  readonly #both: readonly Accepting[];

  constructor(shared: Listener, own: Listener) {
    this.address = shared.address;
    this.#both = [new Accepting(shared), new Accepting(own)];
  }

  async accept(): Promise<Connection | null> {
    // The one that came first, also where both have one: the other waits for the next accept.
    const { from, connection } = await Promise.race(this.#both.map((each) => each.next()));
    from.take();
    return connection;
  }

  close(): void {
    for (const each of this.#both) each.close();
  }
}

/** A listener with the accept that is under way. */
class Accepting {
  readonly #listener: Listener;
  #next: Promise<{ from: Accepting; connection: Connection | null }> | undefined;

  constructor(listener: Listener) {
    this.#listener = listener;
  }

  next(): Promise<{ from: Accepting; connection: Connection | null }> {
    return this.#next ??= this.#listener.accept().then((connection) => ({
      from: this,
      connection,
    }));
  }

  take(): void {
    this.#next = undefined;
  }

  close(): void {
    this.#listener.close();
    // Accepted and not taken, or accepted just now: nobody will serve it.
    void this.#next?.then(({ connection }) => connection?.close());
  }
}
