// The bytes of one file on their way: from a local source to an open file, and from an open file in
// order, a window of requests at once, each of limits.transferBytes, aligned.

import { limits } from "../../shared/limits.ts";
import { withSignal } from "../../shared/rpc/client.ts";
import { Semaphore } from "../../shared/semaphore.ts";
import type { OpenFile } from "../open_file.ts";
import { localCall } from "./local_errors.ts";
import { TaskGroup } from "./task_group.ts";
import type { TransferBuffer, TransferBuffers } from "./transfer_buffers.ts";

/** What Deno's files and standard input are. */
export interface ByteSource {
  read(into: Uint8Array): Promise<number | null>;
}

export interface ByteSink {
  write(bytes: Uint8Array): Promise<number>;
}

export interface StreamOptions {
  /** Those of other files may come from the same ones. */
  readonly buffers: TransferBuffers;
  readonly signal?: AbortSignal | undefined;
  readonly onMoved?: (bytes: number) => void;
}

/** Writes what `source` gives to a new file until it ends, and returns how much that was. */
export async function writeFrom(
  source: ByteSource,
  file: OpenFile,
  options: StreamOptions & { name: string },
): Promise<number> {
  const { buffers, signal, onMoved, name } = options;
  await using writes = new TaskGroup(new Semaphore(limits.transferWindow), signal);
  let endBytes = 0;
  for (let more = true; more;) {
    const buffer = await buffers.take(limits.transferBytes, signal);
    using unused = new DisposableStack();
    unused.use(buffer);
    const bytes = await readChunk(source, buffer, { name, signal }).catch((error) => {
      // The source may still be reading into it.
      if (signal?.aborted) unused.move();
      throw error;
    });
    const offsetBytes = endBytes;
    endBytes += bytes.length;
    more = bytes.length === limits.transferBytes;
    if (bytes.length === 0) break;
    // The only write of a file takes its sync with it.
    const sync = offsetBytes === 0 && !more;
    await writes.start(async () => {
      using _used = buffer;
      await file.write(offsetBytes, bytes, { sync, signal });
      onMoved?.(bytes.length);
    });
    unused.move();
  }
  await writes.done();
  return endBytes;
}

/** As much of the source as the buffer holds, less only at its end. */
async function readChunk(
  source: ByteSource,
  buffer: TransferBuffer,
  { name, signal }: { name: string; signal: AbortSignal | undefined },
): Promise<Uint8Array<ArrayBuffer>> {
  const { bytes } = buffer;
  let filledBytes = 0;
  while (filledBytes < bytes.length) {
    const reading = localCall(`read "${name}"`, () => source.read(bytes.subarray(filledBytes)));
    const readBytes = await (signal ? withSignal(reading, signal) : reading);
    if (readBytes === null || readBytes === 0) break;
    filledBytes += readBytes;
  }
  return bytes.subarray(0, filledBytes);
}

/** A part of a file on its way, in a buffer. */
interface PartAhead {
  readonly buffer: TransferBuffer;
  readonly bytes: Promise<Uint8Array<ArrayBuffer>>;
}

/**
 * The bytes of a range in order, read ahead; each is valid until the next one is asked for. A file
 * takes buffers in the order of its bytes, so files that share them do not block each other.
 */
export async function* readInOrder(
  file: OpenFile,
  range: { offsetBytes: number; lengthBytes: number },
  { buffers, signal, onMoved }: StreamOptions,
): AsyncGenerator<Uint8Array<ArrayBuffer>> {
  const endBytes = Math.min(range.offsetBytes + range.lengthBytes, file.sizeBytes);
  let nextBytes = range.offsetBytes;
  const ahead: PartAhead[] = [];
  const readNext = async () => {
    const offsetBytes = nextBytes;
    // Requests end where those of others begin, so that each is within one stripe.
    const untilAligned = limits.transferBytes - offsetBytes % limits.transferBytes;
    const lengthBytes = Math.min(untilAligned, endBytes - offsetBytes);
    const buffer = await buffers.take(lengthBytes, signal);
    nextBytes += lengthBytes;
    const bytes = file.readInto(offsetBytes, buffer.bytes, { signal })
      .then((count) => buffer.bytes.subarray(0, count));
    // It is awaited in its turn; until then its failure is nobody's.
    bytes.catch(() => {});
    ahead.push({ buffer, bytes });
  };
  try {
    for (;;) {
      while (ahead.length < limits.transferWindow && nextBytes < endBytes) await readNext();
      const first = ahead[0];
      if (!first) return;
      const bytes = await first.bytes;
      yield bytes;
      ahead.shift();
      first.buffer[Symbol.dispose]();
      onMoved?.(bytes.length);
    }
  } finally {
    // Nobody else gets a buffer that is still being read into.
    await Promise.allSettled(ahead.map(({ bytes }) => bytes));
    for (const { buffer } of ahead) buffer[Symbol.dispose]();
  }
}

/** Writes all of `bytes`; `name` is the sink's, for messages. */
export async function writeAll(sink: ByteSink, bytes: Uint8Array, name: string): Promise<void> {
  for (let start = 0; start < bytes.length;) {
    start += await localCall(`write "${name}"`, () => sink.write(bytes.subarray(start)));
  }
}
