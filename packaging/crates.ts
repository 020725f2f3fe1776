// Which Rust crates a program says that it is made of: the messages of its assertions have the paths
// of the sources, as Cargo unpacks them.

import { Buffer } from "node:buffer";

const marker = "/registry/src/";
/** Longer than any such path up to the crate's own files. */
const pathBytes = 200;

/** Their names and versions, sorted. One without any such message is not among them. */
export function cratesIn(program: Uint8Array): string[] {
  const bytes = Buffer.from(program.buffer, program.byteOffset, program.byteLength);
  const found = new Set<string>();
  for (let at = bytes.indexOf(marker); at >= 0; at = bytes.indexOf(marker, at + 1)) {
    const from = at + marker.length;
    const path = bytes.toString("latin1", from, from + pathBytes);
    const crate = /^[\w.-]+\/([\w-]+?)-(\d+\.\d+\.\d+[\w.+-]*)\//.exec(path);
    if (crate) found.add(`${crate[1]} ${crate[2]}`);
  }
  return [...found].sort();
}
