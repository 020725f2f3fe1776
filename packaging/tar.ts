// Writes tar archives (ustar) that depend on nothing but what is in them.

export interface TarEntry {
  /** At most 100 bytes; of a directory it ends with "/". */
  readonly name: string;
  readonly mode: number;
  readonly bytes: Uint8Array;
}

const blockBytes = 512;
const nameBytes = 100;

/** In the order of their names, owned by root, all of one time (seconds since 1970). */
export function tar(entries: readonly TarEntry[], time: number): Uint8Array {
  const sorted = [...entries].sort((a, b) => a.name < b.name ? -1 : 1);
  const parts = sorted.flatMap((entry) => [header(entry, time), wholeBlocks(entry.bytes)]);
  // Two empty blocks are the end.
  parts.push(new Uint8Array(2 * blockBytes));
  const result = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let position = 0;
  for (const part of parts) {
    result.set(part, position);
    position += part.length;
  }
  return result;
}

function wholeBlocks(bytes: Uint8Array): Uint8Array {
  const result = new Uint8Array(Math.ceil(bytes.length / blockBytes) * blockBytes);
  result.set(bytes);
  return result;
}

function header({ name, mode, bytes }: TarEntry, time: number): Uint8Array {
  const block = new Uint8Array(blockBytes);
  const put = (offset: number, text: string) => block.set(new TextEncoder().encode(text), offset);
  const octal = (value: number, digits: number) => value.toString(8).padStart(digits, "0");
  if (new TextEncoder().encode(name).length > nameBytes) throw new Error(`${name} is too long`);
  put(0, name);
  put(100, octal(mode, 7));
  put(108, octal(0, 7));
  put(116, octal(0, 7));
  put(124, octal(bytes.length, 11));
  put(136, octal(time, 11));
  put(156, name.endsWith("/") ? "5" : "0");
  put(257, "ustar\0" + "00");
  put(265, "root");
  put(297, "root");
  // The checksum counts itself as spaces.
  put(148, " ".repeat(8));
  put(148, `${octal(block.reduce((sum, byte) => sum + byte, 0), 6)}\0 `);
  return block;
}
