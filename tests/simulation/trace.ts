// Everything that happens in a simulated run, as one hash: two runs of a seed are the same if their
// hashes are. The last lines are kept, for whoever looks at a failure.

/** What a line of the trace is about. */
export type EventKind =
  | "timer"
  | "message"
  | "connection"
  | "read"
  | "commit"
  | "disk"
  | "fault"
  | "operation"
  | "result";

const keptLines = 40_000;

export class Trace {
  /** Two lanes of FNV-1a with different starts: 64 bits. */
  #low = 0x811c9dc5;
  #high = 0xcbf29ce4;
  #events = 0;
  readonly #lines: string[] = [];
  readonly #print: boolean;

  /** `print`: whether lines are kept to be shown. */
  constructor({ print = false }: { print?: boolean } = {}) {
    this.#print = print;
  }

  /** How many events there were. */
  get events(): number {
    return this.#events;
  }

  get hash(): string {
    const hex = (lane: number) => (lane >>> 0).toString(16).padStart(8, "0");
    return hex(this.#high) + hex(this.#low);
  }

  add(atMs: number, kind: EventKind, host: string, what: string): void {
    this.#events++;
    const line = `${atMs.toFixed(3)} ${kind} ${host} ${what}`;
    for (let index = 0; index < line.length; index++) this.#mix(line.charCodeAt(index));
    if (!this.#print) return;
    this.#lines.push(line);
    if (this.#lines.length > 2 * keptLines) this.#lines.splice(0, keptLines);
  }

  /** The newest lines. */
  lines(): readonly string[] {
    return this.#lines;
  }

  #mix(unit: number): void {
    this.#low = Math.imul(this.#low ^ unit, 0x01000193);
    this.#high = Math.imul(this.#high ^ unit, 0x01000193) + 0x9e37;
  }
}

/** A short number for some bytes: all of a small message, samples of a large one. */
export function digest(bytes: Uint8Array): string {
  let hash = 0x811c9dc5 ^ bytes.length;
  const step = Math.max(1, Math.floor(bytes.length / 256));
  for (let index = 0; index < bytes.length; index += step) {
    hash = Math.imul(hash ^ bytes[index]!, 0x01000193);
  }
  return (hash >>> 0).toString(16);
}
