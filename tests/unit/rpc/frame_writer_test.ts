import assert from "node:assert/strict";
import type { Clock } from "../../../shared/environment.ts";
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

function readerOf(chunks: Uint8Array[]): FrameReader {
  return new FrameReader(new FakeConnection(chunks), {
    clock: timeless,
    bodyBytesMax: limits.requestBodyBytesMax,
    payloadBytesMax: limits.framePayloadBytesMax,
  });
}

Deno.test("FrameWriter keeps the order over many buffers and many turns", async () => {
  const random = new SeededRandom(11);
  const connection = new FakeConnection();
  const writer = new FrameWriter(connection, { clock: timeless, bodyBytesMax: 64 * KiB });
  const sizes = Array.from({ length: 3_000 }, () => random.below(3_000));
  for (const [index, size] of sizes.entries()) {
    const payload = new Uint8Array(random.below(20) === 0 ? coalesceBytesMax + size : size);
    writer.send({ kind: 0, opcode: 1, requestId: index }, { text: "x".repeat(size) }, payload);
    if (random.below(10) === 0) await Promise.resolve();
    if (random.below(200) === 0) await writer.flushed();
  }
  await writer.flushed();
  const reader = readerOf(connection.written);
  for (const [index, size] of sizes.entries()) {
    const received = reader.buffered() ?? await reader.next();
    assert.equal(received?.requestId, index);
    assert.deepEqual(received?.body, { text: "x".repeat(size) });
  }
  assert.equal(await reader.next(), null);
});

Deno.test("FrameWriter sends together what is ready when its connection has gathered it", async () => {
  const connection = new FakeConnection();
  const gathered = Promise.withResolvers<void>();
  const gathering = Object.assign(connection, { gather: () => gathered.promise });
  const writer = new FrameWriter(gathering, { clock: timeless, bodyBytesMax: 100 });
  for (let requestId = 1; requestId <= 3; requestId++) {
    writer.send({ kind: frameKind.request, opcode: 1, requestId }, {});
    for (let turn = 0; turn < 100; turn++) await Promise.resolve();
    assert.equal(connection.written.length, 0);
  }
  gathered.resolve();
  await writer.flushed();
  assert.equal(connection.written.length, 1);
  const reader = readerOf(connection.written);
  for (let requestId = 1; requestId <= 3; requestId++) {
    assert.equal((await reader.next())?.requestId, requestId);
  }
});

Deno.test("FrameWriter refuses a body over the limit and sends what is next", async () => {
  const connection = new FakeConnection();
  const writer = new FrameWriter(connection, { clock: timeless, bodyBytesMax: 100 });
  const header = { kind: frameKind.request, opcode: 1, requestId: 1 };
  assert.throws(
    () => writer.send(header, { text: "x".repeat(200) }),
    (error) => isRustreError(error, "BAD_REQUEST"),
  );
  writer.send(header, { text: "short" });
  await writer.flushed();
  assert.deepEqual((await readerOf(connection.written).next())!.body, { text: "short" });
});

/** A writer whose peer reads nothing until `open` is called. */
function gatedWriter(clock: Clock) {
  const connection = new FakeConnection();
  let open = () => {};
  connection.gate = new Promise((resolve) => open = resolve);
  const writer = new FrameWriter(connection, { clock, bodyBytesMax: 64 * KiB });
  return { connection, writer, open: () => open() };
}

Deno.test("FrameWriter is crowded by what waits, and has room again when it has left", async () => {
  const { writer, open } = gatedWriter(timeless);
  const header = { kind: frameKind.reply, opcode: 1, requestId: 1 };
  for (let waiting = 0; waiting < limits.replyQueueBytesMax; waiting += MiB) {
    assert(!writer.isCrowded);
    writer.send(header, {}, new Uint8Array(MiB));
  }
  assert(writer.isCrowded);
  const room = writer.room();
  open();
  await room;
  assert(!writer.isCrowded);
});

Deno.test("FrameWriter calls onWritten once: copied, written, or never to be written", async () => {
  const calls: string[] = [];
  const { writer, open, connection } = gatedWriter(timeless);
  const header = { kind: frameKind.reply, opcode: 1, requestId: 1 };
  const large = new Uint8Array(coalesceBytesMax);
  writer.send(header, {}, new Uint8Array(10), () => calls.push("small"));
  assert.deepEqual(calls, ["small"]);
  writer.send(header, {}, large, () => calls.push("first"));
  writer.send(header, {}, large, () => calls.push("second"));
  open();
  await writer.flushed();
  assert.deepEqual(calls, ["small", "first", "second"]);
  connection.close();
  writer.send(header, {}, large, () => calls.push("failed"));
  writer.send(header, {}, large, () => calls.push("failed behind it"));
  await writer.flushed();
  writer.send(header, {}, large, () => calls.push("too late"));
  const end = ["failed", "failed behind it", "too late"];
  assert.deepEqual(calls.slice(3), end);
  assert(!writer.isCrowded);
});

Deno.test("FrameWriter hangs up on a peer that reads nothing, and leaves no timer", async () => {
  const clock = new VirtualClock();
  const { writer, connection } = gatedWriter(clock);
  writer.send({ kind: frameKind.reply, opcode: 1, requestId: 1 }, {});
  await clock.run(
    new Promise<void>((resolve) => clock.setTimer(resolve, limits.frameTimeoutMs + 1)),
  );
  assert(connection.isClosed);
  assert.equal(clock.timerCount, 0);
});

Deno.test("FrameWriter does not hang up on a peer that is slow, or had nothing to read", async () => {
  const clock = new VirtualClock();
  const connection = new FakeConnection();
  const pause = (ms: number) => new Promise<void>((resolve) => clock.setTimer(resolve, ms));
  const writer = new FrameWriter(connection, { clock, bodyBytesMax: 64 * KiB });
  const header = { kind: frameKind.reply, opcode: 1, requestId: 1 };
  await clock.run((async () => {
    for (let count = 0; count < 10; count++) {
      connection.gate = pause(limits.frameTimeoutMs - 1);
      writer.send(header, {}, new Uint8Array(coalesceBytesMax));
      await writer.flushed();
    }
    await pause(10 * limits.frameTimeoutMs);
    assert(!connection.isClosed);
    assert.equal(clock.timerCount, 0, "an idle connection has no timer");
    writer.send(header, {});
    writer.close();
    assert.equal(clock.timerCount, 0);
  })());
});
