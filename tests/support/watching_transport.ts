// A client's network that tells a test of every frame, once its header and body have passed, and can
// send files as a real one does.

import type { Connection, FileRange, Transport } from "../../shared/environment.ts";
import { limits } from "../../shared/limits.ts";
import { decodeHeader, type FrameHeader } from "../../shared/rpc/frame.ts";
import { decodeBody } from "../../shared/rpc/message_pack.ts";

export interface WatchedFrame {
  readonly direction: "sent" | "received";
  /** HOST:PORT of the server. */
  readonly remote: string;
  readonly header: FrameHeader;
  // deno-lint-ignore no-explicit-any -- tests look into messages of every method
  readonly body: any;
}

export interface WatchOptions {
  readonly onFrame?: (frame: WatchedFrame) => void;
  /** Connections have sendFile, which calls this first. */
  readonly onSendFile?: (range: FileRange) => void;
}

export class WatchingTransport implements Transport {
  readonly #inner: Transport;
  readonly #options: WatchOptions;

  constructor(inner: Transport, options: WatchOptions) {
    this.#inner = inner;
    this.#options = options;
  }

  dataPath: Transport["dataPath"] = () =>
    Promise.resolve(this.#options.onSendFile ? "zero-copy" : "streaming");

  listen: Transport["listen"] = (address) => this.#inner.listen(address);

  connect: Transport["connect"] = async (address, options) => {
    const connection = await this.#inner.connect(address, options);
    const [sent, received] = [
      this.#splitter("sent", connection),
      this.#splitter("received", connection),
    ];
    const write = (data: Uint8Array) => {
      sent.push(data);
      return connection.write(data);
    };
    const watched: Connection = {
      remote: connection.remote,
      read: async (buffer) => {
        const count = await connection.read(buffer);
        if (count !== null) received.push(buffer.subarray(0, count));
        return count;
      },
      write,
      close: () => connection.close(),
    };
    const { onSendFile } = this.#options;
    if (!onSendFile) return watched;
    return {
      ...watched,
      sendFile: async (range) => {
        onSendFile(range);
        const bytes = new Uint8Array(range.lengthBytes);
        const count = range.file.readSync(bytes, range.offsetBytes);
        await write(bytes.subarray(0, count));
        return count;
      },
    };
  };

  #splitter(direction: WatchedFrame["direction"], { remote }: Connection): FrameSplitter {
    return new FrameSplitter((header, body) => {
      this.#options.onFrame?.({ direction, remote, header, body });
    });
  }
}

/** Finds headers and bodies in a stream of frames, however it is cut. */
class FrameSplitter {
  readonly #onFrame: (header: FrameHeader, body: unknown) => void;
  /** Of the frame that has begun: its header and body as far as they have come. */
  #lead = new Uint8Array(0);
  #payloadLeftBytes = 0;

  constructor(onFrame: (header: FrameHeader, body: unknown) => void) {
    this.#onFrame = onFrame;
  }

  push(bytes: Uint8Array): void {
    while (bytes.length > 0) {
      const skipped = Math.min(this.#payloadLeftBytes, bytes.length);
      this.#payloadLeftBytes -= skipped;
      bytes = bytes.subarray(skipped);
      if (bytes.length > 0) bytes = bytes.subarray(this.#takeLead(bytes));
    }
  }

  #takeLead(bytes: Uint8Array): number {
    const header = this.#header();
    const wantedBytes = limits.frameHeaderBytes + (header?.bodyBytes ?? 0);
    const count = Math.min(wantedBytes - this.#lead.length, bytes.length);
    const lead = new Uint8Array(this.#lead.length + count);
    lead.set(this.#lead);
    lead.set(bytes.subarray(0, count), this.#lead.length);
    this.#lead = lead;
    const complete = this.#header();
    if (complete && lead.length === limits.frameHeaderBytes + complete.bodyBytes) {
      this.#lead = new Uint8Array(0);
      this.#payloadLeftBytes = complete.payloadBytes;
      this.#onFrame(complete, decodeBody(lead.subarray(limits.frameHeaderBytes)));
    }
    return count;
  }

  #header(): FrameHeader | undefined {
    if (this.#lead.length < limits.frameHeaderBytes) return undefined;
    const { buffer, byteOffset } = this.#lead;
    return decodeHeader(new DataView(buffer, byteOffset), 0, {
      bodyBytesMax: limits.replyBodyBytesMax,
      payloadBytesMax: limits.framePayloadBytesMax,
    });
  }
}
