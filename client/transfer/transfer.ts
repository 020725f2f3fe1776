// What all parts of one upload or download share: the bounds, the counts, who is told of them.

import type { Environment } from "../../shared/environment.ts";
import { RustreError } from "../../shared/errors.ts";
import { limits } from "../../shared/limits.ts";
import type { LayoutWish } from "../../shared/model.ts";
import { systemEnvironment } from "../../shared/platform.ts";
import { Semaphore } from "../../shared/semaphore.ts";
import type { FileSystem } from "../file_system.ts";
import type { StreamOptions } from "./byte_streams.ts";
import { TransferBuffers } from "./transfer_buffers.ts";
import { TreeOperation, type TreeOptions } from "./tree_operation.ts";

export interface TransferOptions extends TreeOptions {
  /**
   * Take directories with what is in them, and symbolic links as links. Without it a directory is
   * refused, and a link at the end of the source's path is followed.
   */
  readonly recursive?: boolean | undefined;
  /** Take the place of existing files. */
  readonly replace?: boolean | undefined;
  /** Of an upload: of the new files; what is absent comes from their directory. */
  readonly layout?: LayoutWish | undefined;
  readonly onProgress?: ((progress: TransferProgress) => void) | undefined;
  /** The real one by default. */
  readonly environment?: Environment | undefined;
}

export interface TransferProgress {
  /** What there is to move, as far as it is known: a tree grows as it is walked. */
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

export class Transfer extends TreeOperation {
  readonly environment: Environment;
  readonly replace: boolean;
  readonly layout: LayoutWish | undefined;
  /** Files at once. */
  readonly files = new Semaphore(limits.filesInFlight);
  /** Of all files: the memory that the transfer takes. */
  readonly buffers = new TransferBuffers();
  /** Of the local files that it makes. */
  readonly localOwner = { uid: Deno.uid(), gid: Deno.gid() };
  readonly #onProgress: TransferOptions["onProgress"];
  readonly #counts = { files: 0, directories: 0, symlinks: 0 };
  #expectedBytes = 0;
  #movedBytes = 0;

  constructor(fileSystem: FileSystem, options: TransferOptions) {
    super(fileSystem, options);
    this.environment = options.environment ?? systemEnvironment();
    this.replace = options.replace ?? false;
    this.layout = options.layout;
    this.#onProgress = options.onProgress;
  }

  get summary(): TransferSummary {
    return { ...this.#counts, bytes: this.#movedBytes, failures: this.failures };
  }

  get streamOptions(): StreamOptions {
    const { buffers, signal } = this;
    return { buffers, signal, onMoved: (bytes) => this.moved(bytes) };
  }

  /** Whether local files are best sent by the connection itself. */
  async isZeroCopy(): Promise<boolean> {
    return await this.environment.transport.dataPath() === "zero-copy";
  }

  expect(bytes: number): void {
    this.#expectedBytes += bytes;
    this.#tell();
  }

  moved(bytes: number): void {
    this.#movedBytes += bytes;
    this.#tell();
  }

  count(what: "files" | "directories" | "symlinks"): void {
    this.#counts[what]++;
  }

  #tell(): void {
    const progress = { expectedBytes: this.#expectedBytes, movedBytes: this.#movedBytes };
    this.#onProgress?.(progress);
  }
}

export function isDirectory(action: string): RustreError {
  return new RustreError("EISDIR", `Cannot ${action}: is a directory, which only -r takes`);
}
