// Results on standard output, messages on standard error.

import { limits } from "../../shared/limits.ts";
import { type ByteSink, writeAll } from "../transfer/byte_streams.ts";

export interface Terminal extends ByteSink {
  isTerminal(): boolean;
}

export class Output {
  readonly #sink: Terminal;
  readonly #isTerminal: boolean;
  readonly #encoder = new TextEncoder();
  #collected = "";
  /** Called around a message, for a progress bar on the same terminal. */
  beforeMessage: () => void = () => {};

  constructor(sink: Terminal) {
    this.#sink = sink;
    this.#isTerminal = sink.isTerminal();
  }

  get isTerminal(): boolean {
    return this.#isTerminal;
  }

  /** Prints a line. What is printed is collected; {@link flush} ends the command. */
  async line(text: string): Promise<void> {
    this.#collected += text + "\n";
    if (this.#collected.length >= limits.outputBufferBytes) await this.flush();
  }

  /** One document on one line. */
  json(document: unknown): Promise<void> {
    return this.line(JSON.stringify(document));
  }

  /** Prints bytes as they are, behind the lines so far. */
  async bytes(bytes: Uint8Array): Promise<void> {
    await this.flush();
    await writeAll(this.#sink, bytes, "standard output");
  }

  /** For streams of bytes. */
  asSink(): ByteSink {
    return {
      write: async (bytes) => {
        await this.bytes(bytes);
        return bytes.length;
      },
    };
  }

  async flush(): Promise<void> {
    const text = this.#collected;
    this.#collected = "";
    if (text !== "") await writeAll(this.#sink, this.#encoder.encode(text), "standard output");
  }

  /** A name as it is shown: on a terminal, control characters must not reach it. */
  name(name: string): string {
    return this.#isTerminal ? name.replace(/\p{Cc}/gu, "?") : name;
  }

  /** Says on standard error what went wrong. */
  message(text: string): void {
    this.beforeMessage();
    const line = `rustre: ${text.replace(/\p{Cc}/gu, escapeCharacter)}\n`;
    try {
      Deno.stderr.writeSync(this.#encoder.encode(line));
    } catch {
      // Nobody reads standard error; the exit status still tells.
    }
  }
}

function escapeCharacter(character: string): string {
  return JSON.stringify(character).slice(1, -1);
}

/** One row of a listing that streams, so that its widths are given. */
export function alignRow(
  row: readonly string[],
  widths: readonly number[],
  right: readonly number[],
): string {
  return row.map((cell, column) => {
    const width = widths[column] ?? 0;
    return right.includes(column) ? cell.padStart(width) : cell.padEnd(width);
  }).join("  ");
}
