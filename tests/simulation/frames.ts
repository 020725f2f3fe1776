// Finds the frames in what is written to a connection, for a network that repeats requests and
// damages payloads, and leaves the rest whole.

import { limits } from "../../shared/limits.ts";
import { decodeHeader, frameKind } from "../../shared/rpc/frame.ts";
import { helloOpcode } from "../../shared/rpc/hello.ts";

/** One that was written as a whole. */
export interface Frame {
  readonly bytes: Uint8Array;
  /** Another one than a hello. */
  readonly isRequest: boolean;
}

const bounds = {
  bodyBytesMax: Number.MAX_SAFE_INTEGER,
  payloadBytesMax: Number.MAX_SAFE_INTEGER,
};

export class FrameTracker {
  /** Of the frame that has begun. */
  #restBytes = 0;
  #isInPayload = false;

  get isBetweenFrames(): boolean {
    return this.#restBytes === 0;
  }

  /** Whether what was tracked last were bytes of a payload alone. */
  get isInPayload(): boolean {
    return this.#isInPayload;
  }

  /** The whole frames in what is written next. A header is never split. */
  track(data: Uint8Array): Frame[] {
    this.#isInPayload = this.#restBytes >= data.length && data.length > 0;
    const frames: Frame[] = [];
    let offset = Math.min(this.#restBytes, data.length);
    this.#restBytes -= offset;
    const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
    while (offset < data.length) {
      const header = decodeHeader(view, offset, bounds);
      const length = limits.frameHeaderBytes + header.bodyBytes + header.payloadBytes;
      const end = offset + length;
      if (end <= data.length) {
        const isRequest = header.kind === frameKind.request && header.opcode !== helloOpcode;
        frames.push({ bytes: data.subarray(offset, end), isRequest });
      }
      this.#restBytes = Math.max(0, end - data.length);
      offset = Math.min(end, data.length);
    }
    return frames;
  }
}
