// The bytes of one file on their way: from a local source to an open file, and from an open file in
// order, a window of requests at once, each of limits.transferBytes, aligned.

import { limits } from "../../shared/limits.ts";
import { withSignal } from "../../shared/rpc/client.ts";
import type { Semaphore } from "../../shared/semaphore.ts";
import type { OpenFile } from "../open_file.ts";
import { localCall } from "./local_errors.ts";
import { TaskGroup } from "./task_group.ts";

/** What Deno's files and standard input are. */
export interface ByteSource {
  read(into: Uint8Array): Promise<number | null>;
}

export interface ByteSink {
  write(bytes: Uint8Array): Promise<number>;
}

export interface StreamOptions {
  /** Bounds the requests, with those of other files that share it. */
  readonly requests: Semaphore;
  readonly signal?: AbortSignal | undefined;
  readonly onMoved?: (bytes: number) => void;
}

/**
 * Writes what `source` gives to a new file, and returns how much that was. With `sizeBytes`, of a
 * source whose length is known, no more than that is read.
 */
export async function writeFrom(
  source: ByteSource,
  file: OpenFile,
  options: StreamOptions & { name: string; sizeBytes?: number | undefined },
): Promise<number> {
  const { requests, signal, onMoved, name, sizeBytes = Infinity } = options;
  await using writes = new TaskGroup(requests, signal);
  let endBytes = 0;
  for (let more = true; more;) {
    const lengthBytes = Math.min(limits.transferBytes, sizeBytes - endBytes);
    const bytes = await readChunk(source, lengthBytes, { name, signal });
    const offsetBytes = endBytes;
    endBytes += bytes.length;
    more = bytes.length === limits.transferBytes && endBytes < sizeBytes;
    if (bytes.length === 0) break;
    // The only write of a file takes its sync with it.
    const sync = offsetBytes === 0 && !more;
    await writes.start(async () => {
      await file.write(offsetBytes, bytes, { sync, signal });
      onMoved?.(bytes.length);
    });
  }
  await writes.done();
  return endBytes;
}

/** `lengthBytes` of the source, fewer only at its end. */
async function readChunk(
  source: ByteSource,
  lengthBytes: number,
  { name, signal }: { name: string; signal: AbortSignal | undefined },
): Promise<Uint8Array<ArrayBuffer>> {
  const buffer = new Uint8Array(lengthBytes);
  let filledBytes = 0;
  while (filledBytes < lengthBytes) {
    const reading = localCall(`read "${name}"`, () => source.read(buffer.subarray(filledBytes)));
    const readBytes = await (signal ? withSignal(reading, signal) : reading);
    if (readBytes === null || readBytes === 0) break;
    filledBytes += readBytes;
  }
  return buffer.subarray(0, filledBytes);
}

/**
 * The bytes of a range in order, read ahead. Each holds a slot of `requests` until the next one is
 * asked for; a file takes slots in the order of its bytes, so files that share them do not block
 * each other.
 */
export async function* readInOrder(
  file: OpenFile,
  range: { offsetBytes: number; lengthBytes: number },
  { requests, signal, onMoved }: StreamOptions,
): AsyncGenerator<Uint8Array<ArrayBuffer>> {
  const endBytes = Math.min(range.offsetBytes + range.lengthBytes, file.sizeBytes);
  let nextBytes = range.offsetBytes;
  const ahead: Promise<Uint8Array<ArrayBuffer>>[] = [];
  const readNext = () => {
    const offsetBytes = nextBytes;
    // Requests end where those of others begin, so that each is within one stripe.
    const untilAligned = limits.transferBytes - offsetBytes % limits.transferBytes;
    const lengthBytes = Math.min(untilAligned, endBytes - offsetBytes);
    nextBytes += lengthBytes;
    const reading = readInSlot(requests, signal, () => {
      return file.read(offsetBytes, lengthBytes, { signal });
    });
    // It is awaited in its turn; until then its failure is nobody's.
    reading.catch(() => {});
    ahead.push(reading);
  };
  try {
    for (;;) {
      while (ahead.length < limits.transferWindow && nextBytes < endBytes) readNext();
      const first = ahead[0];
      if (!first) return;
      const bytes = await first;
      yield bytes;
      ahead.shift();
      requests.release();
      onMoved?.(bytes.length);
    }
  } finally {
    // Those that failed have given their slot back themselves.
    const results = await Promise.allSettled(ahead);
    for (const { status } of results) if (status === "fulfilled") requests.release();
  }
}

/** Keeps the slot when `read` succeeds. */
async function readInSlot<T>(
  requests: Semaphore,
  signal: AbortSignal | undefined,
  read: () => Promise<T>,
): Promise<T> {
  await requests.acquire(1, signal);
  try {
    return await read();
  } catch (error) {
    requests.release();
    throw error;
  }
}

/** Writes all of `bytes`; `name` is the sink's, for messages. */
export async function writeAll(sink: ByteSink, bytes: Uint8Array, name: string): Promise<void> {
  for (let start = 0; start < bytes.length;) {
    start += await localCall(`write "${name}"`, () => sink.write(bytes.subarray(start)));
  }
}
