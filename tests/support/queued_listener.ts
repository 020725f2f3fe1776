// A listener of a network in memory: connections wait until they are accepted.

import type { Address, Connection, Listener } from "../../shared/environment.ts";

export class QueuedListener implements Listener {
  readonly address: Address;
  readonly #onClose: () => void;
  readonly #arrived: Connection[] = [];
  #closed = false;
  #waiting: ((connection: Connection | null) => void) | undefined;

  constructor(address: Address, onClose: () => void) {
    this.address = address;
    this.#onClose = onClose;
  }

  accept(): Promise<Connection | null> {
    const first = this.#arrived.shift();
    if (first) return Promise.resolve(first);
    if (this.#closed) return Promise.resolve(null);
    return new Promise((resolve) => this.#waiting = resolve);
  }

  deliver(connection: Connection): void {
    if (this.#closed) return connection.close();
    if (this.#waiting) this.#waiting(connection);
    else this.#arrived.push(connection);
    this.#waiting = undefined;
  }

  close(): void {
    this.#closed = true;
    this.#onClose();
    this.#waiting?.(null);
    this.#waiting = undefined;
  }
}
