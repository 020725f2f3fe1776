// What every Transport promises about payloads in files, as frames carry them: the same whether they
// go from the file to the socket or through this process.

import assert from "node:assert/strict";
import type { Connection, FileRange, SendableFile } from "../../shared/environment.ts";
import { sleep } from "../../shared/environment.ts";
import { isRustreError } from "../../shared/errors.ts";
import { limits } from "../../shared/limits.ts";
import { systemEnvironment } from "../../shared/platform.ts";
import { frameKind } from "../../shared/rpc/frame.ts";
import { FrameReader } from "../../shared/rpc/frame_reader.ts";
import { coalesceBytesMax, FrameWriter } from "../../shared/rpc/frame_writer.ts";
import { SeededRandom } from "../support/seeded_random.ts";
import { TemporaryFile } from "../support/temporary_file.ts";
import { connected, type NetworkUnderTest, type PromiseTest } from "./transport.ts";

const { clock } = systemEnvironment();
const KiB = 1024;
const MiB = 1024 * KiB;

function writerOf(connection: Connection): FrameWriter {
  return new FrameWriter(connection, { clock, bodyBytesMax: 64 * KiB });
}

function readerOf(connection: Connection): FrameReader {
  const payloadBytesMax = limits.framePayloadBytesMax;
  return new FrameReader(connection, { clock, bodyBytesMax: 64 * KiB, payloadBytesMax });
}

/** The requests of a range that is longer than a frame. */
function framesOf({ file, offsetBytes, lengthBytes }: FileRange): FileRange[] {
  const count = Math.max(1, Math.ceil(lengthBytes / limits.framePayloadBytesMax));
  return Array.from({ length: count }, (_, index) => {
    const start = index * limits.framePayloadBytesMax;
    const length = Math.min(lengthBytes - start, limits.framePayloadBytesMax);
    return { file, offsetBytes: offsetBytes + start, lengthBytes: length };
  });
}

function send(writer: FrameWriter, requestId: number, range: FileRange): Promise<void> {
  return new Promise((resolve) => {
    const header = { kind: frameKind.reply, opcode: 1, requestId };
    writer.send(header, { requestId }, range, resolve);
  });
}

async function receive(reader: FrameReader, requestId: number): Promise<Uint8Array> {
  const frame = await reader.next();
  assert.equal(frame?.requestId, requestId);
  assert.deepEqual(frame?.body, { requestId });
  return frame!.payload;
}

export function testFiles(promise: PromiseTest): void {
  testArrival(promise);
  testWaiting(promise);
  testClosing(promise);
}

function testArrival(promise: PromiseTest): void {
  promise("ranges of files arrive as they are, of any length, at any offset", async (network) => {
    using pair = await connected(network);
    const [writers, readers] = [
      [writerOf(pair.server), writerOf(pair.client)],
      [readerOf(pair.client), readerOf(pair.server)],
    ];
    using file = new TemporaryFile(new SeededRandom(21).bytes(10 * MiB));
    let requestId = 0;
    for (const lengthBytes of [0, 1, 4095, coalesceBytesMax, MiB, 9 * MiB]) {
      for (const offsetBytes of [0, 1, 4096, MiB]) {
        for (const [index, writer] of writers.entries()) {
          for (const range of framesOf(file.range(offsetBytes, lengthBytes))) {
            requestId++;
            const sending = send(writer, requestId, range);
            const start = range.offsetBytes;
            const expected = file.bytes.subarray(start, start + range.lengthBytes);
            assert.deepEqual(await receive(readers[index]!, requestId), expected);
            await sending;
          }
        }
      }
    }
  });

  promise("ranges of files arrive in the order in which they and others were sent", async (net) => {
    using pair = await connected(net);
    const random = new SeededRandom(22);
    using file = new TemporaryFile(random.bytes(MiB));
    const writer = writerOf(pair.server);
    const reader = readerOf(pair.client);
    const sent = Array.from({ length: 200 }, () => {
      const offsetBytes = random.below(MiB);
      const lengthBytes = random.below(Math.min(64 * KiB, MiB - offsetBytes) + 1);
      return { offsetBytes, lengthBytes, inFile: random.below(2) === 0 };
    });
    const sending = sent.map(({ offsetBytes, lengthBytes, inFile }, index) => {
      const range = file.range(offsetBytes, lengthBytes);
      const bytes = file.bytes.subarray(offsetBytes, offsetBytes + lengthBytes);
      const header = { kind: frameKind.reply, opcode: 1, requestId: index };
      return new Promise<void>((resolve) =>
        writer.send(header, { requestId: index }, inFile ? range : bytes, resolve)
      );
    });
    for (const [index, { offsetBytes, lengthBytes }] of sent.entries()) {
      const expected = file.bytes.subarray(offsetBytes, offsetBytes + lengthBytes);
      assert.deepEqual(await receive(reader, index), expected);
    }
    await Promise.all(sending);
  });

  promise("a file that is shorter than its range is filled up with zeros", async (network) => {
    using pair = await connected(network);
    using file = new TemporaryFile(new SeededRandom(23).bytes(MiB));
    const [writer, reader] = [writerOf(pair.server), readerOf(pair.client)];
    for (
      const [requestId, [offsetBytes, lengthBytes]] of [
        [MiB - 100, 200],
        [MiB - 100, 3 * MiB],
        [2 * MiB, MiB],
        [0, MiB],
      ].entries() as Iterable<[number, [number, number]]>
    ) {
      send(writer, requestId, file.range(offsetBytes, lengthBytes));
      const expected = new Uint8Array(lengthBytes);
      expected.set(file.bytes.subarray(offsetBytes, offsetBytes + lengthBytes));
      assert.deepEqual(await receive(reader, requestId), expected);
    }
  });

  promise("connections that send files do not mix, 50 at once", async (network) => {
    const random = new SeededRandom(24);
    await Promise.all(Array.from({ length: 50 }, async () => {
      using pair = await connected(network);
      using file = new TemporaryFile(random.bytes(256 * KiB));
      const [writer, reader] = [writerOf(pair.server), readerOf(pair.client)];
      for (let requestId = 0; requestId < 4; requestId++) send(writer, requestId, file.range());
      for (let requestId = 0; requestId < 4; requestId++) {
        assert.deepEqual(await receive(reader, requestId), file.bytes);
      }
    }));
  });
}

function testWaiting(promise: PromiseTest): void {
  promise("a file waits for a peer that does not read, and others do not", async (network) => {
    using pair = await connected(network);
    using other = await connected(network);
    using file = new TemporaryFile(new SeededRandom(25).bytes(4 * MiB));
    const writer = writerOf(pair.server);
    let left = 0;
    const sending = Array.from(
      { length: 16 },
      (_, requestId) => send(writer, requestId, file.range()).then(() => left++),
    );
    await sleep(clock, 100);
    const stuck = left;
    assert(stuck < sending.length, "64 MiB were taken that nobody has read");
    const otherWriter = writerOf(other.server);
    const otherReader = readerOf(other.client);
    send(otherWriter, 1, file.range());
    assert.deepEqual(await receive(otherReader, 1), file.bytes);
    const reader = readerOf(pair.client);
    for (const requestId of sending.keys()) {
      assert.deepEqual(await receive(reader, requestId), file.bytes);
    }
    await Promise.all(sending);
  });

  promise("a file that is cut while it is sent does not harm the next frame", async (network) => {
    using pair = await connected(network);
    using file = new TemporaryFile(new Uint8Array(4 * MiB).fill(7));
    using whole = new TemporaryFile(new Uint8Array(MiB).fill(9));
    const [writer, reader] = [writerOf(pair.server), readerOf(pair.client)];
    const frames = 8;
    for (let requestId = 0; requestId < frames; requestId++) send(writer, requestId, file.range());
    send(writer, frames, whole.range());
    await receive(reader, 0);
    file.cut(12_345);
    for (let requestId = 1; requestId < frames; requestId++) {
      const payload = await receive(reader, requestId);
      // What the socket has already is pages of the file: one that is changed now arrives so.
      if (requestId < frames - 1) assert(payload.every((byte) => byte === 7 || byte === 0));
      else assert.deepEqual(payload, new Uint8Array(4 * MiB).fill(7, 0, 12_345));
    }
    assert.deepEqual(await receive(reader, frames), whole.bytes);
  });
}

/** A file that must not be read once it is closed, as its descriptor may be another one's. */
class GuardedFile implements SendableFile {
  readonly descriptor: number | undefined;
  readonly #file: SendableFile;
  isClosed = false;

  constructor({ file }: TemporaryFile) {
    this.#file = file;
    this.descriptor = file.descriptor;
  }

  readSync(into: Uint8Array, offsetBytes: number): number {
    assert(!this.isClosed, "a file was read after it was closed");
    return this.#file.readSync(into, offsetBytes);
  }
}

function testClosing(promise: PromiseTest): void {
  promise("close() ends a file that is being sent, and lets go of it", async (network) => {
    using pair = await connected(network);
    using temporary = new TemporaryFile(new Uint8Array(4 * MiB).fill(7));
    const file = new GuardedFile(temporary);
    const writer = writerOf(pair.server);
    const range = { file, offsetBytes: 0, lengthBytes: 4 * MiB };
    const sending = Array.from({ length: 16 }, (_, requestId) => send(writer, requestId, range));
    await pair.client.read(new Uint8Array(1));
    writer.close();
    file.isClosed = true;
    await Promise.all(sending);
    await writer.flushed();
  });

  promise("a peer that leaves ends a file that is being sent to it", async (network) => {
    using pair = await connected(network);
    using file = new TemporaryFile(new Uint8Array(4 * MiB));
    const writer = writerOf(pair.server);
    const sending = Array.from({ length: 16 }, (_, id) => send(writer, id, file.range()));
    await pair.client.read(new Uint8Array(1));
    pair.client.close();
    await Promise.all(sending);
    await assert.rejects(
      pair.server.write(new Uint8Array(1)),
      (error) => isRustreError(error, "CONNECTION_LOST"),
    );
  });

  promise("a file goes to nobody who has the place of a closed connection", async (network) => {
    using file = new TemporaryFile(new Uint8Array(4 * MiB).fill(7));
    for (let round = 0; round < 20; round++) await reuseDescriptors(network, file);
  });
}

/** Closes connections that files are being sent to, opens others at once and looks what they get. */
async function reuseDescriptors(network: NetworkUnderTest, file: TemporaryFile): Promise<void> {
  using pairs = new DisposableStack();
  const closed = await Promise.all(Array.from({ length: 4 }, async () => {
    const pair = pairs.use(await connected(network));
    const writer = writerOf(pair.server);
    const sending = Array.from({ length: 16 }, (_, id) => send(writer, id, file.range()));
    await pair.client.read(new Uint8Array(1));
    return { pair, writer, sending };
  }));
  for (const { pair, writer } of closed) {
    writer.close();
    pair.client.close();
  }
  await Promise.all(Array.from({ length: 8 }, async () => {
    const pair = pairs.use(await connected(network));
    await Promise.all([pair.server, pair.client].map((each) => each.write(Uint8Array.of(1))));
    for (const each of [pair.server, pair.client]) {
      const buffer = new Uint8Array(100);
      assert.equal(await each.read(buffer), 1);
      assert.equal(buffer[0], 1);
    }
  }));
  await Promise.all(closed.flatMap(({ sending }) => sending));
}
