// What a store answers writes with, so that a sync can tell whether it still has them: it changes
// whenever writes that were not synced may have been lost.
//
// - They are in the system's cache, which outlives this process and not the system: the verifier is
//   that of the running system.
// - When a sync fails, the system has dropped what it could not write, and tells so once; a later
//   process would find the bytes in the cache and be told that they are on disk. So a failure is
//   noted in a file, for that process to have another verifier:
//
//     {directory}/sync_failure     32 random hexadecimal digits, others after each failure

import { type Random, randomHex } from "../shared/environment.ts";
import { messageOf } from "../shared/errors.ts";
import type { Logger } from "../shared/logging.ts";
import type { Files } from "./files.ts";
import { writeAll } from "./journal.ts";
import { readFully } from "./journal_reader.ts";

const name = "sync_failure";
const digits = 32;

export interface WriteVerifierOptions {
  readonly files: Files;
  readonly directory: string;
  readonly random: Random;
  readonly log: Logger;
}

export class WriteVerifier {
  /** 32 hexadecimal digits. */
  readonly value: string;
  readonly #options: WriteVerifierOptions;

  constructor(options: WriteVerifierOptions) {
    this.#options = options;
    // Where the system cannot be told from the one before, every start might be after a loss.
    const system = options.files.bootId() ?? randomHex(options.random, digits / 2);
    const failure = this.#lastFailure();
    this.value = failure === undefined ? system : combined(system, failure);
  }

  /** The next process has another verifier, unless the disk does not even take that. */
  async noteFailure(): Promise<void> {
    const { files, directory, random, log } = this.#options;
    // Workers share the directory.
    const failure = randomHex(random, digits / 2);
    const draft = `${directory}/${name}.${failure}`;
    try {
      const file = files.create(draft);
      if (!file) return;
      try {
        writeAll(file, new TextEncoder().encode(failure), 0);
        await file.sync();
      } finally {
        file.close();
      }
      files.rename(draft, `${directory}/${name}`);
      await files.syncDirectory(directory);
    } catch (error) {
      log.error("Cannot note that a sync has failed", { directory, reason: messageOf(error) });
    }
  }

  #lastFailure(): string | undefined {
    const { files, directory, random } = this.#options;
    const file = files.open(`${directory}/${name}`);
    if (!file) return undefined;
    try {
      const bytes = new Uint8Array(digits);
      const text = readFully(file, bytes, 0) ? new TextDecoder().decode(bytes) : "";
      // One that is damaged might be that of any failure.
      return /^[0-9a-f]{32}$/.test(text) ? text : randomHex(random, digits / 2);
    } finally {
      file.close();
    }
  }
}

function combined(a: string, b: string): string {
  return (BigInt(`0x${a}`) ^ BigInt(`0x${b}`)).toString(16).padStart(digits, "0");
}
