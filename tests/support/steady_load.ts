// Operations that go on while servers come and go. Every one of them shows afterwards whether it was
// carried out once: no name is used twice, and what was unlinked, renamed or linked is counted.

import assert from "node:assert/strict";
import type { FileSystem } from "../../client/mod.ts";

export interface SteadyLoadOptions {
  readonly clients: readonly FileSystem[];
  /** Operations that each client has under way. */
  readonly inFlight: number;
  /** Of the files with content. */
  readonly replicas?: number;
  /** Whether files get content, or only names. */
  readonly withData?: boolean;
}

/** How long one operation took. */
export interface LongestOperation {
  readonly what: string;
  readonly tookMs: number;
}

export class SteadyLoad {
  readonly #options: SteadyLoadOptions;
  readonly #running: Promise<void>;
  /** What is to be there, by path: the content, or nothing for a file without. */
  readonly #kept = new Map<string, string | undefined>();
  #stopping = false;
  #count = 0;
  #longest: LongestOperation = { what: "nothing", tookMs: 0 };

  private constructor(options: SteadyLoadOptions) {
    this.#options = options;
    this.#running = this.#run();
    // Whoever awaits a step of the load, or stops it, gets the failure.
    this.#running.catch(() => {});
  }

  /** Makes its directory, and goes on until it is stopped. */
  static async start(options: SteadyLoadOptions): Promise<SteadyLoad> {
    await options.clients[0]!.mkdir("/load");
    return new SteadyLoad(options);
  }

  /** Operations done so far. */
  get count(): number {
    return this.#count;
  }

  /** The longest operation that ended since the last call, or is still under way. */
  takeLongest(): LongestOperation {
    const longest = this.#longest;
    this.#longest = { what: "nothing", tookMs: 0 };
    return longest;
  }

  /** `step`, unless an operation fails first: then it rejects with that failure. */
  async during<T>(step: Promise<T>): Promise<T> {
    const failed = this.#running.then(() => {
      throw new Error("The load has ended");
    });
    failed.catch(() => {});
    return await Promise.race([step, failed]);
  }

  /** Resolves when so many more operations are done. */
  async progress(operations: number): Promise<void> {
    const enough = this.#count + operations;
    const task = async () => {
      while (this.#count < enough) await new Promise((resolve) => setTimeout(resolve, 10));
    };
    await this.during(task());
  }

  /** Rejects where any operation has failed. */
  async stop(): Promise<void> {
    this.#stopping = true;
    await this.#running;
  }

  /** Compares what is there with what was done; each name and each link counts. */
  async check(fileSystem: FileSystem): Promise<void> {
    const names = await Array.fromAsync(fileSystem.readdir("/load"), ({ name }) => `/load/${name}`);
    assert.deepEqual(names.sort(), [...this.#kept.keys()].sort());
    for (const [path, content] of this.#kept) {
      const { links } = await fileSystem.stat(path);
      assert.equal(links, path.endsWith(".a") || path.endsWith(".b") ? 2 : 1, path);
      if (content !== undefined) assert.equal(await readText(fileSystem, path), content, path);
    }
  }

  async #run(): Promise<void> {
    const { clients, inFlight } = this.#options;
    try {
      await Promise.all(
        clients.flatMap((client, who) =>
          Array.from({ length: inFlight }, async (_, lane) => {
            for (let round = 0; !this.#stopping; round++) {
              await this.#round(client, `/load/${who}-${lane}-${round}`, round % 4);
            }
          })
        ),
      );
    } finally {
      this.#stopping = true;
    }
  }

  async #round(client: FileSystem, path: string, kind: number): Promise<void> {
    const withData = kind === 0 && this.#options.withData !== false;
    const text = withData ? `content of ${path}` : undefined;
    if (text === undefined) await this.#timed(`create ${path}`, () => client.createEmpty(path));
    else await this.#timed(`put ${path}`, () => this.#put(client, path, text));
    await this.#timed(`stat ${path}`, () => client.stat(path));
    if (kind === 1) {
      await this.#timed(`unlink ${path}`, () => client.unlink(path));
    } else if (kind === 2) {
      await this.#timed(`link ${path}`, () => client.link(path, `${path}.a`));
      await this.#timed(`rename ${path}`, () => client.rename(path, `${path}.b`));
      this.#kept.set(`${path}.a`, text).set(`${path}.b`, text);
    } else {
      this.#kept.set(path, text);
    }
  }

  async #put(client: FileSystem, path: string, text: string): Promise<void> {
    const { replicas = 1 } = this.#options;
    await using file = await client.create(path, { layout: { replicas } });
    await file.write(0, new TextEncoder().encode(text));
    await file.close();
  }

  async #timed(what: string, operation: () => Promise<unknown>): Promise<void> {
    const startMs = performance.now();
    try {
      await operation();
    } catch (error) {
      const tookMs = Math.round(performance.now() - startMs);
      throw new Error(`Cannot ${what}: it failed after ${tookMs} ms`, { cause: error });
    }
    const tookMs = performance.now() - startMs;
    if (tookMs > this.#longest.tookMs) this.#longest = { what, tookMs };
    this.#count++;
  }
}

async function readText(fileSystem: FileSystem, path: string): Promise<string> {
  await using file = await fileSystem.open(path);
  return new TextDecoder().decode(await file.read(0, 1_000_000));
}
