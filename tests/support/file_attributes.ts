// The attributes in which an OST keeps checksums of small objects, as a test damages, takes and
// copies them.

import { localFiles } from "../../oss/files.ts";

/** `undefined` where the file has none, or does not exist. */
export function attributeOf(path: string): Uint8Array | undefined {
  const file = localFiles.open(path);
  try {
    return file?.attribute();
  } finally {
    file?.close();
  }
}

/** `undefined` takes it away. */
export function setAttributeOf(path: string, bytes: Uint8Array | undefined): void {
  const file = localFiles.open(path);
  if (!file) throw new Error(`There is no "${path}"`);
  try {
    file.setAttribute(bytes);
  } finally {
    file.close();
  }
}

/**
 * Flips a bit of an object's checksums, wherever they are; `path` is that of its bytes. A negative
 * offset counts from the end.
 */
export function flipChecksums(path: string, offsetBytes: number): void {
  const attribute = attributeOf(path);
  const bytes = attribute ?? Deno.readFileSync(`${path}.sum`);
  bytes[offsetBytes < 0 ? bytes.length + offsetBytes : offsetBytes]! ^= 1;
  if (attribute) setAttributeOf(path, bytes);
  else Deno.writeFileSync(`${path}.sum`, bytes);
}

/**
 * Copies what is in a directory into another one, which exists, with attributes. Of a store that is
 * open it is the state of one moment: nothing else runs on this thread.
 */
export function copyDirectory(from: string, to: string): void {
  for (const { name, isDirectory } of Deno.readDirSync(from)) {
    if (isDirectory) {
      Deno.mkdirSync(`${to}/${name}`, { recursive: true });
      copyDirectory(`${from}/${name}`, `${to}/${name}`);
      continue;
    }
    Deno.copyFileSync(`${from}/${name}`, `${to}/${name}`);
    const attribute = attributeOf(`${from}/${name}`);
    if (attribute) setAttributeOf(`${to}/${name}`, attribute);
  }
}
