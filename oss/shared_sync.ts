// One sync at a time of one thing, shared by all who ask for it: a sync costs milliseconds, whoever
// comes while one runs waits for the next, and all who wait share that one. So do those who ask at
// the same time, as the requests of one arrival do, before the first of them has begun one.

/**
 * After a failure the system may have dropped what it could not write and report success the next
 * time. So a failure is for good: every later request fails with it.
 */
export class SharedSync {
  readonly #run: () => Promise<void>;
  #running: Promise<void> | undefined;
  #next: Promise<void> | undefined;
  #failure: unknown;
  #paused: Promise<void> | undefined;

  constructor(run: () => Promise<void>) {
    this.#run = run;
  }

  /** Resolves after a run that began after this call. */
  request(): Promise<void> {
    if (this.#next) return this.#next;
    const start = () => {
      this.#next = undefined;
      return this.#start();
    };
    // A failed run has told those who asked for it; start() repeats it to those who wait.
    return this.#next = (this.#running ?? Promise.resolve()).then(start, start);
  }

  /** Resolves when none runs; the next one begins when `until` has resolved. */
  async pause(until: Promise<void>): Promise<void> {
    const running = this.#running;
    this.#paused = until;
    // Whoever asked for it is told how it ended.
    await running?.catch(() => {});
  }

  /** As if a run had failed: somebody else was told of a failure that may concern this one. */
  fail(error: unknown): void {
    this.#failure ??= error;
  }

  async #start(): Promise<void> {
    if (this.#failure !== undefined) throw this.#failure;
    this.#running = this.#runOnce();
    await this.#running;
  }

  async #runOnce(): Promise<void> {
    try {
      if (this.#paused) {
        await this.#paused;
        if (this.#failure !== undefined) throw this.#failure;
      }
      await this.#run();
    } catch (error) {
      this.#failure = error;
      throw error;
    } finally {
      this.#running = undefined;
    }
  }
}

/** A directory whose entries are synced when they changed and somebody needs them on disk. */
export class DurableDirectory {
  /** What an earlier process left is not known to be on disk, so a new one starts with a change. */
  #changes = 1;
  #syncedChanges = 0;
  readonly #sync: SharedSync;

  constructor(syncDirectory: () => Promise<void>) {
    this.#sync = new SharedSync(async () => {
      const changes = this.#changes;
      await syncDirectory();
      this.#syncedChanges = changes;
    });
  }

  /** To be called after each entry that is made or removed. */
  changed(): void {
    this.#changes++;
  }

  get isDurable(): boolean {
    return this.#syncedChanges === this.#changes;
  }

  /** Every change so far is on disk when this resolves. */
  async makeDurable(): Promise<void> {
    if (!this.isDurable) await this.#sync.request();
  }
}
