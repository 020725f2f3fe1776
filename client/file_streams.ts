// Web streams over an open file, for programs that have other streams to connect them with.

import { limits } from "../shared/limits.ts";
import type { OpenFile } from "./open_file.ts";

/** The bytes of a range in order, read ahead within the window. */
export function readableOf(
  file: OpenFile,
  options: { offsetBytes?: number; lengthBytes?: number; signal?: AbortSignal },
): ReadableStream<Uint8Array<ArrayBuffer>> {
  const { offsetBytes = 0, lengthBytes = Infinity, signal } = options;
  const endBytes = Math.min(offsetBytes + lengthBytes, file.sizeBytes);
  const ahead: Promise<Uint8Array<ArrayBuffer>>[] = [];
  let nextBytes = offsetBytes;
  const readAhead = () => {
    while (ahead.length < limits.transferWindow && nextBytes < endBytes) {
      const length = Math.min(limits.transferBytes, endBytes - nextBytes);
      const part = file.read(nextBytes, length, { signal });
      // It is awaited in its turn; until then its failure is nobody's.
      part.catch(() => {});
      ahead.push(part);
      nextBytes += length;
    }
  };
  return new ReadableStream({
    async pull(controller) {
      readAhead();
      const part = ahead.shift();
      if (!part) return controller.close();
      controller.enqueue(await part);
    },
  }, { highWaterMark: 0 });
}

/** Writes what it is given one after the other; closing the stream does not close the file. */
export function writableOf(
  file: OpenFile,
  options: { offsetBytes?: number; signal?: AbortSignal },
): WritableStream<Uint8Array> {
  let { offsetBytes = 0 } = options;
  return new WritableStream({
    write: async (chunk) => {
      await file.write(offsetBytes, chunk, { signal: options.signal });
      offsetBytes += chunk.length;
    },
  });
}
