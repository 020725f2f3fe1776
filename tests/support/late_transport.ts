// A client's network that holds back what is sent on its open connections, and delivers it later,
// also after the client has closed them: as a partition does that heals.

import type { Connection, Transport } from "../../shared/environment.ts";

export class LateTransport implements Transport {
  readonly #inner: Transport;
  readonly #connections = new Set<LateConnection>();

  constructor(inner: Transport) {
    this.#inner = inner;
  }

  dataPath: Transport["dataPath"] = () => Promise.resolve("streaming");

  listen: Transport["listen"] = (address, options) => this.#inner.listen(address, options);

  connect: Transport["connect"] = async (address, options) => {
    const connection = new LateConnection(await this.#inner.connect(address, options));
    this.#connections.add(connection);
    return connection;
  };

  /** From now on nothing that is sent on the connections that are open arrives. */
  hold(): void {
    for (const connection of this.#connections) connection.hold();
  }

  /** Delivers what was held back, and then the end of those connections that were closed. */
  async deliver(): Promise<void> {
    for (const connection of this.#connections) await connection.deliver();
  }
}

class LateConnection implements Connection {
  readonly remote: string;
  readonly #inner: Connection;
  #held: Uint8Array[] | undefined;
  #closed = false;

  constructor(inner: Connection) {
    this.remote = inner.remote;
    this.#inner = inner;
  }

  hold(): void {
    if (!this.#closed) this.#held ??= [];
  }

  async deliver(): Promise<void> {
    const held = this.#held ?? [];
    this.#held = undefined;
    try {
      for (const data of held) await this.#inner.write(data);
    } catch {
      // The server has hung up.
    }
    if (this.#closed) this.#inner.close();
  }

  async read(buffer: Uint8Array): Promise<number | null> {
    const count = await this.#inner.read(buffer);
    return this.#closed ? null : count;
  }

  async write(data: Uint8Array): Promise<void> {
    if (this.#held) this.#held.push(data.slice());
    else await this.#inner.write(data);
  }

  close(): void {
    this.#closed = true;
    if (!this.#held) this.#inner.close();
  }
}
