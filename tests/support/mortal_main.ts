// rustre with workers that can be killed: each SIGUSR2 lets one of them meet a bug, in turns, and
// each SIGUSR1 worker 0.

import { main } from "../../main.ts";

/** By the index of the worker, which is in its name: the newest of that place. */
const workers = new Map<string, Worker>();
let next = 0;

class MortalWorker extends Worker {
  constructor(_script: string | URL, options: WorkerOptions = {}) {
    super(import.meta.resolve("./mortal_worker.ts"), options);
    workers.set(options.name?.split(".")[0] ?? "", this);
  }
}

globalThis.Worker = MortalWorker;
Deno.addSignalListener("SIGUSR2", () => {
  const all = [...workers.values()];
  all[next++ % all.length]?.postMessage({ type: "die" });
});
Deno.addSignalListener("SIGUSR1", () => [...workers.values()][0]?.postMessage({ type: "die" }));
Deno.exit(await main(Deno.args));
