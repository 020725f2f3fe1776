// Payloads in files, as a FrameWriter sends them. tests/contract/transport_files.ts has what arrives
// over each network.

import assert from "node:assert/strict";
import type { FileRange, SendableFile } from "../../../shared/environment.ts";
import { isRustreError } from "../../../shared/errors.ts";
import { limits } from "../../../shared/limits.ts";
import { frameKind } from "../../../shared/rpc/frame.ts";
import { FrameReader } from "../../../shared/rpc/frame_reader.ts";
import { coalesceBytesMax, FrameWriter } from "../../../shared/rpc/frame_writer.ts";
import { FakeConnection, timeless } from "../../support/fake_connection.ts";
import { SeededRandom } from "../../support/seeded_random.ts";
import { VirtualClock } from "../../support/virtual_clock.ts";

const KiB = 1024;
const MiB = 1024 * KiB;
const header = { kind: frameKind.reply, opcode: 1, requestId: 1 };

/** A file in memory that gives as much at once as it is told. */
class MemoryFile implements SendableFile {
  readonly descriptor = undefined;
  readonly bytes: Uint8Array;
  readonly #readBytesMax: number;
  failure: Error | undefined;

  constructor(length: number, readBytesMax = length) {
    this.bytes = new SeededRandom(length).bytes(length);
    this.#readBytesMax = readBytesMax;
  }

  readSync(into: Uint8Array, offsetBytes: number): number {
    if (this.failure) throw this.failure;
    const end = offsetBytes + Math.min(into.length, this.#readBytesMax);
    const part = this.bytes.subarray(Math.min(offsetBytes, this.bytes.length), end);
    into.set(part);
    return part.length;
  }

  range(offsetBytes = 0, lengthBytes = this.bytes.length - offsetBytes): FileRange {
    return { file: this, offsetBytes, lengthBytes };
  }
}

class FileSendingConnection extends FakeConnection {
  readonly sent: FileRange[] = [];
  /** Of the next range, where it is to be fewer. */
  fewerBytes: number | undefined;

  async sendFile(range: FileRange): Promise<number> {
    await this.gate;
    this.sent.push(range);
    const lengthBytes = this.fewerBytes ?? range.lengthBytes;
    const bytes = new Uint8Array(lengthBytes);
    range.file.readSync(bytes, range.offsetBytes);
    await this.write(bytes);
    return lengthBytes;
  }
}

function writerOn(connection: FakeConnection, clock = timeless): FrameWriter {
  return new FrameWriter(connection, { clock, bodyBytesMax: 64 * KiB });
}

async function payloadsIn(connection: FakeConnection): Promise<Uint8Array[]> {
  const reader = new FrameReader(new FakeConnection(connection.written), {
    clock: timeless,
    bodyBytesMax: 64 * KiB,
    payloadBytesMax: limits.framePayloadBytesMax,
  });
  const payloads: Uint8Array[] = [];
  for (let frame = await reader.next(); frame; frame = await reader.next()) {
    payloads.push(frame.payload);
  }
  return payloads;
}

Deno.test("a small range is read at once and leaves in one write with its header", async () => {
  const connection = new FileSendingConnection();
  const writer = writerOn(connection);
  const file = new MemoryFile(coalesceBytesMax, 1000);
  let calls = 0;
  writer.send(header, {}, file.range(1), () => calls++);
  assert.equal(calls, 1);
  await writer.flushed();
  assert.equal(connection.written.length, 1);
  assert.deepEqual(await payloadsIn(connection), [file.bytes.subarray(1)]);
});

Deno.test("a large range is given to the connection, in pieces of limits.fileTurnBytes", async () => {
  const connection = new FileSendingConnection();
  const writer = writerOn(connection);
  const file = new MemoryFile(3 * MiB);
  writer.send(header, {}, file.range(100));
  await writer.flushed();
  assert.deepEqual(connection.sent.map(({ lengthBytes }) => lengthBytes), [
    limits.fileTurnBytes,
    limits.fileTurnBytes,
    3 * MiB - 100 - 2 * limits.fileTurnBytes,
  ]);
  assert.deepEqual(await payloadsIn(connection), [file.bytes.subarray(100)]);
});

Deno.test("a large range is copied where the connection takes no files, however it is read", async () => {
  for (const readBytesMax of [999, 64 * KiB, 3 * MiB]) {
    const connection = new FakeConnection();
    const writer = writerOn(connection);
    const file = new MemoryFile(3 * MiB, readBytesMax);
    writer.send(header, {}, file.range(100));
    await writer.flushed();
    const largest = Math.max(...connection.written.map(({ length }) => length));
    assert(largest <= limits.fileCopyBytes);
    assert.deepEqual(await payloadsIn(connection), [file.bytes.subarray(100)]);
  }
});

Deno.test("the parts of a payload are one frame, and are needed until the last of them has left", async () => {
  const connection = new FileSendingConnection();
  let open = () => {};
  connection.gate = new Promise((resolve) => open = resolve);
  const writer = writerOn(connection);
  const file = new MemoryFile(3 * MiB);
  const bytes = new SeededRandom(5).bytes(MiB);
  const parts = [file.range(100, MiB), bytes, file.range(2 * MiB, 17), bytes.subarray(0, 3)];
  let calls = 0;
  writer.send(header, {}, parts, () => calls++);
  writer.send(header, {}, Uint8Array.of(1));
  assert.equal(calls, 0);
  open();
  await writer.flushed();
  assert.equal(calls, 1);
  const whole = Buffer.concat([
    file.bytes.subarray(100, 100 + MiB),
    bytes,
    file.bytes.subarray(2 * MiB, 2 * MiB + 17),
    bytes.subarray(0, 3),
  ]);
  const payloads = await payloadsIn(connection);
  assert.deepEqual(payloads.map(({ length }) => length), [whole.length, 1]);
  assert.equal(Buffer.compare(payloads[0]!, whole), 0);
});

Deno.test("a part of a payload that its file does not have is zeros, and the next part follows", async () => {
  const connection = new FileSendingConnection();
  const writer = writerOn(connection);
  const file = new MemoryFile(100_000);
  connection.fewerBytes = 100_000;
  writer.send(header, {}, [file.range(0, 200_000), Uint8Array.of(1, 2, 3)]);
  await writer.flushed();
  const expected = new Uint8Array(200_003);
  expected.set(file.bytes);
  expected.set([1, 2, 3], 200_000);
  assert.deepEqual(await payloadsIn(connection), [expected]);
});

Deno.test("a payload whose file cannot be read is not needed any more, once", async () => {
  const connection = new FakeConnection();
  const writer = writerOn(connection);
  const file = new MemoryFile(MiB);
  file.failure = Object.assign(new Error("EIO: i/o error, read"), { code: "EIO" });
  let calls = 0;
  writer.send(header, {}, [new Uint8Array(MiB), file.range(), new Uint8Array(10)], () => calls++);
  await writer.flushed();
  assert(connection.isClosed);
  assert.equal(calls, 1);
});

Deno.test("what a file does not have is sent as zeros, and the next frame follows", async () => {
  const file = new MemoryFile(100_000);
  const padded = new Uint8Array(2 * MiB);
  padded.set(file.bytes);
  for (const fewerBytes of [undefined, 100_000]) {
    const connection = fewerBytes ? new FileSendingConnection() : new FakeConnection();
    if (connection instanceof FileSendingConnection) connection.fewerBytes = fewerBytes;
    const writer = writerOn(connection);
    writer.send(header, {}, file.range(0, 2 * MiB));
    writer.send(header, {}, file.range(100_000, 10));
    writer.send(header, {}, file.range(99_000, 2_000));
    await writer.flushed();
    const payloads = await payloadsIn(connection);
    assert.deepEqual(payloads, [
      padded,
      new Uint8Array(10),
      padded.subarray(99_000, 101_000),
    ]);
  }
});

Deno.test("a small range that cannot be read is refused, and what is next is sent", async () => {
  const connection = new FakeConnection();
  const writer = writerOn(connection);
  const file = new MemoryFile(100);
  file.failure = Object.assign(new Error("EIO: i/o error, read"), { code: "EIO" });
  let calls = 0;
  assert.throws(
    () => writer.send(header, {}, file.range(), () => calls++),
    (error) => isRustreError(error, "EIO"),
  );
  assert.equal(calls, 0);
  writer.send(header, {}, Uint8Array.of(1));
  await writer.flushed();
  assert.deepEqual(await payloadsIn(connection), [Uint8Array.of(1)]);
});

Deno.test("a large range that cannot be read costs the connection, never sends other bytes", async () => {
  const connection = new FakeConnection();
  const writer = writerOn(connection);
  const file = new MemoryFile(MiB);
  file.failure = Object.assign(new Error("EIO: i/o error, read"), { code: "EIO" });
  const calls: string[] = [];
  writer.send(header, {}, file.range(), () => calls.push("failed"));
  writer.send(header, {}, file.range(), () => calls.push("behind it"));
  await writer.flushed();
  assert(connection.isClosed);
  assert.deepEqual(calls, ["failed", "behind it"]);
  assert.equal(connection.written.length, 1);
});

Deno.test("a range counts as what waits for the peer", async () => {
  const connection = new FileSendingConnection();
  let open = () => {};
  connection.gate = new Promise((resolve) => open = resolve);
  const writer = writerOn(connection);
  const file = new MemoryFile(MiB);
  for (let waiting = 0; waiting < limits.replyQueueBytesMax; waiting += MiB) {
    assert(!writer.isCrowded);
    writer.send(header, {}, file.range());
  }
  assert(writer.isCrowded);
  open();
  await writer.room();
  assert(!writer.isCrowded);
});

Deno.test("a file that moves on slowly is no peer that reads nothing", async () => {
  const clock = new VirtualClock();
  const connection = new FakeConnection();
  const writer = writerOn(connection, clock);
  const file = new MemoryFile(4 * MiB);
  const pause = (ms: number) => new Promise<void>((resolve) => clock.setTimer(resolve, ms));
  // Each write of a copy takes a while, each piece of the range less than the limit.
  const copies = limits.fileTurnBytes / limits.fileCopyBytes;
  const write = connection.write.bind(connection);
  connection.write = async (data) => {
    await pause(limits.frameTimeoutMs / copies - 1);
    await write(data);
  };
  writer.send(header, {}, file.range());
  await clock.run(writer.flushed());
  assert(!connection.isClosed);
  assert.deepEqual(await payloadsIn(connection), [file.bytes]);
});
