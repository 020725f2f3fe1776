// Bytes of files on their way to a connection, where they have to pass through this process.

import { readSync } from "node:fs";
import type { FileRange, SendableFile } from "./environment.ts";
import { RustreError } from "./errors.ts";
import { platformReason } from "./platform_errors.ts";

/** An open file by its descriptor, which its owner closes. */
export function fileOfDescriptor(descriptor: number): SendableFile {
  return {
    descriptor,
    readSync: (into, offsetBytes) => readSync(descriptor, into, 0, into.length, offsetBytes),
  };
}

/** Reads from the start of a range, once; says how many bytes, 0 only at the end of the file. */
export function readStart({ file, offsetBytes }: FileRange, into: Uint8Array): number {
  try {
    return file.readSync(into, offsetBytes);
  } catch (error) {
    if (error instanceof RustreError) throw error;
    const { code, reason } = platformReason(error);
    const message = `Cannot read a file that is being sent: ${reason}`;
    throw new RustreError(code, message, { cause: error });
  }
}

/** Reads a range into a buffer of its length; says how many bytes, fewer where the file ends. */
export function readRange(range: FileRange, into: Uint8Array): number {
  let count = 0;
  while (count < into.length) {
    const read = readStart(restOf(range, count), into.subarray(count));
    if (read === 0) break;
    count += read;
  }
  return count;
}

/** What is left of a range after its first `sentBytes`. */
export function restOf(
  { file, offsetBytes, lengthBytes }: FileRange,
  sentBytes: number,
): FileRange {
  return { file, offsetBytes: offsetBytes + sentBytes, lengthBytes: lengthBytes - sentBytes };
}
