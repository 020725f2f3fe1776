// What a server does in time, in order and at its end. Bad input is in server_hostile_test.ts.

import assert from "node:assert/strict";
import { type Environment, sleep } from "../../../shared/environment.ts";
import { isRustreError, RustreError } from "../../../shared/errors.ts";
import { limits } from "../../../shared/limits.ts";
import { systemEnvironment } from "../../../shared/platform.ts";
import { protocolVersion } from "../../../shared/rpc/hello.ts";
import {
  codeIn,
  frameBytes,
  Gate,
  helloBytes,
  identity,
  inVirtualTime,
  type RawPeer,
  startServer,
  testService,
} from "../../support/rpc.ts";

const MiB = 1024 * 1024;
const { echo, upload, download, wait } = testService.methods;

async function hungUpAfterMs(environment: Environment, peer: RawPeer): Promise<number> {
  const startMs = environment.clock.monotonicMs();
  await peer.hungUp();
  const afterMs = environment.clock.monotonicMs() - startMs;
  await sleep(environment.clock, 1);
  return afterMs;
}

// ── hello ──────────────────────────────────────────────────────────────────────────────────────

Deno.test("a server answers hello with who it is, over TCP", async () => {
  await using server = await startServer(systemEnvironment());
  using peer = await server.peer();
  const { body } = await peer.greet();
  assert.deepEqual(body, {
    protocol: protocolVersion,
    clusterId: identity.clusterId,
    clusterName: "test",
    role: "mds",
    nodeId: identity.nodeId,
  });
});

Deno.test("a caller that does not know the cluster is let in", async () => {
  await inVirtualTime(async (environment) => {
    await using server = await startServer(environment);
    using peer = await server.peer();
    await peer.greet({ clusterId: "" });
  });
});

for (
  const [what, bytes] of [["nothing", 0], ["half a header", 10], ["half a hello", 40]] as const
) {
  Deno.test(`a peer that says ${what} is hung up on after limits.helloTimeoutMs`, async () => {
    await inVirtualTime(async (environment, clock) => {
      await using server = await startServer(environment);
      using peer = await server.peer();
      await peer.connection.write(helloBytes().subarray(0, bytes));
      assert.equal(await hungUpAfterMs(environment, peer), limits.helloTimeoutMs);
      assert.equal(server.server.load.connections, 0);
      assert.equal(clock.timerCount, 0);
    });
  });
}

// ── silence ────────────────────────────────────────────────────────────────────────────────────

for (const [what, bytes] of [["header", 10], ["body", 30], ["payload", 1_000]] as const) {
  Deno.test(`a peer that stops within a ${what} is hung up on after limits.frameTimeoutMs`, async () => {
    await inVirtualTime(async (environment, clock) => {
      await using server = await startServer(environment);
      using peer = await server.greetedPeer();
      const frame = frameBytes({
        opcode: upload.opcode,
        body: { a: "x".repeat(100) },
        payload: new Uint8Array(9_000),
      });
      await peer.connection.write(frame.subarray(0, bytes));
      assert.equal(await hungUpAfterMs(environment, peer), limits.frameTimeoutMs);
      assert.deepEqual(server.server.load, { connections: 0, payloadBytes: 0 });
      assert.equal(clock.timerCount, 0);
    });
  });
}

Deno.test("a peer that is idle keeps its connection", async () => {
  await inVirtualTime(async (environment) => {
    await using server = await startServer(environment);
    using peer = await server.greetedPeer();
    await sleep(environment.clock, 86_400_000);
    const reply = await peer.ask({ opcode: echo.opcode, body: { text: "morning" } });
    assert.deepEqual(reply.body, { text: "morning" });
  });
});

Deno.test("a peer that reads no replies is hung up on, and all it had is given back", async () => {
  await inVirtualTime(async (environment, clock) => {
    await using server = await startServer(environment);
    using peer = await server.greetedPeer();
    const startMs = clock.monotonicMs();
    await assert.rejects(
      (async () => {
        for (let requestId = 1;; requestId++) {
          await peer.send({ opcode: download.opcode, requestId, body: { lengthBytes: 4 * MiB } });
          await peer.send({ opcode: echo.opcode, requestId, body: { text: "x".repeat(50_000) } });
        }
      })(),
      (error) => isRustreError(error, "CONNECTION_LOST"),
    );
    assert(clock.monotonicMs() - startMs <= 2 * limits.frameTimeoutMs);
    await sleep(clock, limits.frameTimeoutMs);
    assert.deepEqual(server.server.load, { connections: 0, payloadBytes: 0 });
    assert.equal(clock.timerCount, 0);
  });
});

// ── errors ─────────────────────────────────────────────────────────────────────────────────────

Deno.test("what a handler throws reaches the caller with its code, a bug as INTERNAL", async () => {
  await inVirtualTime(async (environment) => {
    await using server = await startServer(environment, {
      handlers: {
        echo: () => Promise.reject(new RustreError("ENOENT", 'Cannot find "a"')),
        wait: () => {
          throw new TypeError("undefined is not a function");
        },
        upload: () => Promise.reject("a string"),
      },
    });
    const rpc = server.client();
    const call = (name: "echo" | "wait") =>
      rpc.call(server.endpoint, testService, name, { text: "" });
    await assert.rejects(
      call("echo"),
      (error) => isRustreError(error, "ENOENT") && error.message === 'Cannot find "a"',
    );
    await assert.rejects(
      call("wait"),
      (error) =>
        isRustreError(error, "INTERNAL") && /undefined is not a function/.test(error.message),
    );
    await assert.rejects(
      rpc.call(server.endpoint, testService, "upload", {}),
      (error) => isRustreError(error, "INTERNAL") && /a string/.test(error.message),
    );
  });
});

Deno.test("the message of an error is cut where it is very long, between characters", async () => {
  await inVirtualTime(async (environment) => {
    const message = "x" + "\u{1f600}".repeat(100_000);
    await using server = await startServer(environment, {
      handlers: { echo: () => Promise.reject(new RustreError("EINVAL", message)) },
    });
    const rpc = server.client();
    await assert.rejects(
      rpc.call(server.endpoint, testService, "echo", { text: "" }),
      (error) =>
        isRustreError(error, "EINVAL") && error.message.length === 4096 &&
        error.message.isWellFormed(),
    );
  });
});

// ── the end ────────────────────────────────────────────────────────────────────────────────────

Deno.test("close() lets requests under way finish, and refuses new ones meanwhile", async () => {
  await inVirtualTime(async (environment, clock) => {
    const gate = new Gate();
    await using server = await startServer(environment, { handlers: { wait: gate.handler } });
    using peer = await server.greetedPeer();
    await peer.send({ opcode: wait.opcode, requestId: 1, body: { text: "a" } });
    await sleep(clock, 1);
    const closing = server.server.close();
    await sleep(clock, 1);
    await assert.rejects(server.peer(), (error) => isRustreError(error, "UNREACHABLE"));
    const refused = await peer.ask({ opcode: echo.opcode, requestId: 2, body: { text: "b" } });
    assert.equal(codeIn(refused), "SHUTTING_DOWN");
    gate.open();
    assert.deepEqual((await peer.receive())?.body, { text: "a" });
    assert.equal(await peer.receive(), null);
    await closing;
    await server.server.close();
    assert.equal(server.server.load.connections, 0);
    assert.equal(clock.timerCount, 0);
  });
});

Deno.test("close() waits for a handler that hangs no longer than limits.drainMs", async () => {
  await inVirtualTime(async (environment, clock) => {
    const gate = new Gate();
    await using server = await startServer(environment, { handlers: { wait: gate.handler } });
    using idle = await server.peer();
    using peer = await server.greetedPeer();
    await peer.send({ opcode: wait.opcode, body: { text: "a" } });
    await sleep(clock, 1);
    const startMs = clock.monotonicMs();
    await server.server.close();
    assert.equal(clock.monotonicMs() - startMs, limits.drainMs);
    await peer.hungUp();
    await idle.hungUp();
    // What it answers in the end goes nowhere, and breaks nothing.
    gate.open();
    await sleep(clock, 1);
    assert.equal(clock.timerCount, 0);
  });
});

Deno.test("close() does not wait for a peer that reads nothing longer than limits.drainMs", async () => {
  await inVirtualTime(async (environment, clock) => {
    await using server = await startServer(environment);
    using peer = await server.greetedPeer();
    await peer.send({ opcode: download.opcode, body: { lengthBytes: 4 * MiB } });
    await sleep(clock, 1);
    const startMs = clock.monotonicMs();
    await server.server.close();
    assert.equal(clock.monotonicMs() - startMs, limits.drainMs);
    await sleep(clock, 1);
    assert.deepEqual(server.server.load, { connections: 0, payloadBytes: 0 });
    assert.equal(clock.timerCount, 0);
  });
});

Deno.test("a server that closes over TCP has answered everything that it took", async () => {
  const environment = systemEnvironment();
  await using server = await startServer(environment, {
    handlers: {
      wait: async (request) => {
        await sleep(environment.clock, 20);
        return request;
      },
    },
  });
  using peer = await server.greetedPeer();
  for (let requestId = 1; requestId <= 50; requestId++) {
    await peer.send({ opcode: wait.opcode, requestId, body: { text: "x".repeat(1000) } });
  }
  await peer.ask({ opcode: echo.opcode, requestId: 99, body: { text: "seen" } });
  const closing = server.server.close();
  for (let requestId = 1; requestId <= 50; requestId++) {
    assert.equal((await peer.receive())?.requestId, requestId);
  }
  await peer.hungUp();
  await closing;
});
