// A client's network that loses chosen replies: the server has carried out the request, the
// connection breaks before the answer arrives. Everything else passes.

import type { Connection, Transport } from "../../shared/environment.ts";
import { limits } from "../../shared/limits.ts";
import { decodeHeader, frameKind } from "../../shared/rpc/frame.ts";

export class LossyTransport implements Transport {
  readonly #inner: Transport;
  /** By opcode, how many replies are still to be lost. */
  readonly #toLose = new Map<number, number>();
  /** Opcodes of the replies that were lost, in order. */
  readonly lost: number[] = [];

  constructor(inner: Transport) {
    this.#inner = inner;
  }

  /** Loses the next `count` replies that report success of the method with `opcode`. */
  loseReplies(opcode: number, count = 1): void {
    this.#toLose.set(opcode, (this.#toLose.get(opcode) ?? 0) + count);
  }

  dataPath: Transport["dataPath"] = () => Promise.resolve("streaming");

  listen: Transport["listen"] = (address) => this.#inner.listen(address);

  connect: Transport["connect"] = async (address, options) =>
    new LossyConnection(await this.#inner.connect(address, options), (opcode) => {
      const left = this.#toLose.get(opcode) ?? 0;
      if (left === 0) return false;
      this.#toLose.set(opcode, left - 1);
      this.lost.push(opcode);
      return true;
    });
}

class LossyConnection implements Connection {
  readonly remote: string;
  readonly #inner: Connection;
  readonly #loses: (opcode: number) => boolean;
  /** Received, not yet a whole frame. */
  #partial = new Uint8Array(0);
  /** Whole frames that may be read. */
  #ready = new Uint8Array(0);
  #ended = false;

  constructor(inner: Connection, loses: (opcode: number) => boolean) {
    this.remote = inner.remote;
    this.#inner = inner;
    this.#loses = loses;
  }

  async read(buffer: Uint8Array): Promise<number | null> {
    const chunk = new Uint8Array(64 * 1024);
    while (this.#ready.length === 0) {
      const count = this.#ended ? null : await this.#inner.read(chunk);
      if (count === null) return null;
      this.#partial = concat(this.#partial, chunk.subarray(0, count));
      this.#takeFrames();
    }
    const count = Math.min(buffer.length, this.#ready.length);
    buffer.set(this.#ready.subarray(0, count));
    this.#ready = this.#ready.slice(count);
    return count;
  }

  write(data: Uint8Array): Promise<void> {
    return this.#inner.write(data);
  }

  close(): void {
    this.#inner.close();
  }

  #takeFrames(): void {
    while (this.#partial.length >= limits.frameHeaderBytes) {
      const header = decodeHeader(new DataView(this.#partial.buffer), 0, {
        bodyBytesMax: limits.replyBodyBytesMax,
        payloadBytesMax: limits.framePayloadBytesMax,
      });
      const length = limits.frameHeaderBytes + header.bodyBytes + header.payloadBytes;
      if (this.#partial.length < length) return;
      if (header.kind === frameKind.reply && this.#loses(header.opcode)) {
        this.#ended = true;
        this.#inner.close();
        return;
      }
      this.#ready = concat(this.#ready, this.#partial.subarray(0, length));
      this.#partial = this.#partial.slice(length);
    }
  }
}

function concat(left: Uint8Array, right: Uint8Array): Uint8Array<ArrayBuffer> {
  const both = new Uint8Array(left.length + right.length);
  both.set(left);
  both.set(right, left.length);
  return both;
}
