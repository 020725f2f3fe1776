// Frames on a connection: `fixed header | MessagePack body | raw payload`. This file has the header;
// frame_reader.ts and frame_writer.ts move frames, message_pack.ts their bodies. docs/protocol.md has
// the byte table.

import { RustreError } from "../errors.ts";
import { limits } from "../limits.ts";

/** "RSTR", little-endian. */
const magic = 0x5254_5352;
/** Of the header itself; what the bodies mean is the protocol version of the hello. */
const frameVersion = 1;

export const headerBytes = limits.frameHeaderBytes;
/** Of the buffers for each direction; a connection that says no more than hello has smaller ones. */
export const bufferBytes = 64 * 1024;
export const firstBufferBytes = 4 * 1024;

export const frameKind = { request: 0, reply: 1, error: 2 } as const;
export type FrameKind = (typeof frameKind)[keyof typeof frameKind];

export interface FrameHeader {
  readonly kind: FrameKind;
  readonly opcode: number;
  /** Chosen by the caller; the reply carries it back. */
  readonly requestId: number;
  readonly bodyBytes: number;
  readonly payloadBytes: number;
}

export interface Frame extends FrameHeader {
  /** The decoded body, or `undefined` where it was none. Not validated. */
  readonly body: unknown;
  readonly payload: Uint8Array;
}

/** What a peer may send. */
export interface FrameBounds {
  readonly bodyBytesMax: number;
  readonly payloadBytesMax: number;
}

export function encodeHeader(into: DataView, offset: number, header: FrameHeader): void {
  into.setUint32(offset, magic, true);
  into.setUint8(offset + 4, frameVersion);
  into.setUint8(offset + 5, header.kind);
  into.setUint16(offset + 6, header.opcode, true);
  into.setUint32(offset + 8, header.requestId, true);
  into.setUint32(offset + 12, header.bodyBytes, true);
  into.setUint32(offset + 16, header.payloadBytes, true);
  into.setUint32(offset + 20, 0, true);
}

/** Throws BAD_FRAME or WRONG_VERSION on anything that this version does not write. */
export function decodeHeader(from: DataView, offset: number, bounds: FrameBounds): FrameHeader {
  if (from.getUint32(offset, true) !== magic) {
    throw new RustreError("BAD_FRAME", "Cannot read a frame: it does not start as one");
  }
  const version = from.getUint8(offset + 4);
  if (version !== frameVersion) {
    throw new RustreError("WRONG_VERSION", `Cannot read a frame of version ${version}`);
  }
  const kind = from.getUint8(offset + 5);
  if (kind !== frameKind.request && kind !== frameKind.reply && kind !== frameKind.error) {
    throw new RustreError("BAD_FRAME", `Cannot read a frame of kind ${kind}`);
  }
  const bodyBytes = from.getUint32(offset + 12, true);
  const payloadBytes = from.getUint32(offset + 16, true);
  if (bodyBytes > bounds.bodyBytesMax || payloadBytes > bounds.payloadBytesMax) {
    throw new RustreError(
      "BAD_FRAME",
      `Cannot read a frame of ${bodyBytes} + ${payloadBytes} bytes: at most ` +
        `${bounds.bodyBytesMax} + ${bounds.payloadBytesMax} are allowed`,
    );
  }
  if (from.getUint32(offset + 20, true) !== 0) {
    throw new RustreError("BAD_FRAME", "Cannot read a frame: its reserved bytes are not zero");
  }
  const opcode = from.getUint16(offset + 6, true);
  return { kind, opcode, requestId: from.getUint32(offset + 8, true), bodyBytes, payloadBytes };
}
