// The name of something that is not finished yet, beside the name that it is to get.

import { type Random, randomHex } from "../../shared/environment.ts";
import { limits } from "../../shared/limits.ts";

/** `.NAME.rustre-1234abcd` in the directory of `path`, with as much of NAME as there is room for. */
export function temporaryPath(path: string, random: Random): string {
  const slash = path.lastIndexOf("/") + 1;
  const suffix = `.rustre-${randomHex(random, 4)}`;
  const name = prefixOfBytes(path.slice(slash), limits.nameBytesMax - suffix.length - 1);
  return `${path.slice(0, slash)}.${name}${suffix}`;
}

/** The longest prefix of whole characters that has at most `bytesMax` bytes of UTF-8. */
function prefixOfBytes(text: string, bytesMax: number): string {
  const { read } = new TextEncoder().encodeInto(text, new Uint8Array(bytesMax));
  return text.slice(0, read);
}
