// What a server does in time, in order and at its end. Bad input is in server_hostile_test.ts.

import assert from "node:assert/strict";
import { type Environment, sleep } from "../../../shared/environment.ts";
import {
  codeOfNumber,
  type ErrorCode,
  isRustreError,
  RustreError,
} from "../../../shared/errors.ts";
import { limits } from "../../../shared/limits.ts";
import { systemEnvironment } from "../../../shared/platform.ts";
import type { RpcClient } from "../../../shared/rpc/client.ts";
import { type Frame, frameKind } from "../../../shared/rpc/frame.ts";
import { protocolVersion } from "../../../shared/rpc/hello.ts";
import {
  errorIn,
  frameBytes,
  helloBytes,
  identity,
  inVirtualTime,
  type RawPeer,
  startServer,
  testService,
} from "../../support/rpc.ts";

const MiB = 1024 * 1024;
const { echo, upload, download, wait } = testService.methods;

function codeIn(frame: Frame | null): ErrorCode {
  return codeOfNumber(errorIn(frame).code);
}

/** Something that handlers wait for and a test lets happen. */
class Gate {
  open: () => void = () => {};
  readonly opened = new Promise<void>((resolve) => this.open = resolve);
  waiting = 0;

  readonly handler = async (request: { text: string }) => {
    this.waiting++;
    await this.opened;
    return request;
  };
}

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

// ── bounds ─────────────────────────────────────────────────────────────────────────────────────

Deno.test("a connection has limits.requestsPerConnectionMax under way, more wait unread", async () => {
  await inVirtualTime(async (environment) => {
    const gate = new Gate();
    await using server = await startServer(environment, { handlers: { wait: gate.handler } });
    using peer = await server.greetedPeer();
    const count = limits.requestsPerConnectionMax + 10;
    for (let requestId = 1; requestId <= count; requestId++) {
      await peer.send({ opcode: wait.opcode, requestId, body: { text: "a" } });
    }
    await sleep(environment.clock, 1);
    assert.equal(gate.waiting, limits.requestsPerConnectionMax);
    // Others are not held up.
    using other = await server.greetedPeer();
    assert.deepEqual((await other.ask({ opcode: echo.opcode, body: { text: "b" } })).body, {
      text: "b",
    });
    gate.open();
    for (let requestId = 1; requestId <= count; requestId++) {
      assert.equal((await peer.receive())?.requestId, requestId);
    }
  });
});

Deno.test("a handler is told how long its request waited to be read, where that was long", async () => {
  for (const stallMs of [limits.unreadMs - 100, limits.unreadMs + 100]) {
    await inVirtualTime(async (environment) => {
      const gate = new Gate();
      const unreadMs: number[] = [];
      await using server = await startServer(environment, {
        handlers: {
          wait: gate.handler,
          echo: (request, call) => {
            unreadMs.push(call.unreadMs);
            return Promise.resolve(request);
          },
        },
      });
      using peer = await server.greetedPeer();
      const request = { opcode: echo.opcode, body: { text: "a" } };
      await sleep(environment.clock, 60_000);
      await peer.ask(request);
      for (let count = 0; count < limits.requestsPerConnectionMax; count++) {
        await peer.send({ opcode: wait.opcode, requestId: count, body: { text: "a" } });
      }
      // Both arrive together, and a third one later.
      const bytes = frameBytes(request);
      await peer.connection.write(Uint8Array.of(...bytes, ...bytes));
      await sleep(environment.clock, stallMs);
      gate.open();
      for (let count = 0; count < limits.requestsPerConnectionMax + 2; count++) {
        await peer.receive();
      }
      await peer.ask(request);
      const waited = stallMs < limits.unreadMs ? 0 : stallMs;
      assert.deepEqual(unreadMs, [0, waited, waited, 0]);
    });
  }
});

Deno.test("a slow request does not hold up the ones behind it", async () => {
  await inVirtualTime(async (environment) => {
    const gate = new Gate();
    await using server = await startServer(environment, { handlers: { wait: gate.handler } });
    using peer = await server.greetedPeer();
    await peer.send({ opcode: wait.opcode, requestId: 1, body: { text: "slow" } });
    const reply = await peer.ask({ opcode: echo.opcode, requestId: 2, body: { text: "quick" } });
    assert.equal(reply.requestId, 2);
    gate.open();
    assert.equal((await peer.receive())?.requestId, 1);
  });
});

Deno.test("clients that hold all payload room do not stop what other servers forward", async () => {
  await inVirtualTime(async (environment) => {
    const gate = new Gate();
    let clientsUploads = 0;
    await using server = await startServer(environment, {
      handlers: {
        upload: async (_, { payload }) => {
          // As a write of a client waits for the replica on a server that is as full as this one.
          if (payload[0] === 1) {
            clientsUploads++;
            await gate.opened;
          }
          return { lengthBytes: payload.length, sum: 0 };
        },
      },
    });
    const rpcs = Array.from({ length: 9 }, () => server.client());
    const payload = new Uint8Array(4 * MiB).fill(1);
    const uploads = rpcs.flatMap((rpc) =>
      Array.from(
        { length: 8 },
        () => rpc.call(server.endpoint, testService, "upload", {}, { payload }),
      )
    );
    await sleep(environment.clock, 1);
    assert.equal(server.server.load.payloadBytes, limits.payloadBytesPerServerMax);
    assert.equal(clientsUploads, limits.payloadBytesPerServerMax / payload.length);
    const oss = server.client({ caller: "oss" });
    const forwarded = new Uint8Array(4 * MiB);
    const reply = await oss.call(server.endpoint, testService, "upload", {}, {
      payload: forwarded,
    });
    assert.equal(reply.lengthBytes, forwarded.length);
    gate.open();
    await Promise.all(uploads);
    assert.equal(server.server.load.payloadBytes, 0);
  });
});

Deno.test("a client that leaves while it waits for payload room takes nothing of it", async () => {
  await inVirtualTime(async (environment) => {
    const gate = new Gate();
    await using server = await startServer(environment, {
      handlers: {
        download: async ({ lengthBytes }) => {
          await gate.handler({ text: "" });
          return { reply: {}, payload: new Uint8Array(lengthBytes) };
        },
      },
    });
    const peers = await Promise.all(Array.from({ length: 12 }, () => server.greetedPeer()));
    for (const peer of peers) {
      for (let requestId = 1; requestId <= 10; requestId++) {
        await peer.send({ opcode: download.opcode, requestId, body: { lengthBytes: 4 * MiB } });
      }
    }
    await sleep(environment.clock, 1);
    assert.equal(server.server.load.payloadBytes, limits.payloadBytesPerServerMax);
    for (const peer of peers) peer.connection.close();
    await sleep(environment.clock, 1);
    const answered = gate.waiting;
    gate.open();
    await sleep(environment.clock, 1);
    assert.equal(gate.waiting, answered, "nothing is read for a peer that has gone");
    assert.deepEqual(server.server.load, { connections: 0, payloadBytes: 0 });
  });
});

Deno.test("waiting for payload room that others have costs a connection nothing of its own", async () => {
  await inVirtualTime(async (environment) => {
    let gate = new Gate();
    // Room for the whole length is reserved, little of it used.
    const download = async () => {
      await gate.handler({ text: "" });
      return { reply: {}, payload: new Uint8Array(1) };
    };
    await using server = await startServer(environment, { handlers: { download } });
    const [late, ...rpcs] = Array.from({ length: 9 }, () => server.client());
    const call = (rpc: RpcClient) =>
      rpc.download(server.endpoint, testService, "download", { lengthBytes: 4 * MiB });
    for (let round = 0; round < 20; round++) {
      gate = new Gate();
      const held = rpcs.flatMap((rpc) => Array.from({ length: 8 }, () => call(rpc)));
      await sleep(environment.clock, 1);
      assert.equal(server.server.load.payloadBytes, limits.payloadBytesPerServerMax);
      const waiting = call(late!);
      await sleep(environment.clock, 1);
      gate.open();
      await Promise.all([waiting, ...held]);
      assert.equal(server.server.load.payloadBytes, 0);
    }
  });
});

Deno.test("at the limit the connection that is idle longest makes room, a busy one never", async () => {
  await inVirtualTime(async (environment) => {
    const gate = new Gate();
    const handlers = { wait: gate.handler };
    await using server = await startServer(environment, { handlers, connectionsMax: 3 });
    const open = async () => {
      await sleep(environment.clock, 10);
      return await server.greetedPeer();
    };
    using busy = await open();
    await busy.send({ opcode: wait.opcode, body: { text: "a" } });
    using idle = await open();
    using active = await open();
    await sleep(environment.clock, 10);
    await idle.ask({ opcode: echo.opcode, body: { text: "b" } });
    using newcomer = await open();
    await active.hungUp();
    assert.equal(server.server.load.connections, 3);
    for (const peer of [idle, newcomer]) {
      await peer.send({ opcode: wait.opcode, body: { text: "c" } });
    }
    await sleep(environment.clock, 1);
    using refused = await server.peer();
    await refused.hungUp();
    assert.equal(server.server.load.connections, 3);
    gate.open();
    for (const peer of [busy, idle, newcomer]) assert.equal((await peer.receive())?.kind, 1);
  });
});

Deno.test("a connection whose reply is still being read is not idle", async () => {
  await inVirtualTime(async (environment) => {
    await using server = await startServer(environment, { connectionsMax: 1 });
    using peer = await server.greetedPeer();
    await peer.send({ opcode: download.opcode, body: { lengthBytes: 4 * MiB } });
    await sleep(environment.clock, 1);
    using refused = await server.peer();
    await refused.hungUp();
    assert.equal((await peer.receive())?.payload.length, 4 * MiB);
    await sleep(environment.clock, 1);
    using welcome = await server.greetedPeer();
    await peer.hungUp();
    assert.equal((await welcome.ask({ opcode: 1 })).kind, frameKind.error);
  });
});

Deno.test("connections that never say hello do not keep others out", async () => {
  await inVirtualTime(async (environment) => {
    await using server = await startServer(environment, { connectionsMax: 2 });
    const silent = await Promise.all(Array.from({ length: 10 }, () => server.peer()));
    using peer = await server.greetedPeer();
    assert.equal(
      (await peer.ask({ opcode: echo.opcode, body: { text: "a" } })).kind,
      frameKind.reply,
    );
    for (const each of silent) each.connection.close();
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
