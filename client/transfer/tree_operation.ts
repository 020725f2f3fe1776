// What an operation on a whole tree needs: entries that fail while the rest goes on, branches that
// run side by side.

import { isRustreError, type RustreError } from "../../shared/errors.ts";
import { limits } from "../../shared/limits.ts";
import { interrupted } from "../../shared/rpc/client.ts";
import { Semaphore } from "../../shared/semaphore.ts";
import type { FileSystem } from "../file_system.ts";

export interface TreeOptions {
  readonly signal?: AbortSignal | undefined;
  /** One entry failed; the rest goes on. Without it the first failure ends the operation. */
  readonly onFailure?: ((error: RustreError) => void) | undefined;
}

export class TreeOperation {
  readonly fileSystem: FileSystem;
  readonly signal: AbortSignal | undefined;
  /** Branches of the tree that are walked at once. */
  readonly branches = new Semaphore(limits.branchesInFlight);
  readonly #onFailure: TreeOptions["onFailure"];
  #failures = 0;

  constructor(fileSystem: FileSystem, { signal, onFailure }: TreeOptions) {
    this.fileSystem = fileSystem;
    this.signal = signal;
    this.#onFailure = onFailure;
  }

  /** Entries that failed, each reported. */
  get failures(): number {
    return this.#failures;
  }

  /**
   * Runs the work on one entry; tells whether it succeeded. An interruption, a bug, or a failure
   * that nobody listens to is thrown, and so ends everything.
   */
  async entry(task: () => Promise<void>): Promise<boolean> {
    try {
      this.throwIfInterrupted();
      await task();
      return true;
    } catch (error) {
      this.throwIfInterrupted();
      if (!isRustreError(error) || !this.#onFailure) throw error;
      this.#failures++;
      this.#onFailure(error);
      return false;
    }
  }

  throwIfInterrupted(): void {
    if (this.signal?.aborted) throw interrupted(this.signal);
  }
}
