// What all parts of one upload or download share: the file system, the bounds, who is told about
// progress and failures.

import type { Environment } from "../../shared/environment.ts";
import { isRustreError, type RustreError } from "../../shared/errors.ts";
import { limits } from "../../shared/limits.ts";
import type { LayoutWish } from "../../shared/model.ts";
import { systemEnvironment } from "../../shared/platform.ts";
import { interrupted } from "../../shared/rpc/client.ts";
import { Semaphore } from "../../shared/semaphore.ts";
import type { FileSystem } from "../file_system.ts";
import type { StreamOptions } from "./byte_streams.ts";

export interface TransferOptions {
  readonly signal?: AbortSignal | undefined;
  /** Take the place of existing files. */
  readonly replace?: boolean | undefined;
  /** Of an upload: of the new files; what is absent comes from their directory. */
  readonly layout?: LayoutWish | undefined;
  /** One entry of a tree failed; the rest goes on. Without it the first failure ends the transfer. */
  readonly onFailure?: ((error: RustreError) => void) | undefined;
  /** So many bytes are known to be there to move, and so many have been moved, in all. */
  readonly onProgress?: ((progress: TransferProgress) => void) | undefined;
  /** The real one by default. */
  readonly environment?: Environment | undefined;
}

export interface TransferProgress {
  /** Of a tree: so far. Of a stream, whose length nobody knows: 0. */
  readonly expectedBytes: number;
  readonly movedBytes: number;
}

export interface TransferSummary {
  readonly files: number;
  readonly directories: number;
  readonly symlinks: number;
  readonly bytes: number;
  /** Entries that were left out, each reported. */
  readonly failures: number;
}

type Counted = "files" | "directories" | "symlinks";

export class Transfer {
  readonly fileSystem: FileSystem;
  readonly options: TransferOptions;
  readonly environment: Environment;
  /** Data requests of all files. */
  readonly requests = new Semaphore(limits.transferRequestsInFlight);
  readonly files = new Semaphore(limits.filesInFlight);
  readonly branches = new Semaphore(limits.branchesInFlight);
  readonly #counts = { files: 0, directories: 0, symlinks: 0, failures: 0 };
  #expectedBytes = 0;
  #movedBytes = 0;

  constructor(fileSystem: FileSystem, options: TransferOptions) {
    this.fileSystem = fileSystem;
    this.options = options;
    this.environment = options.environment ?? systemEnvironment();
  }

  get signal(): AbortSignal | undefined {
    return this.options.signal;
  }

  get summary(): TransferSummary {
    return { ...this.#counts, bytes: this.#movedBytes };
  }

  get streamOptions(): StreamOptions {
    const { requests, signal } = this;
    return { requests, signal, onMoved: (bytes) => this.moved(bytes) };
  }

  expect(bytes: number): void {
    this.#expectedBytes += bytes;
    this.#tell();
  }

  moved(bytes: number): void {
    this.#movedBytes += bytes;
    this.#tell();
  }

  count(what: Counted): void {
    this.#counts[what]++;
  }

  /**
   * Runs the transfer of one entry. That it fails is reported, and the rest goes on; an
   * interruption, a bug, or a failure that nobody listens to ends everything.
   */
  async entry(task: () => Promise<void>): Promise<boolean> {
    const { onFailure } = this.options;
    try {
      this.throwIfInterrupted();
      await task();
      return true;
    } catch (error) {
      this.throwIfInterrupted();
      if (!isRustreError(error) || !onFailure) throw error;
      this.#counts.failures++;
      onFailure(error);
      return false;
    }
  }

  throwIfInterrupted(): void {
    if (this.signal?.aborted) throw interrupted(this.signal);
  }

  #tell(): void {
    const progress = { expectedBytes: this.#expectedBytes, movedBytes: this.#movedBytes };
    this.options.onProgress?.(progress);
  }
}
