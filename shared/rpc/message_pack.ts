// The bodies of frames: MessagePack, looked through before it is decoded, so that no bytes of a peer
// make the decoder use more memory than a small multiple of their number.

import { Decoder, Encoder, type ExtensionCodecType } from "@msgpack/msgpack";
import { limits } from "../limits.ts";

/** No message has extension types: dates are bigints here. */
const noExtensions: ExtensionCodecType<undefined> = {
  tryToEncode: () => null,
  decode: () => {
    throw new RangeError("extension types are refused before they are decoded");
  },
};

/**
 * The names of fields that were seen, so that each is made once. A name has one place, where the
 * next one with the same hash replaces it: strange names cost a peer's neighbours next to nothing.
 */
class FieldNames {
  static readonly #size = 1024;
  static readonly #nameBytesMax = 32;
  readonly #names = new Array<string>(FieldNames.#size).fill("");

  canBeCached(length: number): boolean {
    return length <= FieldNames.#nameBytesMax;
  }

  decode(bytes: Uint8Array, offset: number, length: number): string {
    let hash = length;
    for (let i = offset; i < offset + length; i++) hash = (Math.imul(hash, 31) + bytes[i]!) | 0;
    const place = hash & (FieldNames.#size - 1);
    const known = this.#names[place]!;
    if (isSpelled(known, bytes, offset, length)) return known;
    const name = utf8.decode(bytes.subarray(offset, offset + length));
    return this.#names[place] = name;
  }
}

/** Whether the bytes are those of `name`. Never for a name that is not ASCII. */
function isSpelled(name: string, bytes: Uint8Array, offset: number, length: number): boolean {
  if (name.length !== length) return false;
  for (let i = 0; i < length; i++) {
    const byte = bytes[offset + i]!;
    if (byte >= 0x80 || byte !== name.charCodeAt(i)) return false;
  }
  return true;
}

const utf8 = new TextDecoder();
const encoder = new Encoder({
  useBigInt64: true,
  ignoreUndefined: true,
  extensionCodec: noExtensions,
});
const decoder = new Decoder({
  useBigInt64: true,
  keyDecoder: new FieldNames(),
  mapKeyConverter: (key) => {
    if (typeof key === "string") return key;
    throw new RangeError("only strings are names of fields");
  },
  extensionCodec: noExtensions,
});

/** The bytes are valid until the next call. */
export function encodeBody(body: unknown): Uint8Array {
  return encoder.encodeSharedRef(body);
}

/**
 * The value, or `undefined` where the bytes are not one value as a peer of this version writes it.
 * The bytes may be used again afterwards.
 */
export function decodeBody(bytes: Uint8Array): unknown {
  hasBinaryData = false;
  if (endOfValue(bytes, 0, limits.bodyDepthMax) !== bytes.length) return undefined;
  try {
    // Decoded binary data is a view of what it is decoded from.
    return decoder.decode(hasBinaryData ? bytes.slice() : bytes);
  } catch {
    // Keys that are no strings, or "__proto__".
    return undefined;
  }
}

/** More than any offset; what does not end within the bytes. */
const nowhere = Number.MAX_SAFE_INTEGER;

/**
 * Where the value that starts at `offset` ends; {@link nowhere} where it is cut short, has more
 * elements than bytes are left or than limits allow, is nested deeper than `depth`, or an
 * extension, which no message has.
 */
function endOfValue(bytes: Uint8Array, offset: number, depth: number): number {
  const type = bytes[offset];
  if (type === undefined) return nowhere;
  if (type < 0x80 || type >= 0xe0) return offset + 1;
  if (type < 0x90) return endOfMap(bytes, offset + 1, type & 0x0f, depth - 1);
  if (type < 0xa0) return endOfArray(bytes, offset + 1, type & 0x0f, depth - 1);
  if (type < 0xc0) return endOfString(bytes, offset + 1, type & 0x1f);
  switch (type) {
    case 0xc0: // nil
    case 0xc2: // false
    case 0xc3: // true
      return offset + 1;
    case 0xcc: // uint 8
    case 0xd0: // int 8
      return offset + 2;
    case 0xcd: // uint 16
    case 0xd1: // int 16
      return offset + 3;
    case 0xca: // float 32
    case 0xce: // uint 32
    case 0xd2: // int 32
      return offset + 5;
    case 0xcb: // float 64
    case 0xcf: // uint 64
    case 0xd3: // int 64
      return offset + 9;
    case 0xc4: // bin 8
      return endOfBinaryData(offset + 2, lengthAt(bytes, offset + 1, 1));
    case 0xc5: // bin 16
      return endOfBinaryData(offset + 3, lengthAt(bytes, offset + 1, 2));
    case 0xc6: // bin 32
      return endOfBinaryData(offset + 5, lengthAt(bytes, offset + 1, 4));
    case 0xd9: // str 8
      return endOfString(bytes, offset + 2, lengthAt(bytes, offset + 1, 1));
    case 0xda: // str 16
      return endOfString(bytes, offset + 3, lengthAt(bytes, offset + 1, 2));
    case 0xdb: // str 32
      return endOfString(bytes, offset + 5, lengthAt(bytes, offset + 1, 4));
    case 0xdc: // array 16
      return endOfArray(bytes, offset + 3, lengthAt(bytes, offset + 1, 2), depth - 1);
    case 0xdd: // array 32
      return endOfArray(bytes, offset + 5, lengthAt(bytes, offset + 1, 4), depth - 1);
    case 0xde: // map 16
      return endOfMap(bytes, offset + 3, lengthAt(bytes, offset + 1, 2), depth - 1);
    case 0xdf: // map 32
      return endOfMap(bytes, offset + 5, lengthAt(bytes, offset + 1, 4), depth - 1);
    default:
      return nowhere;
  }
}

function endOfArray(bytes: Uint8Array, offset: number, elements: number, depth: number): number {
  if (elements > limits.bodyElementsMax) return nowhere;
  return endOfValues(bytes, offset, elements, depth);
}

function endOfMap(bytes: Uint8Array, offset: number, entries: number, depth: number): number {
  if (entries > limits.bodyElementsMax) return nowhere;
  return endOfValues(bytes, offset, 2 * entries, depth);
}

function endOfValues(bytes: Uint8Array, offset: number, count: number, depth: number): number {
  // Each value has at least one byte.
  if (depth < 0 || count > bytes.length - offset) return nowhere;
  let end = offset;
  for (let index = 0; index < count; index++) end = endOfValue(bytes, end, depth);
  return end;
}

/** Whether the value that was looked through last has binary data. */
let hasBinaryData = false;

function endOfBinaryData(offset: number, length: number): number {
  hasBinaryData = true;
  return offset + length;
}

/** The decoder would drop the byte order mark that a long string starts with. */
const longStringBytes = 200;

function endOfString(bytes: Uint8Array, offset: number, length: number): number {
  const hasMark = length > longStringBytes && bytes[offset] === 0xef &&
    bytes[offset + 1] === 0xbb && bytes[offset + 2] === 0xbf;
  return hasMark ? nowhere : offset + length;
}

/** Big-endian. Where it is cut short, what follows it does not end within the bytes either. */
function lengthAt(bytes: Uint8Array, offset: number, size: number): number {
  let length = 0;
  for (let i = offset; i < offset + size; i++) length = length * 256 + (bytes[i] ?? 0);
  return length;
}
