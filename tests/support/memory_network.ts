// A network in memory: hosts with listeners, connections as pairs of bounded pipes. Hosts can be cut
// off, as by a crash or a pulled cable. Deterministic: bytes move in microtasks alone.

import type { Address, Connection, Listener, Transport } from "../../shared/environment.ts";
import { RustreError } from "../../shared/errors.ts";
import { QueuedListener } from "./queued_listener.ts";

const pipeBytesMax = 256 * 1024;

/** One direction of a connection. */
class Pipe {
  readonly #chunks: Uint8Array[] = [];
  #bytes = 0;
  #ended = false;
  #frozen = false;
  #changed: (() => void)[] = [];

  async write(data: Uint8Array): Promise<void> {
    for (let offset = 0; offset < data.length;) {
      while (!this.#ended && this.#bytes >= pipeBytesMax) await this.#change();
      if (this.#ended) throw new RustreError("CONNECTION_LOST", "The connection is closed");
      const part = data.slice(offset, offset + pipeBytesMax - this.#bytes);
      this.#chunks.push(part);
      this.#bytes += part.length;
      offset += part.length;
      this.#notify();
    }
  }

  async read(buffer: Uint8Array): Promise<number | null> {
    while (this.#frozen || (this.#chunks.length === 0 && !this.#ended)) await this.#change();
    const chunk = this.#chunks[0];
    if (!chunk) return null;
    const count = Math.min(chunk.length, buffer.length);
    buffer.set(chunk.subarray(0, count));
    if (count === chunk.length) this.#chunks.shift();
    else this.#chunks[0] = chunk.subarray(count);
    this.#bytes -= count;
    this.#notify();
    return count;
  }

  /** What has been written is still read; a reader that is gone reads nothing more. */
  end(options: { discard?: boolean } = {}): void {
    if (options.discard) this.#chunks.length = 0;
    this.#ended = true;
    this.#frozen = false;
    this.#notify();
  }

  /** Nothing of what was not read yet arrives. */
  lose(): void {
    this.#chunks.length = 0;
    this.#bytes = 0;
  }

  freeze(frozen: boolean): void {
    this.#frozen = frozen;
    this.#notify();
  }

  #change(): Promise<void> {
    return new Promise((resolve) => this.#changed.push(resolve));
  }

  #notify(): void {
    for (const resolve of this.#changed.splice(0)) resolve();
  }
}

class MemoryConnection implements Connection {
  readonly remote: string;
  readonly #incoming: Pipe;
  readonly #outgoing: Pipe;
  readonly #onClose: () => void;

  constructor(remote: string, incoming: Pipe, outgoing: Pipe, onClose: () => void) {
    this.remote = remote;
    this.#incoming = incoming;
    this.#outgoing = outgoing;
    this.#onClose = onClose;
  }

  read(buffer: Uint8Array): Promise<number | null> {
    return this.#incoming.read(buffer);
  }

  write(data: Uint8Array): Promise<void> {
    return this.#outgoing.write(data);
  }

  close(): void {
    this.#incoming.end({ discard: true });
    this.#outgoing.end();
    this.#onClose();
  }
}

class MemoryListener extends QueuedListener {
  readonly shared: boolean;

  constructor(address: Address, shared: boolean, onClose: () => void) {
    super(address, onClose);
    this.shared = shared;
  }
}

interface Link {
  readonly hosts: readonly [string, string];
  readonly pipes: readonly Pipe[];
}

export class MemoryNetwork {
  /** Several only where all share the address; the next connection goes to the first one. */
  readonly #listeners = new Map<string, MemoryListener[]>();
  readonly #links = new Set<Link>();
  readonly #frozen = new Set<string>();
  readonly #dead = new Set<string>();
  #nextPort = 20_000;

  /** The network as one host sees it. It listens under its own name only. */
  transport(host: string): Transport {
    return {
      listen: (address, { shared = false } = {}) =>
        Promise.resolve().then(() => this.#listen(host, address, shared)),
      connect: (address, options) => this.#connect(host, address, options.signal),
      dataPath: () => Promise.resolve("streaming"),
    };
  }

  /** The host is gone at once: its connections break, its listeners vanish. */
  cut(host: string): void {
    for (const [key, [listener]] of [...this.#listeners]) {
      if (listener?.address.host === host) this.#listeners.delete(key);
    }
    this.#breakLinks(host);
  }

  /** The host's connections break, and what is on its way is lost; it goes on listening. */
  disconnect(host: string): void {
    for (const { hosts, pipes } of this.#links) {
      if (hosts.includes(host)) { for (const pipe of pipes) pipe.lose(); }
    }
    this.#breakLinks(host);
  }

  #breakLinks(host: string): void {
    for (const link of this.#links) {
      if (!link.hosts.includes(host)) continue;
      for (const pipe of link.pipes) pipe.end();
      this.#links.delete(link);
    }
  }

  /** {@link cut}, and from now on the host reaches nobody and is reached by nobody. */
  kill(host: string): void {
    this.#dead.add(host);
    this.cut(host);
  }

  /** The host is back on the network; what listened there has to listen again. */
  revive(host: string): void {
    this.#dead.delete(host);
  }

  /** The host hangs: connections stay, nothing arrives. */
  freeze(host: string, frozen = true): void {
    if (frozen) this.#frozen.add(host);
    else this.#frozen.delete(host);
    for (const link of this.#links) {
      if (link.hosts.includes(host)) { for (const pipe of link.pipes) pipe.freeze(frozen); }
    }
  }

  /** Connections of a host that are open. */
  connectionsOf(host: string): number {
    return [...this.#links].filter((link) => link.hosts.includes(host)).length;
  }

  #listen(host: string, address: Address, shared: boolean): Listener {
    const port = address.port === 0 ? this.#nextPort++ : address.port;
    const key = `${host}:${port}`;
    const others = this.#listeners.get(key) ?? [];
    if (others.some((other) => !(shared && other.shared))) {
      throw new RustreError("EBUSY", `Cannot listen on ${key}: the address is in use`);
    }
    const listener = new MemoryListener({ host, port }, shared, () => {
      const left = this.#listeners.get(key)?.filter((each) => each !== listener) ?? [];
      if (left.length > 0) this.#listeners.set(key, left);
      else this.#listeners.delete(key);
    });
    this.#listeners.set(key, [...others, listener]);
    return listener;
  }

  #connect(from: string, address: Address, signal: AbortSignal): Promise<Connection> {
    const key = `${address.host}:${address.port}`;
    const unreachable = () => new RustreError("UNREACHABLE", `Cannot connect to ${key}`);
    const [listener, ...others] = this.#listeners.get(key) ?? [];
    const dead = this.#dead.has(from) || this.#dead.has(address.host);
    if (!listener || dead || signal.aborted) return Promise.reject(unreachable());
    const [there, back] = [new Pipe(), new Pipe()];
    if (this.#frozen.has(from) || this.#frozen.has(address.host)) {
      there.freeze(true);
      back.freeze(true);
    }
    const link = { hosts: [from, address.host], pipes: [there, back] } as const;
    this.#links.add(link);
    const onClose = () => this.#links.delete(link);
    this.#listeners.set(key, [...others, listener]);
    listener.deliver(new MemoryConnection(from, there, back, onClose));
    return Promise.resolve(new MemoryConnection(key, back, there, onClose));
  }
}
