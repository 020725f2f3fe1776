// Bad input to a real server over TCP: each is refused, others are served, nothing is kept.

import assert from "node:assert/strict";
import * as v from "valibot";
import { codeOfNumber, type ErrorCode, isRustreError } from "../../../shared/errors.ts";
import { sleep } from "../../../shared/environment.ts";
import { limits } from "../../../shared/limits.ts";
import { loggerOf } from "../../../shared/logging.ts";
import { systemEnvironment } from "../../../shared/platform.ts";
import { RpcClient } from "../../../shared/rpc/client.ts";
import { type Frame, frameKind } from "../../../shared/rpc/frame.ts";
import { encodeBody } from "../../../shared/rpc/message_pack.ts";
import { mdsService } from "../../../shared/protocol/mds.ts";
import { ossService } from "../../../shared/protocol/oss.ts";
import { helloOpcode, protocolVersion } from "../../../shared/rpc/hello.ts";
import { serve } from "../../../shared/rpc/server.ts";
import type { Handlers } from "../../../shared/rpc/service.ts";
import {
  clusterId,
  errorIn,
  frameBytes,
  helloBytes,
  identity,
  type RawFrame,
  RawPeer,
  startServer,
  type TestServer,
  testService,
} from "../../support/rpc.ts";
import { seeded, testSeed } from "../../support/seed.ts";
import { SeededRandom } from "../../support/seeded_random.ts";
import { mdsExamples, ossExamples } from "./examples.ts";

const environment = systemEnvironment();
const MiB = 1024 * 1024;
const { echo, upload, download } = testService.methods;

/** Another client is served, and nothing is held for the ones before. */
async function assertUnharmed(server: TestServer): Promise<void> {
  await using rpc = new RpcClient({ environment, caller: "client" });
  const reply = await rpc.call(server.endpoint, testService, "echo", { text: "still here" });
  assert.deepEqual(reply, { text: "still here" });
  await until(() => server.server.load.connections === 1);
  assert.deepEqual(server.server.load, { connections: 1, payloadBytes: 0 });
}

/** What has been begun ends soon; the test fails where it does not. */
async function until(condition: () => boolean, timeoutMs = 10_000): Promise<void> {
  const endMs = environment.clock.monotonicMs() + timeoutMs;
  while (!condition()) {
    assert(environment.clock.monotonicMs() < endMs, "it did not happen in time");
    await sleep(environment.clock, 1);
  }
}

function codeIn(frame: Frame | null): ErrorCode {
  return codeOfNumber(errorIn(frame).code);
}

function patched(bytes: Uint8Array<ArrayBuffer>, change: (view: DataView) => void): Uint8Array {
  change(new DataView(bytes.buffer));
  return bytes;
}

// ── before and instead of a hello ──────────────────────────────────────────────────────────────

const badHellos: [string, Uint8Array, ErrorCode][] = [
  ["a request", frameBytes({ opcode: echo.opcode, body: { text: "x" } }), "BAD_REQUEST"],
  ["a reply", frameBytes({ kind: frameKind.reply, opcode: helloOpcode }), "BAD_REQUEST"],
  [
    "no MessagePack",
    frameBytes({ opcode: helloOpcode, bodyBytes: Uint8Array.of(0xc1) }),
    "BAD_REQUEST",
  ],
  ["nothing at all in it", frameBytes({ opcode: helloOpcode, body: {} }), "BAD_REQUEST"],
  ["an older protocol", helloBytes({ protocol: 1 }), "WRONG_VERSION"],
  ["a later protocol", helloBytes({ protocol: protocolVersion + 1 }), "WRONG_VERSION"],
  [
    "a later protocol of another form",
    frameBytes({ opcode: helloOpcode, body: { protocol: 9 } }),
    "WRONG_VERSION",
  ],
  ["another cluster", helloBytes({ clusterId: "d".repeat(32) }), "WRONG_CLUSTER"],
  ["another role", helloBytes({ wants: "oss" }), "WRONG_ROLE"],
  ["an OST", helloBytes({ targetIndex: 3 }), "WRONG_TARGET"],
  ["an unknown caller", helloBytes({ caller: "root" }), "BAD_REQUEST"],
  ["HTTP", new TextEncoder().encode("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"), "BAD_FRAME"],
  ["a payload", patched(helloBytes(), (view) => view.setUint32(16, 4 * MiB, true)), "BAD_FRAME"],
  [
    "4 GiB of body",
    patched(helloBytes(), (view) => view.setUint32(12, 0xffff_ffff, true)),
    "BAD_FRAME",
  ],
];

for (const [what, bytes, code] of badHellos) {
  Deno.test(`a hello of ${what} is refused with ${code}, and the server hangs up`, async () => {
    await using server = await startServer(environment);
    using peer = await server.peer();
    await peer.connection.write(bytes);
    assert.equal(codeIn(await peer.receive()), code);
    await peer.hungUp();
    await assertUnharmed(server);
  });
}

// ── frames after a hello ───────────────────────────────────────────────────────────────────────

const whole = () => frameBytes({ opcode: echo.opcode, body: { text: "hello" } });
const noFrames: [string, Uint8Array, ErrorCode][] = [
  [
    "a body of 4 GiB",
    patched(whole(), (view) => view.setUint32(12, 0xffff_ffff, true)),
    "BAD_FRAME",
  ],
  [
    "a payload of 4 GiB",
    patched(whole(), (view) => view.setUint32(16, 0xffff_ffff, true)),
    "BAD_FRAME",
  ],
  ["another magic number", patched(whole(), (view) => view.setUint32(0, 1)), "BAD_FRAME"],
  ["another version", patched(whole(), (view) => view.setUint8(4, 7)), "WRONG_VERSION"],
  ["reserved bytes", patched(whole(), (view) => view.setUint8(23, 1)), "BAD_FRAME"],
  ["the kind of a reply", frameBytes({ kind: frameKind.reply, opcode: echo.opcode }), "BAD_FRAME"],
  ["the kind of an error", frameBytes({ kind: frameKind.error, opcode: echo.opcode }), "BAD_FRAME"],
];

for (const [what, bytes, code] of noFrames) {
  Deno.test(`a frame with ${what} ends its connection with ${code}`, async () => {
    await using server = await startServer(environment);
    using peer = await server.greetedPeer();
    await peer.connection.write(bytes);
    const farewell = await peer.receive();
    assert.equal(codeIn(farewell), code);
    assert.equal(farewell?.requestId, 0);
    await peer.hungUp();
    await assertUnharmed(server);
  });
}

const badRequests: [string, RawFrame, ErrorCode, RegExp?][] = [
  ["a second hello", { opcode: helloOpcode, body: {} }, "UNKNOWN_OPERATION"],
  ["an unknown operation", { opcode: 0xffff }, "UNKNOWN_OPERATION", /65535/],
  ["a body that is none", { opcode: echo.opcode, bodyBytes: Uint8Array.of(0x91) }, "BAD_REQUEST"],
  [
    "a field of another type",
    { opcode: echo.opcode, body: { text: 1 } },
    "BAD_REQUEST",
    /echo.*"text"/,
  ],
  [
    "a payload where none belongs",
    { opcode: echo.opcode, body: { text: "x" }, payload: new Uint8Array(4 * MiB) },
    "BAD_REQUEST",
    /takes no payload/,
  ],
  [
    "a long string where a number belongs",
    { opcode: download.opcode, body: { lengthBytes: "x".repeat(60_000) } },
    "BAD_REQUEST",
    /^.{1,400}$/,
  ],
];

for (const [what, frame, code, message = /./] of badRequests) {
  Deno.test(`a request with ${what} is refused with ${code}, the next one answered`, async () => {
    await using server = await startServer(environment);
    using peer = await server.greetedPeer();
    const reply = await peer.ask({ requestId: 77, ...frame });
    assert.equal(reply.requestId, 77);
    assert.equal(codeIn(reply), code);
    assert.match(errorIn(reply).message, message);
    const next = await peer.ask({ opcode: echo.opcode, body: { text: "good" } });
    assert.deepEqual(next.body, { text: "good" });
    peer.connection.close();
    await assertUnharmed(server);
  });
}

Deno.test("object ids that are none never reach an oss's handler", async () => {
  const seen: unknown[] = [];
  const handlers = Object.fromEntries(
    Object.keys(ossService.methods).map((name) => [name, (request: unknown) => {
      seen.push(request);
      return Promise.resolve({ lengthBytes: 1 });
    }]),
  ) as unknown as Handlers<typeof ossService>;
  const server = serve({
    environment,
    listener: await environment.transport.listen({ host: "127.0.0.1", port: 0 }),
    service: ossService,
    handlers,
    identity: { ...identity, role: "oss", targetIndex: 3 },
    log: loggerOf("oss"),
  });
  using peer = await RawPeer.connect(environment, server.address);
  await peer.greet({ wants: "oss", targetIndex: 3 });
  const objects = [
    "../../etc/passwd",
    "x".repeat(60_000),
    "0000000000000002:0000000\0",
    "",
    5,
    null,
  ];
  for (const name of ["statObject", "readObject", "resizeObject"] as const) {
    for (const object of objects) {
      const body = { ...ossExamples[name].request, object };
      const reply = await peer.ask({ opcode: ossService.methods[name].opcode, body });
      assert.equal(codeIn(reply), "BAD_REQUEST");
    }
  }
  assert.deepEqual(seen, []);
  const { opcode } = ossService.methods.statObject;
  const reply = await peer.ask({ opcode, body: ossExamples.statObject.request });
  assert.deepEqual(reply.body, { lengthBytes: 1 });
  peer.connection.close();
  await server.close();
});

Deno.test("names with slashes, NUL, and of any length reach the handler as the strings they are", async () => {
  const names = ["a/b", "..", "\0", "x".repeat(50_000), "\u{1f600}", "name\n", ""];
  const schema: v.GenericSchema = mdsService.methods.unlink.request;
  for (const name of names) {
    assert(v.is(schema, { ...mdsExamples.unlink.request, name }));
  }
  await using server = await startServer(environment);
  const rpc = server.client();
  for (const text of names) {
    assert.deepEqual(await rpc.call(server.endpoint, testService, "echo", { text }), { text });
  }
});

// ── many of them ───────────────────────────────────────────────────────────────────────────────

/** A frame like those of a client, with a few bytes changed, cut off or added. */
function mutatedFrame(random: SeededRandom): Uint8Array {
  const frames: RawFrame[] = [
    { opcode: echo.opcode, body: { text: "x".repeat(random.below(300)) } },
    { opcode: upload.opcode, body: {}, payload: random.bytes(random.below(2000)) },
    { opcode: download.opcode, body: { lengthBytes: random.below(100_000) } },
    { opcode: random.below(0x10000), bodyBytes: random.bytes(random.below(400)) },
    { opcode: echo.opcode, bodyBytes: bomb(random) },
  ];
  const bytes = frameBytes({ ...frames[random.below(frames.length)]!, requestId: random.uint32() });
  for (let count = random.below(4); count > 0; count--) {
    bytes[random.below(bytes.length)] = random.below(256);
  }
  return random.below(10) === 0 ? bytes.subarray(0, random.below(bytes.length)) : bytes;
}

/** MessagePack that claims much, is deep, or both. */
function bomb(random: SeededRandom): Uint8Array {
  const heads = [[0xdc, 0x20, 0], [0xdd, 0xff, 0xff, 0xff, 0xff], [0xdf, 0xff, 0xff, 0xff, 0xff]]
    .concat([[0xdb, 0xff, 0xff, 0xff, 0xff], [0xc9, 0xff, 0xff, 0xff, 0xff], [0x91], [
      0x81,
      0xa1,
      0x61,
    ]])
    .concat([[0xde, 0xff, 0xff], [0xc6, 0x7f, 0xff, 0xff, 0xff], [0x8f], [0x9f]]);
  const isUniform = random.below(2) === 0;
  const one = heads[random.below(heads.length)]!;
  const bytes: number[] = [];
  const length = random.below(20_000);
  while (bytes.length < length) {
    bytes.push(...(isUniform ? one : heads[random.below(heads.length)]!));
  }
  return Uint8Array.from(bytes);
}

Deno.test("thousands of mutated frames are refused, memory stays flat, others are served", async () => {
  await seeded(() => fuzz(new SeededRandom(testSeed)));
});

async function fuzz(random: SeededRandom): Promise<void> {
  await using server = await startServer(environment);
  const attack = async (connections: number) => {
    for (let count = 0; count < connections; count++) {
      using peer = await server.peer();
      if (random.below(10) > 0) await peer.greet();
      const draining = peer.hungUp();
      try {
        for (let frames = 1 + random.below(20); frames > 0; frames--) {
          await peer.connection.write(mutatedFrame(random));
        }
      } catch (error) {
        assert(isRustreError(error, "CONNECTION_LOST"), String(error));
      }
      // Waits neither for answers nor for the end of a frame that was cut off.
      peer.connection.close();
      await draining;
    }
  };
  await attack(100);
  const before = Deno.memoryUsage().rss;
  await attack(500);
  const grownMiB = (Deno.memoryUsage().rss - before) / MiB;
  assert(grownMiB < 150, `${grownMiB} MiB`);
  await assertUnharmed(server);
}

Deno.test("reservations of payloads that never arrive are given back, however often", async () => {
  await using server = await startServer(environment);
  // Each claims all that one frame may have; 64 of them would be all that a server has.
  const claim = frameBytes({ opcode: upload.opcode, payload: new Uint8Array(4 * MiB) });
  for (let round = 0; round < 4; round++) {
    const peers = await Promise.all(Array.from({ length: 40 }, () => server.greetedPeer()));
    await Promise.all(peers.map((peer) => peer.connection.write(claim.subarray(0, 100_000))));
    await until(() => server.server.load.payloadBytes === 40 * 4 * MiB);
    for (const peer of peers) peer.connection.close();
    await until(() => server.server.load.payloadBytes === 0);
  }
  await assertUnharmed(server);
});

Deno.test("room for requests and payloads comes back after refused ones, however often", async () => {
  await using server = await startServer(environment, {
    handlers: { upload: () => Promise.reject(new Error("a bug")) },
  });
  using peer = await server.greetedPeer();
  const payload = new Uint8Array(1 * MiB);
  const rounds = 3 * limits.requestsPerConnectionMax;
  for (let count = 0; count < rounds; count++) {
    assert.equal(codeIn(await peer.ask({ opcode: upload.opcode, payload })), "INTERNAL");
    assert.equal(
      codeIn(await peer.ask({ opcode: upload.opcode, body: 1, payload })),
      "BAD_REQUEST",
    );
    assert.equal(codeIn(await peer.ask({ opcode: 9 })), "UNKNOWN_OPERATION");
  }
  peer.connection.close();
  await assertUnharmed(server);
});

Deno.test("a peer that never reads its replies is held to limits.replyQueueBytesMax", async () => {
  await using server = await startServer(environment);
  using peer = await server.greetedPeer();
  const request = frameBytes({ opcode: echo.opcode, body: { text: "x".repeat(60_000) } });
  const before = Deno.memoryUsage().rss;
  let sent = 0;
  const sending = (async () => {
    for (; sent < 10_000; sent++) await peer.connection.write(request);
  })();
  const stopped = assert.rejects(sending, (error) => isRustreError(error, "CONNECTION_LOST"));
  // Sockets of both ends fill up, then the server's queue; after that it reads no more.
  let previous = -1;
  for (let quietMs = 0; quietMs < 300; quietMs = sent === previous ? quietMs + 20 : 0) {
    previous = sent;
    await sleep(environment.clock, 20);
  }
  assert(sent < 10_000, "600 MB were taken from a peer that reads nothing");
  assert((Deno.memoryUsage().rss - before) / MiB < 200);
  await using rpc = new RpcClient({ environment, caller: "client", clusterId });
  assert.deepEqual(await rpc.call(server.endpoint, testService, "echo", { text: "a" }), {
    text: "a",
  });
  peer.connection.close();
  await stopped;
});

Deno.test("a peer that never reads its downloads holds no more than a connection may", async () => {
  await using server = await startServer(environment);
  using peer = await server.greetedPeer();
  for (let requestId = 1; requestId <= 100; requestId++) {
    await peer.send({ opcode: download.opcode, requestId, body: { lengthBytes: 4 * MiB } });
  }
  await until(() => server.server.load.payloadBytes > 0);
  await sleep(environment.clock, 100);
  assert(server.server.load.payloadBytes <= limits.payloadBytesPerConnectionMax);
  peer.connection.close();
  await assertUnharmed(server);
});

Deno.test("a peer that sends byte by byte is served", async () => {
  await using server = await startServer(environment);
  using peer = await server.peer();
  const payload = new SeededRandom(5).bytes(50);
  const bytes = [...helloBytes(), ...frameBytes({ opcode: upload.opcode, payload })];
  for (const byte of bytes) await peer.connection.write(Uint8Array.of(byte));
  assert.equal((await peer.receive())?.kind, frameKind.reply);
  const sum = payload.reduce((a, b) => a + b);
  assert.deepEqual((await peer.receive())?.body, { lengthBytes: 50, sum });
});

Deno.test("encodeBody() of what a handler gives never takes the server down", async () => {
  const deep: unknown[] = [];
  deep.push(deep);
  const text = deep as unknown as string;
  await using server = await startServer(environment, {
    handlers: {
      wait: () => Promise.resolve({ text }),
      echo: () => Promise.resolve({ text: "x".repeat(2 * MiB) }),
    },
  });
  assert.throws(() => encodeBody({ text }));
  const rpc = server.client();
  for (const name of ["wait", "echo"] as const) {
    await assert.rejects(
      rpc.call(server.endpoint, testService, name, { text: "" }),
      (error) => isRustreError(error, "INTERNAL"),
    );
  }
  assert.equal(server.server.load.payloadBytes, 0);
});
