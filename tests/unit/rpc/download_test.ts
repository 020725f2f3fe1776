// Downloads: whose memory the bytes are in, on both sides, and for how long.

import assert from "node:assert/strict";
import { type Environment, sleep } from "../../../shared/environment.ts";
import { RustreError } from "../../../shared/errors.ts";
import { limits } from "../../../shared/limits.ts";
import { systemEnvironment } from "../../../shared/platform.ts";
import type { DownloadOptions, RpcClient } from "../../../shared/rpc/client.ts";
import { frameKind } from "../../../shared/rpc/frame.ts";
import { helloOpcode, protocolVersion } from "../../../shared/rpc/hello.ts";
import type { Download } from "../../../shared/rpc/service.ts";
import {
  fails,
  frameBytes,
  identity,
  inVirtualTime,
  RawPeer,
  startServer,
  type TestServer,
  testService,
} from "../../support/rpc.ts";
import { SeededRandom } from "../../support/seeded_random.ts";
import { TemporaryFile } from "../../support/temporary_file.ts";

const KiB = 1024;
const MiB = 1024 * KiB;
const { download } = testService.methods;

function get(server: TestServer, rpc: RpcClient, lengthBytes: number, options?: DownloadOptions) {
  return rpc.download(server.endpoint, testService, "download", { lengthBytes }, options);
}

// ── into the caller's buffer ───────────────────────────────────────────────────────────────────

Deno.test("downloads are received into their callers' buffers, many at once", async () => {
  await using server = await startServer(systemEnvironment());
  const rpc = server.client();
  const random = new SeededRandom(41);
  await Promise.all(Array.from({ length: 200 }, async () => {
    const lengthBytes = random.below(random.below(2) === 0 ? 100 : 300 * KiB);
    const into = new Uint8Array(lengthBytes + random.below(100)).fill(0xee);
    const { payload } = await get(server, rpc, lengthBytes, { into });
    assert.equal(payload.length, lengthBytes);
    if (lengthBytes > 0) assert.equal(payload.buffer, into.buffer);
    assert(into.subarray(0, lengthBytes).every((byte) => byte === (lengthBytes & 0xff)));
    assert(into.subarray(lengthBytes).every((byte) => byte === 0xee));
  }));
});

Deno.test("a download that is longer than its buffer is BAD_FRAME and writes nothing", async () => {
  await inVirtualTime(async (environment) => {
    const tooLong = ({ lengthBytes }: { lengthBytes: number }) =>
      Promise.resolve({ reply: {}, payload: new Uint8Array(lengthBytes + 1).fill(7) });
    await using server = await startServer(environment, { handlers: { download: tooLong } });
    const rpc = server.client();
    for (const lengthBytes of [10, 100 * KiB]) {
      const into = new Uint8Array(lengthBytes);
      await assert.rejects(get(server, rpc, lengthBytes, { into }), fails("BAD_FRAME"));
      assert(into.every((byte) => byte === 0));
    }
    // The next call has a connection again.
    await get(server, rpc, 10, { into: new Uint8Array(11) });
  });
});

Deno.test("an error leaves the caller's buffer as it was", async () => {
  await inVirtualTime(async (environment) => {
    const refuse = () => Promise.reject(new RustreError("DATA_MISSING", "gone"));
    await using server = await startServer(environment, { handlers: { download: refuse } });
    const into = new Uint8Array(10);
    await assert.rejects(get(server, server.client(), 10, { into }), fails("DATA_MISSING"));
    assert(into.every((byte) => byte === 0));
  });
});

/** A server that answers a hello, takes one request and sends of its reply what it is told to. */
async function halfAnswering(environment: Environment, sendBytes: number) {
  const listener = await environment.transport.listen({ host: "127.0.0.1", port: 0 });
  const sent = Promise.withResolvers<RawPeer>();
  (async () => {
    const peer = new RawPeer(environment, (await listener.accept())!);
    await peer.receive();
    const body = { ...identity, protocol: protocolVersion };
    await peer.send({ kind: frameKind.reply, opcode: helloOpcode, requestId: 0, body });
    const { opcode, requestId } = (await peer.receive())!;
    const payload = new Uint8Array(MiB).fill(7);
    const reply = frameBytes({ kind: frameKind.reply, opcode, requestId, payload });
    await peer.connection.write(reply.subarray(0, reply.length - MiB + sendBytes));
    sent.resolve(peer);
  })();
  return { listener, sent: sent.promise };
}

for (const how of ["its signal", "its deadline"]) {
  Deno.test(`a caller that leaves by ${how} while it receives gets nothing more`, async () => {
    await inVirtualTime(async (environment) => {
      const { listener, sent } = await halfAnswering(environment, 100_000);
      await using server = await startServer(environment);
      const endpoint = { ...server.endpoint, address: listener.address };
      const stop = new AbortController();
      const into = new Uint8Array(MiB);
      const options = { into, signal: stop.signal, timeoutMs: 1_000 };
      const request = { lengthBytes: MiB };
      const rpc = server.client();
      const left = assert.rejects(
        rpc.download(endpoint, testService, "download", request, options),
        fails(how === "its signal" ? "INTERRUPTED" : "TIMED_OUT"),
      );
      const peer = await sent;
      await sleep(environment.clock, 1);
      assert.equal(into[99_999], 7);
      if (how === "its signal") stop.abort();
      await left;
      into.fill(1);
      // The connection was closed: what it carries is in the middle of a frame.
      await peer.connection.write(new Uint8Array(MiB).fill(9)).catch(() => {});
      await peer.hungUp();
      assert(into.every((byte) => byte === 1));
      listener.close();
    });
  });
}

Deno.test("a caller that leaves before its reply arrives costs nobody the connection", async () => {
  await inVirtualTime(async (environment) => {
    let open = () => {};
    const gate = new Promise<void>((resolve) => open = resolve);
    const handlers = {
      download: async ({ lengthBytes }: { lengthBytes: number }) => {
        if (lengthBytes === MiB) await gate;
        return { reply: {}, payload: new Uint8Array(lengthBytes).fill(7) };
      },
    };
    await using server = await startServer(environment, { handlers });
    const rpc = server.client();
    await get(server, rpc, 1);
    const into = new Uint8Array(MiB);
    const late = get(server, rpc, MiB, { into, timeoutMs: 100 });
    await assert.rejects(late, fails("TIMED_OUT"));
    const connections = rpc.connectionCount;
    open();
    await get(server, rpc, 10);
    await sleep(environment.clock, 1);
    assert.equal(rpc.connectionCount, connections);
    assert(into.every((byte) => byte === 0));
  });
});

// ── what the handler lends ─────────────────────────────────────────────────────────────────────

/** Handlers of downloads that count what they lent and got back. */
class Lender {
  lent = 0;
  released = 0;
  readonly #payloadOf: (lengthBytes: number) => Download["payload"];

  constructor(payloadOf: (lengthBytes: number) => Download["payload"]) {
    this.#payloadOf = payloadOf;
  }

  readonly download = ({ lengthBytes }: { lengthBytes: number }) => {
    this.lent++;
    const release = () => void this.released++;
    return Promise.resolve({ reply: {}, payload: this.#payloadOf(lengthBytes), release });
  };
}

for (const where of ["memory", "a file"]) {
  const bytes = new SeededRandom(42).bytes(4 * MiB);
  const lenderOf = (file: TemporaryFile) =>
    new Lender((length) => where === "memory" ? bytes.subarray(0, length) : file.range(0, length));

  Deno.test(`a download of ${where} is released once when it has left`, async () => {
    using file = new TemporaryFile(bytes);
    const lender = lenderOf(file);
    await using server = await startServer(systemEnvironment(), { handlers: lender });
    const rpc = server.client();
    for (const lengthBytes of [0, 1, 5000, 100 * KiB, 4 * MiB]) {
      const { payload } = await get(server, rpc, lengthBytes);
      assert.deepEqual(payload, bytes.subarray(0, lengthBytes));
    }
    assert.equal(lender.lent, 5);
    assert.equal(lender.released, 5);
    assert.equal(server.server.load.payloadBytes, 0);
  });

  Deno.test(`a download of ${where} is released once when its peer reads nothing`, async () => {
    await inVirtualTime(async (environment) => {
      using file = new TemporaryFile(bytes);
      const lender = lenderOf(file);
      await using server = await startServer(environment, { handlers: lender });
      using peer = await server.greetedPeer();
      for (let requestId = 1; requestId <= 20; requestId++) {
        const body = { lengthBytes: requestId % 2 === 0 ? MiB : 100 };
        await peer.send({ opcode: download.opcode, requestId, body });
      }
      await sleep(environment.clock, 1);
      assert(lender.lent > 1 && lender.released < lender.lent);
      await sleep(environment.clock, 3 * limits.frameTimeoutMs);
      assert.equal(lender.released, lender.lent);
      assert.deepEqual(server.server.load, { connections: 0, payloadBytes: 0 });
    });
  });

  Deno.test(`a download of ${where} is released once when its peer has gone`, async () => {
    await inVirtualTime(async (environment) => {
      using file = new TemporaryFile(bytes);
      const lender = lenderOf(file);
      let go = () => {};
      const gate = new Promise<void>((resolve) => go = resolve);
      const slow: typeof lender.download = async (request) => {
        await gate;
        return await lender.download(request);
      };
      await using server = await startServer(environment, { handlers: { download: slow } });
      using peer = await server.greetedPeer();
      for (const lengthBytes of [1, MiB]) {
        await peer.send({ opcode: download.opcode, body: { lengthBytes } });
      }
      await sleep(environment.clock, 1);
      peer.connection.close();
      await sleep(environment.clock, 1);
      go();
      await sleep(environment.clock, 1);
      assert.equal(lender.lent, 2);
      assert.equal(lender.released, 2);
      assert.deepEqual(server.server.load, { connections: 0, payloadBytes: 0 });
    });
  });
}

Deno.test("a download whose reply cannot be sent is released, and its room given back", async () => {
  await inVirtualTime(async (environment) => {
    let released = 0;
    const handlers = {
      download: () =>
        Promise.resolve({
          reply: { text: "x".repeat(limits.replyBodyBytesMax) },
          payload: new Uint8Array(MiB),
          release: () => void released++,
        }),
    };
    await using server = await startServer(environment, { handlers });
    await assert.rejects(get(server, server.client(), MiB), fails("INTERNAL"));
    assert.equal(released, 1);
    assert.equal(server.server.load.payloadBytes, 0);
  });
});

Deno.test("a file that waits for its peer takes the room of what is copied of it at once", async () => {
  await inVirtualTime(async (environment) => {
    using file = new TemporaryFile(new Uint8Array(4 * MiB));
    const { download: lend } = new Lender((length) => file.range(0, length));
    await using server = await startServer(environment, { handlers: { download: lend } });
    using peer = await server.greetedPeer();
    const body = { lengthBytes: 4 * MiB };
    await peer.send({ opcode: download.opcode, body });
    await sleep(environment.clock, 1);
    assert.equal(server.server.load.payloadBytes, limits.fileCopyBytes);
    const reply = await peer.receive();
    assert.equal(reply?.payload.length, 4 * MiB);
    await sleep(environment.clock, 1);
    assert.equal(server.server.load.payloadBytes, 0);
  });
});
