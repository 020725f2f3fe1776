// The operations that a store has under way, so that it closes when the last one has ended.

export class OpenOperations {
  readonly #refusal: () => Error;
  readonly #ended = Promise.withResolvers<void>();
  #underWay = 0;
  #isClosed = false;

  /** `refusal`: what is thrown to those who come too late. */
  constructor(refusal: () => Error) {
    this.#refusal = refusal;
  }

  /** Runs what a caller asked for, unless the store is closed. */
  async run<T>(operation: () => T | Promise<T>): Promise<T> {
    if (this.#isClosed) throw this.#refusal();
    this.#underWay++;
    try {
      return await operation();
    } finally {
      this.#underWay--;
      if (this.#underWay === 0 && this.#isClosed) this.#ended.resolve();
    }
  }

  /** Lets none begin any more, and waits for those under way. */
  async close(): Promise<void> {
    this.#isClosed = true;
    if (this.#underWay > 0) await this.#ended.promise;
  }
}
