// A client's network that changes bytes on their way: one bit of the payload of chosen frames, in
// either direction.

import type { Connection, Transport } from "../../shared/environment.ts";
import { limits } from "../../shared/limits.ts";
import { decodeHeader, type FrameHeader } from "../../shared/rpc/frame.ts";

export type Direction = "sent" | "received";

export class TamperingTransport implements Transport {
  readonly #inner: Transport;
  /** By direction and opcode, how many payloads are still to be changed. */
  readonly #toChange = new Map<string, number>();
  /** How many were changed. */
  changed = 0;

  constructor(inner: Transport) {
    this.#inner = inner;
  }

  /** Flips a bit in each of the next `count` payloads of the method with `opcode`. */
  change(direction: Direction, opcode: number, count = 1): void {
    this.#toChange.set(`${direction} ${opcode}`, count);
  }

  dataPath: Transport["dataPath"] = () => this.#inner.dataPath();

  listen: Transport["listen"] = (address) => this.#inner.listen(address);

  connect: Transport["connect"] = async (address, options) => {
    const connection = await this.#inner.connect(address, options);
    const [sent, received] = [this.#tamperer("sent"), this.#tamperer("received")];
    return {
      remote: connection.remote,
      read: async (buffer) => {
        const count = await connection.read(buffer);
        if (count !== null) received(buffer.subarray(0, count));
        return count;
      },
      write: (data) => {
        const copy = data.slice();
        sent(copy);
        return connection.write(copy);
      },
      close: () => connection.close(),
    } satisfies Connection;
  };

  #tamperer(direction: Direction): (bytes: Uint8Array) => void {
    const cursor = new PayloadCursor();
    return (bytes) => {
      for (const { header, start } of cursor.payloadStarts(bytes)) {
        const key = `${direction} ${header.opcode}`;
        const left = this.#toChange.get(key) ?? 0;
        if (left === 0) continue;
        this.#toChange.set(key, left - 1);
        this.changed++;
        bytes[start]! ^= 0x10;
      }
    };
  }
}

/** Finds where payloads begin in a stream of frames, however it is cut. */
class PayloadCursor {
  readonly #lead = new Uint8Array(limits.frameHeaderBytes);
  #leadBytes = 0;
  #header: FrameHeader | undefined;
  #bodyLeftBytes = 0;
  #payloadLeftBytes = 0;

  *payloadStarts(bytes: Uint8Array): Generator<{ header: FrameHeader; start: number }> {
    for (let start = 0; start < bytes.length;) {
      const header = this.#header;
      if (!header) start += this.#takeHeader(bytes.subarray(start));
      else if (this.#bodyLeftBytes > 0) {
        const count = Math.min(this.#bodyLeftBytes, bytes.length - start);
        this.#bodyLeftBytes -= count;
        start += count;
      } else {
        if (this.#payloadLeftBytes === header.payloadBytes) yield { header, start };
        const count = Math.min(this.#payloadLeftBytes, bytes.length - start);
        this.#payloadLeftBytes -= count;
        start += count;
      }
      if (this.#bodyLeftBytes + this.#payloadLeftBytes === 0) this.#header = undefined;
    }
  }

  #takeHeader(bytes: Uint8Array): number {
    const count = Math.min(this.#lead.length - this.#leadBytes, bytes.length);
    this.#lead.set(bytes.subarray(0, count), this.#leadBytes);
    this.#leadBytes += count;
    if (this.#leadBytes < this.#lead.length) return count;
    this.#leadBytes = 0;
    this.#header = decodeHeader(new DataView(this.#lead.buffer), 0, {
      bodyBytesMax: limits.replyBodyBytesMax,
      payloadBytesMax: limits.framePayloadBytesMax,
    });
    this.#bodyLeftBytes = this.#header.bodyBytes;
    this.#payloadLeftBytes = this.#header.payloadBytes;
    return count;
  }
}
