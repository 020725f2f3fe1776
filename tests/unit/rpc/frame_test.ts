import assert from "node:assert/strict";
import fc from "fast-check";
import { type ErrorCode, isRustreError } from "../../../shared/errors.ts";
import { limits } from "../../../shared/limits.ts";
import { encodeHeader, type FrameBounds } from "../../../shared/rpc/frame.ts";
import { FrameReader } from "../../../shared/rpc/frame_reader.ts";
import { coalesceBytesMax, FrameWriter } from "../../../shared/rpc/frame_writer.ts";
import { Semaphore } from "../../../shared/semaphore.ts";
import { FakeConnection, timeless } from "../../support/fake_connection.ts";
import { frameBytes, type RawFrame } from "../../support/rpc.ts";
import { SeededRandom } from "../../support/seeded_random.ts";
import { VirtualClock } from "../../support/virtual_clock.ts";

const KiB = 1024;
const MiB = 1024 * KiB;
const bounds: FrameBounds = {
  bodyBytesMax: limits.requestBodyBytesMax,
  payloadBytesMax: limits.framePayloadBytesMax,
};

function readerOf(chunks: Uint8Array[], options: Partial<FrameBounds> = {}): FrameReader {
  return new FrameReader(new FakeConnection(chunks), { clock: timeless, ...bounds, ...options });
}

function joined(chunks: readonly Uint8Array[]): Uint8Array {
  const bytes = new Uint8Array(chunks.reduce((length, chunk) => length + chunk.length, 0));
  let offset = 0;
  for (const chunk of chunks) {
    bytes.set(chunk, offset);
    offset += chunk.length;
  }
  return bytes;
}

/** What FrameWriter makes of the frames. */
async function written(frames: readonly RawFrame[]): Promise<Uint8Array[]> {
  const connection = new FakeConnection();
  const writer = new FrameWriter(connection, {
    clock: timeless,
    bodyBytesMax: limits.replyBodyBytesMax,
  });
  for (const { kind, opcode, requestId, body, payload } of frames) {
    const header = { kind: kind as 0, opcode: opcode!, requestId: requestId! };
    writer.send(header, body, payload);
  }
  await writer.flushed();
  writer.close();
  return connection.written;
}

/** In pieces of these lengths, over and over; megabytes are not cut into single bytes to the end. */
function cut(bytes: Uint8Array, lengths: readonly number[]): Uint8Array[] {
  const chunks: Uint8Array[] = [];
  for (let start = 0, index = 0; start < bytes.length; index++) {
    const end = start + lengths[index % lengths.length]! * (index < 2_000 ? 1 : 1_000);
    chunks.push(bytes.subarray(start, end));
    start = end;
  }
  return chunks;
}

const scalar = fc.oneof(
  fc.string({ maxLength: 300, unit: "grapheme" }).filter((text) => !text.startsWith("\ufeff")),
  fc.integer(),
  fc.maxSafeInteger(),
  fc.double({ noNaN: true }).map((number) => number + 0),
  fc.boolean(),
  fc.constant(null),
  fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }),
);
const fieldName = fc.string({ maxLength: 40, unit: "grapheme" })
  .filter((name) => name !== "__proto__");
const value = fc.letrec((tie) => ({
  any: fc.oneof(
    { maxDepth: 4 },
    scalar,
    fc.array(tie("any"), { maxLength: 20 }),
    fc.dictionary(fieldName, tie("any"), { maxKeys: 20, noNullPrototype: true }),
  ),
})).any;
const payloadLengths = [0, 1, 4095, 4096, coalesceBytesMax - 1, coalesceBytesMax]
  .concat([coalesceBytesMax + 1, 64 * KiB - 100, 64 * KiB, 64 * KiB + 1, 300 * KiB]);
const frame = fc.record({
  kind: fc.constantFrom(0, 1, 2),
  opcode: fc.nat(0xffff),
  requestId: fc.nat(0xffff_ffff),
  body: fc.dictionary(fieldName, value, { maxKeys: 10, noNullPrototype: true }),
  payload: fc.constantFrom(...payloadLengths).map((length) =>
    new SeededRandom(length).bytes(length)
  ),
}, { noNullPrototype: true });

Deno.test("frames arrive as they were sent, however the bytes are cut", async () => {
  const chunkLengths = fc.array(
    fc.oneof(fc.integer({ min: 1, max: 40 }), fc.integer({ min: 1, max: 200_000 })),
    {
      minLength: 1,
      maxLength: 50,
    },
  );
  await fc.assert(
    fc.asyncProperty(
      fc.array(frame, { minLength: 1, maxLength: 12 }),
      chunkLengths,
      async (frames, lengths) => {
        const reader = readerOf(cut(joined(await written(frames)), lengths), {
          bodyBytesMax: limits.replyBodyBytesMax,
        });
        for (const sent of frames) {
          const received = reader.buffered() ?? await reader.next();
          assert(received);
          const { kind, opcode, requestId, body, payload } = received;
          assert.deepEqual({ kind, opcode, requestId, body, payload }, sent);
          assert.equal(received.payloadBytes, sent.payload.length);
        }
        assert.equal(reader.buffered(), undefined);
        assert.equal(await reader.next(), null);
      },
    ),
    { numRuns: 150 },
  );
});

Deno.test("a frame arrives byte by byte", async () => {
  const sent = {
    kind: 1,
    opcode: 7,
    requestId: 9,
    body: { a: [1, "b", -5n] },
    payload: Uint8Array.of(1, 2),
  };
  const reader = readerOf(cut(joined(await written([sent, sent])), [1]));
  for (let count = 0; count < 2; count++) {
    const { body, payload } = (await reader.next())!;
    assert.deepEqual({ body, payload }, { body: sent.body, payload: sent.payload });
  }
  assert.equal(await reader.next(), null);
});

Deno.test("payloads of 1 and 4 MiB and a body of 1 MiB arrive whole", async () => {
  const text = "x".repeat(limits.replyBodyBytesMax - 100);
  const frames = [1 * MiB, 4 * MiB].map((length) => ({
    kind: 1,
    opcode: 1,
    requestId: 1,
    body: { text },
    payload: new SeededRandom(length).bytes(length),
  }));
  const reader = readerOf(cut(joined(await written(frames)), [100_000]), {
    bodyBytesMax: limits.replyBodyBytesMax,
  });
  for (const sent of frames) {
    const { body, payload } = (await reader.next())!;
    assert.deepEqual(body, sent.body);
    assert.deepEqual(payload, sent.payload);
  }
  assert.equal(await reader.next(), null);
});

Deno.test("thousands of names of fields are kept apart", async () => {
  // More than the table of names has places.
  const names = Array.from({ length: 5_000 }, (_, index) => `n${index.toString(36)}é`);
  for (let start = 0; start < names.length; start += 500) {
    const body = Object.fromEntries(names.slice(start, start + 500).map((name) => [name, name]));
    const reader = readerOf([frameBytes({ body })]);
    assert.deepEqual((await reader.next())!.body, body);
  }
});

Deno.test("frames that are sent together leave in one write, large payloads uncopied", async () => {
  const small = { kind: 1, opcode: 1, requestId: 1, body: { a: 1 }, payload: new Uint8Array(100) };
  assert.equal((await written([small, small, small])).length, 1);
  const large = { ...small, payload: new Uint8Array(coalesceBytesMax) };
  const writes = await written([small, large, small]);
  assert.deepEqual(writes.map((bytes) => bytes.length > 1000), [false, true, false]);
});

// ── what is refused ────────────────────────────────────────────────────────────────────────────

function mutated(change: (view: DataView) => void): Uint8Array {
  const bytes = frameBytes({ body: { a: 1 } });
  change(new DataView(bytes.buffer));
  return bytes;
}

const refused: [string, ErrorCode, Uint8Array][] = [
  ["another start", "BAD_FRAME", mutated((view) => view.setUint32(0, 0x4745_5420))],
  ["another version", "WRONG_VERSION", mutated((view) => view.setUint8(4, 2))],
  ["an unknown kind", "BAD_FRAME", mutated((view) => view.setUint8(5, 3))],
  ["a body of 4 GiB", "BAD_FRAME", mutated((view) => view.setUint32(12, 0xffff_ffff, true))],
  ["a payload of 4 GiB", "BAD_FRAME", mutated((view) => view.setUint32(16, 0xffff_ffff, true))],
  [
    "a body one byte over the limit",
    "BAD_FRAME",
    mutated((view) => view.setUint32(12, bounds.bodyBytesMax + 1, true)),
  ],
  [
    "a payload one byte over the limit",
    "BAD_FRAME",
    mutated((view) => view.setUint32(16, bounds.payloadBytesMax + 1, true)),
  ],
  ["reserved bytes", "BAD_FRAME", mutated((view) => view.setUint32(20, 1, true))],
  ["an end within the header", "CONNECTION_LOST", frameBytes({}).subarray(0, 10)],
  ["an end within the body", "CONNECTION_LOST", frameBytes({ body: { a: 1 } }).subarray(0, 26)],
  [
    "an end within the payload",
    "CONNECTION_LOST",
    frameBytes({ payload: new Uint8Array(100) }).subarray(0, 100),
  ],
];

for (const [what, code, bytes] of refused) {
  Deno.test(`FrameReader refuses ${what} with ${code}`, async () => {
    for (const length of [bytes.length, 7, 1]) {
      const reader = readerOf(cut(bytes, [length]));
      await assert.rejects(reader.next(), (error) => isRustreError(error, code));
    }
  });
}

Deno.test("FrameReader gives a good frame before it refuses the bad one behind it", async () => {
  const bad = mutated((view) => view.setUint8(4, 9));
  const reader = readerOf([joined([frameBytes({ body: { a: 1 } }), bad])]);
  assert.deepEqual((await reader.next())!.body, { a: 1 });
  await assert.rejects(reader.next(), (error) => isRustreError(error, "WRONG_VERSION"));
});

const array16 = (count: number) => [0xdc, count >> 8, count & 0xff];
const badBodies: [string, number[] | Uint8Array][] = [
  ["nothing", []],
  ["two values", [0x01, 0x02]],
  ["half a string", [0xa5, 0x61]],
  ["half a number", [0xcf, 0, 0]],
  ["a length cut short", [0xdb, 0xff]],
  ["a string of 4 GiB", [0xdb, 0xff, 0xff, 0xff, 0xff, 0x61]],
  ["an array of 4 Gi elements", [0xdd, 0xff, 0xff, 0xff, 0xff]],
  ["a map of 4 Gi entries", [0xdf, 0xff, 0xff, 0xff, 0xff]],
  ["an array of more elements than bytes", array16(1000)],
  ["an array of too many elements", [...array16(8193), ...new Array(8193).fill(0)]],
  ["half of binary data", [0xc4, 2, 0]],
  ["binary data of 4 GiB", [0xc6, 0xff, 0xff, 0xff, 0xff, 1]],
  ["an extension", [0xd4, 1, 0]],
  ["a date", [0xd6, 0xff, 0, 0, 0, 0]],
  ["an extension of 4 GiB", [0xc9, 0xff, 0xff, 0xff, 0xff, 1]],
  ["the type that is none", [0xc1]],
  ["deep arrays", new Uint8Array(60_000).fill(0x91)],
  ["deep maps", Array.from({ length: 3000 }, () => [0x81, 0xa1, 0x61]).flat()],
  ["a map with a map as key", [0x81, 0x80, 0x01]],
  ["a map with a number as key", [0x81, 0x01, 0x01]],
  ["__proto__", [0x81, 0xa9, ...new TextEncoder().encode("__proto__"), 0x01]],
  // 21,000 arrays in each other, each of which would have room for 8,192 elements: 1.3 GiB.
  ["deep arrays that claim to be long", Array.from({ length: 21_000 }, () => array16(8192)).flat()],
  ["a byte order mark the decoder would drop", [
    0xd9,
    203,
    0xef,
    0xbb,
    0xbf,
    ...new Array(200).fill(0x61),
  ]],
];

for (const [what, bytes] of badBodies) {
  Deno.test(`a body of ${what} is undefined, and the next frame is read`, async () => {
    const bad = frameBytes({ bodyBytes: Uint8Array.from(bytes) });
    const reader = readerOf([joined([bad, frameBytes({ body: { good: true } })])]);
    assert.equal((await reader.next())!.body, undefined);
    assert.deepEqual((await reader.next())!.body, { good: true });
  });
}

Deno.test("binary data in a body is the frame's own, whatever is read after it", async () => {
  const first = new SeededRandom(13).bytes(1000);
  const later = Array.from(
    { length: 100 },
    () => frameBytes({ body: { data: new Uint8Array(1000) } }),
  );
  const reader = readerOf([frameBytes({ body: { data: first } }), ...later]);
  const frame = await reader.next();
  while (await reader.next());
  assert.deepEqual(frame!.body, { data: first });
});

Deno.test("bodies that claim much allocate little", async () => {
  const bomb = frameBytes({
    bodyBytes: Uint8Array.from(Array.from({ length: 21_000 }, () => array16(8192)).flat()),
  });
  const before = Deno.memoryUsage().rss;
  for (let count = 0; count < 20; count++) {
    assert.equal((await readerOf([bomb]).next())!.body, undefined);
  }
  const grownMiB = (Deno.memoryUsage().rss - before) / MiB;
  assert(grownMiB < 200, `${grownMiB} MiB for 1.3 MB of bodies`);
});

// ── time and room ──────────────────────────────────────────────────────────────────────────────

for (const [what, length] of [["header", 5], ["body", 30], ["payload", 80]] as const) {
  Deno.test(`FrameReader gives up on a ${what} that stalls for limits.frameTimeoutMs`, async () => {
    const clock = new VirtualClock();
    const bytes = frameBytes({ body: { text: "0123456789" }, payload: new Uint8Array(100) });
    const connection = new FakeConnection([bytes.subarray(0, length)], "wait");
    const reader = new FrameReader(connection, { clock, ...bounds });
    await clock.run(assert.rejects(
      reader.next(),
      (error) => isRustreError(error, "CONNECTION_LOST") && /stalled/.test(error.message),
    ));
    assert.equal(clock.monotonicMs(), limits.frameTimeoutMs);
    assert(connection.isClosed);
    assert.equal(clock.timerCount, 0);
  });
}

Deno.test("FrameReader waits for room before it takes a payload, and gives it back on failure", async () => {
  const room = new Semaphore(1000);
  await room.acquire(950);
  const half = frameBytes({ payload: new Uint8Array(100) }).subarray(0, 50);
  const reader = readerOf([half]);
  reader.allowPayload(1000, room);
  const reading = assert.rejects(reader.next(), (error) => isRustreError(error, "CONNECTION_LOST"));
  room.release(950);
  await reading;
  assert.equal(room.inUse, 0);
});

Deno.test("FrameReader.buffered() leaves a payload alone that there is no room for", async () => {
  const room = new Semaphore(150);
  const whole = frameBytes({ payload: new Uint8Array(100) });
  const reader = readerOf([joined([whole, whole])]);
  reader.allowPayload(100, room);
  assert.equal((await reader.next())?.payload.length, 100);
  assert.equal(reader.buffered(), undefined);
  room.release(100);
  assert.equal(reader.buffered()?.payload.length, 100);
  assert.equal(room.inUse, 100);
});

Deno.test("FrameReader receives payloads into the buffers that it is given", async () => {
  const payloads = [10, 100_000, 0, 300_000].map((length) =>
    new SeededRandom(length).bytes(length)
  );
  const reader = readerOf(payloads.map((payload, requestId) => frameBytes({ requestId, payload })));
  const given: Uint8Array[] = [];
  reader.receiveInto(({ requestId, payloadBytes }) => {
    assert.equal(payloadBytes, payloads[requestId]!.length);
    given.push(new Uint8Array(payloadBytes));
    return given.at(-1)!;
  });
  for (const payload of payloads) {
    const frame = reader.buffered() ?? await reader.next();
    assert.deepEqual(frame!.payload, payload);
    if (payload.length > 0) assert.equal(frame!.payload, given.at(-1));
  }
  assert.equal(given.length, 3);
});

Deno.test("encodeHeader() writes where it is told to", () => {
  const view = new DataView(new ArrayBuffer(30));
  encodeHeader(view, 6, { kind: 1, opcode: 0x0203, requestId: 4, bodyBytes: 5, payloadBytes: 6 });
  assert.equal(view.getUint32(0), 0);
  assert.equal(view.getUint16(12, true), 0x0203);
});
