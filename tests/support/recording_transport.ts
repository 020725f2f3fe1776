// A network that notes which requests and replies pass through it, in order.

import type { Connection, Transport } from "../../shared/environment.ts";
import { limits } from "../../shared/limits.ts";
import { decodeHeader, frameKind } from "../../shared/rpc/frame.ts";

export interface FrameEvent {
  readonly what: "request" | "reply";
  readonly opcode: number;
}

export class RecordingTransport implements Transport {
  readonly #inner: Transport;
  #events: FrameEvent[] = [];

  constructor(inner: Transport) {
    this.#inner = inner;
  }

  /** What has passed since the last call. */
  take(): FrameEvent[] {
    const events = this.#events;
    this.#events = [];
    return events;
  }

  dataPath: Transport["dataPath"] = () => Promise.resolve("streaming");

  listen: Transport["listen"] = (address) => this.#inner.listen(address);

  connect: Transport["connect"] = async (address, options) => {
    const connection = await this.#inner.connect(address, options);
    const [sent, received] = [new FrameSplitter(), new FrameSplitter()];
    const note = (splitter: FrameSplitter, bytes: Uint8Array) => {
      for (const { kind, opcode } of splitter.push(bytes)) {
        this.#events.push({ what: kind === frameKind.request ? "request" : "reply", opcode });
      }
    };
    return {
      remote: connection.remote,
      read: async (buffer) => {
        const count = await connection.read(buffer);
        if (count !== null) note(received, buffer.subarray(0, count));
        return count;
      },
      write: (data) => {
        note(sent, data);
        return connection.write(data);
      },
      close: () => connection.close(),
    } satisfies Connection;
  };
}

/** Finds the headers in a stream of frames. */
class FrameSplitter {
  #header = new Uint8Array(limits.frameHeaderBytes);
  #headerBytes = 0;
  #restBytes = 0;

  *push(bytes: Uint8Array): Generator<{ kind: number; opcode: number }> {
    for (let offset = 0; offset < bytes.length;) {
      const skipped = Math.min(this.#restBytes, bytes.length - offset);
      this.#restBytes -= skipped;
      offset += skipped;
      const part = bytes.subarray(offset, offset + this.#header.length - this.#headerBytes);
      this.#header.set(part, this.#headerBytes);
      this.#headerBytes += part.length;
      offset += part.length;
      if (this.#headerBytes < this.#header.length) continue;
      const header = decodeHeader(new DataView(this.#header.buffer), 0, {
        bodyBytesMax: limits.replyBodyBytesMax,
        payloadBytesMax: limits.framePayloadBytesMax,
      });
      this.#headerBytes = 0;
      this.#restBytes = header.bodyBytes + header.payloadBytes;
      yield header;
    }
  }
}
