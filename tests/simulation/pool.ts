// Runs seeds on several threads, each seed wholly on one.

import type { RunOptions, RunResult } from "./simulation.ts";

export class SimulationPool implements Disposable {
  readonly threads: number;
  readonly #idle: Worker[];
  readonly #all: readonly Worker[];
  readonly #waiting: ((worker: Worker) => void)[] = [];

  constructor(threads: number) {
    this.threads = threads;
    const script = new URL("./worker.ts", import.meta.url);
    this.#all = Array.from({ length: threads }, () => new Worker(script, { type: "module" }));
    this.#idle = [...this.#all];
  }

  async run(options: RunOptions): Promise<RunResult> {
    const worker = this.#idle.pop() ??
      await new Promise<Worker>((resolve) => this.#waiting.push(resolve));
    try {
      return await answerOf(worker, options);
    } finally {
      const next = this.#waiting.shift();
      if (next) next(worker);
      else this.#idle.push(worker);
    }
  }

  /** Runs `count` seeds from `first` on, until `onResult` says that it is enough. */
  async runSeeds(
    { first, count, bug }: { first: number; count: number; bug?: string | undefined },
    onResult: (result: RunResult) => "go on" | "enough",
  ): Promise<void> {
    let next = first;
    let isEnough = false;
    const runSome = async () => {
      while (!isEnough && next < first + count) {
        const result = await this.run({ seed: next++, bug });
        if (!isEnough && onResult(result) === "enough") isEnough = true;
      }
    };
    await Promise.all(Array.from({ length: this.threads }, runSome));
  }

  [Symbol.dispose](): void {
    for (const worker of this.#all) worker.terminate();
  }
}

function answerOf(worker: Worker, options: RunOptions): Promise<RunResult> {
  return new Promise((resolve, reject) => {
    worker.onmessage = ({ data }: MessageEvent<RunResult>) => resolve(data);
    worker.onerror = (event) => {
      event.preventDefault();
      reject(new Error(`The thread of seed ${options.seed} ended: ${event.message}`));
    };
    worker.postMessage(options);
  });
}

/** The command that runs this seed again, exactly. */
export function replayLine({ seed, bug }: { seed: number; bug?: string | undefined }): string {
  return `deno task sim --seed ${seed}${bug === undefined ? "" : ` --bug "${bug}"`}`;
}
