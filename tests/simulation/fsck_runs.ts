// Checks of a cluster that is used and in which things fail: they may not get far, but must find
// nothing, and repair nothing.

import { fsck, type FsckSummary } from "../../mds/fsck/fsck.ts";
import { isRustreError } from "../../shared/errors.ts";
import { loggerOf } from "../../shared/logging.ts";
import type { SeededRandom } from "../support/seeded_random.ts";
import { type Hosts, show } from "./hosts.ts";
import type { HostProcess } from "./process.ts";
import { mgsAddresses } from "./servers.ts";

/** Where checks run while the cluster is used. */
export const checkingHost = "admin";

export class FsckRuns {
  readonly #hosts: Hosts;
  readonly #random: SeededRandom;
  readonly #fail: (reason: string) => void;
  readonly #stop = new AbortController();

  constructor(hosts: Hosts, random: SeededRandom, fail: (reason: string) => void) {
    this.#hosts = hosts;
    this.#random = random;
    this.#fail = fail;
  }

  /** One after the other in this process, until the {@link stop}. */
  start(process: HostProcess): void {
    this.#run(process).catch((error) => this.#fail(`fsck: ${show(error)}`));
  }

  stop(): void {
    this.#stop.abort();
  }

  async #run(process: HostProcess): Promise<void> {
    const { signal } = this.#stop;
    while (!signal.aborted) {
      await process.after(this.#random.below(500), "timer", "think");
      const repair = this.#random.below(2) === 0;
      const pageEntries = [3, 20, 4096][this.#random.below(3)]!;
      try {
        const summary = await runFsck(this.#hosts, process, this.#fail, {
          ...{ repair, pageEntries, signal },
        });
        this.#hosts.traceOf("result", process.host, JSON.stringify(summary));
      } catch (error) {
        // The store, or every mgs, cannot be reached; or another one repairs.
        if (!isRustreError(error)) throw error;
        this.#hosts.traceOf("result", process.host, `${error.code} ${error.message}`);
      }
    }
  }
}

/** One check. Whatever it finds is a failure. */
export function runFsck(
  hosts: Hosts,
  process: HostProcess,
  fail: (reason: string) => void,
  { repair, pageEntries, signal }: {
    readonly repair: boolean;
    readonly pageEntries: number;
    readonly signal?: AbortSignal;
  },
): Promise<FsckSummary> {
  hosts.traceOf("operation", process.host, `fsck ${repair} ${pageEntries}`);
  return fsck({
    ...{ environment: process.environment, store: hosts.storeOf(process) },
    ...{ clusterName: "test", mgs: mgsAddresses, log: loggerOf("client") },
    // A false alarm that is repaired is the worst one.
    ...{ repair, deleteOrphans: repair, pageEntries, signal },
    onFinding: ({ kind, message, outcome }) => fail(`fsck: ${kind}, ${outcome}: ${message}`),
  });
}
