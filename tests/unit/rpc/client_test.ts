// Calls: replies, deadlines, signals, payloads, lost connections. client_hello_test.ts has wrong and
// bad servers, client_queue_test.ts what waits in the client, and its end.

import assert from "node:assert/strict";
import { sleep } from "../../../shared/environment.ts";
import { isRustreError, RustreError } from "../../../shared/errors.ts";
import { limits } from "../../../shared/limits.ts";
import { systemEnvironment } from "../../../shared/platform.ts";
import { RpcClient } from "../../../shared/rpc/client.ts";
import { frameKind } from "../../../shared/rpc/frame.ts";
import { helloOpcode, protocolVersion } from "../../../shared/rpc/hello.ts";
import { countedSignal } from "../../support/counted_signal.ts";
import {
  callOf,
  fails,
  identity,
  inVirtualTime,
  msOf,
  RawPeer,
  startServer,
  testService,
} from "../../support/rpc.ts";
import { SeededRandom } from "../../support/seeded_random.ts";

const MiB = 1024 * 1024;
const never = () => new Promise<never>(() => {});

async function answerHello(peer: RawPeer): Promise<void> {
  await peer.receive();
  const body = { ...identity, protocol: protocolVersion };
  await peer.send({ kind: frameKind.reply, opcode: helloOpcode, requestId: 0, body });
}

async function answerEcho(peer: RawPeer): Promise<boolean> {
  const request = await peer.receive();
  if (!request) return false;
  const { opcode, requestId, body } = request;
  await peer.send({ kind: frameKind.reply, opcode, requestId, body });
  return true;
}

// ── replies ────────────────────────────────────────────────────────────────────────────────────

Deno.test("calls, uploads and downloads over TCP give each caller its own reply", async () => {
  await using server = await startServer(systemEnvironment());
  const rpc = server.client();
  const random = new SeededRandom(9);
  // Before anything waits for a connection: it takes this thread for a second or two.
  const inputs = Array.from({ length: 400 }, () => {
    const payload = random.bytes(random.below(2) === 0 ? 100 : 50_000);
    const sum = payload.reduce((a, b) => a + b, 0);
    return { lengthBytes: random.below(200_000), payload, sum };
  });
  await Promise.all(inputs.map(async ({ lengthBytes, payload, sum }, index) => {
    const [echoed, uploaded, downloaded] = await Promise.all([
      rpc.call(server.endpoint, testService, "echo", { text: `call ${index}` }),
      rpc.call(server.endpoint, testService, "upload", {}, { payload }),
      rpc.download(server.endpoint, testService, "download", { lengthBytes }),
    ]);
    assert.deepEqual(echoed, { text: `call ${index}` });
    assert.deepEqual(uploaded, { lengthBytes: payload.length, sum });
    assert.deepEqual(downloaded.reply, {});
    assert.equal(downloaded.payload.length, lengthBytes);
    assert(downloaded.payload.every((byte) => byte === (lengthBytes & 0xff)));
  }));
  assert(rpc.connectionCount <= limits.connectionsPerServerMax);
  assert.equal(server.server.load.payloadBytes, 0);
});

Deno.test("one call at a time has one connection, many have no more than there may be", async () => {
  await inVirtualTime(async (environment) => {
    await using server = await startServer(environment);
    const rpc = server.client();
    const call = callOf(server, rpc);
    for (let count = 0; count < 10; count++) await call("echo", "a");
    assert.equal(rpc.connectionCount, 1);
    for (let round = 0; round < 5; round++) {
      await Promise.all(Array.from({ length: 1_000 }, () => call("echo", "a")));
    }
    assert.equal(rpc.connectionCount, limits.connectionsPerServerMax);
    assert.equal(server.server.load.connections, limits.connectionsPerServerMax);
  });
});

Deno.test("a request over the limit is refused before it is sent, others are not harmed", async () => {
  await inVirtualTime(async (environment) => {
    await using server = await startServer(environment);
    const call = callOf(server, server.client());
    for (let count = 0; count < 2 * limits.requestsPerServerMax; count++) {
      await assert.rejects(
        call("echo", "x".repeat(70_000)),
        fails("BAD_REQUEST", /70\d\d\d bytes/),
      );
    }
    assert.deepEqual(await call("echo", "short"), { text: "short" });
  });
});

// ── deadlines ──────────────────────────────────────────────────────────────────────────────────

Deno.test("a call without an answer is TIMED_OUT at its deadline, its late reply ignored", async () => {
  await inVirtualTime(async (environment) => {
    const handlers = {
      wait: async (request: { text: string }) => {
        await sleep(environment.clock, 700);
        return request;
      },
    };
    await using server = await startServer(environment, { handlers });
    const rpc = server.client();
    const call = callOf(server, rpc);
    const slow = call("wait", "slow", { timeoutMs: 5_000 });
    const afterMs = await msOf(
      environment,
      assert.rejects(
        call("wait", "late", { timeoutMs: 500 }),
        fails("TIMED_OUT", /wait at mds 127/),
      ),
    );
    assert(afterMs >= 500 && afterMs <= 500 + limits.callSweepMs, `${afterMs}`);
    // The server was only slow: the connection stays, and so do the other calls on it.
    assert.deepEqual(await slow, { text: "slow" });
    await sleep(environment.clock, 1_000);
    assert.deepEqual(await call("echo", "next"), { text: "next" });
  });
});

Deno.test("a call that is never answered does not cost others their connection", async () => {
  await inVirtualTime(async (environment) => {
    await using server = await startServer(environment, { handlers: { wait: never } });
    const rpc = server.client();
    const call = callOf(server, rpc);
    await call("echo", "connect");
    const patient = assert.rejects(call("wait", "", { timeoutMs: 9_000 }), fails("TIMED_OUT"));
    const lost = assert.rejects(call("wait", "", { timeoutMs: 4_000 }), fails("TIMED_OUT"));
    for (let count = 0; count < 60; count++) {
      await sleep(environment.clock, 100);
      await Promise.all([1, 2, 3].map(() => call("echo", "busy")));
    }
    await lost;
    assert(await msOf(environment, patient) > 2_000);
  });
});

Deno.test("a call to a server that does not even say hello ends at its own deadline", async () => {
  await inVirtualTime(async (environment, _, network) => {
    const listen = { host: "127.0.0.1", port: 9999 };
    const listener = await environment.transport.listen(listen);
    network.freeze("127.0.0.1");
    await using rpc = new RpcClient({ environment, caller: "client" });
    const endpoint = { address: listen, role: "mds" } as const;
    const call = (timeoutMs: number) =>
      rpc.call(endpoint, testService, "echo", { text: "" }, { timeoutMs });
    const unreachable = (timeoutMs: number) =>
      msOf(environment, assert.rejects(call(timeoutMs), fails("UNREACHABLE", /does not answer/)));
    assert.equal(await unreachable(800), 800);
    const many = await Promise.all([unreachable(300), unreachable(60_000), unreachable(200)]);
    assert.deepEqual([many[0], many[2]], [300, 200]);
    assert(many[1]! <= limits.connectTimeoutMs);
    listener.close();
  });
});

Deno.test("a server that hangs gets a new connection, and is used again when it is back", async () => {
  await inVirtualTime(async (environment, _, network) => {
    await using server = await startServer(environment, {
      listen: { host: "127.0.0.1", port: 9401 },
    });
    const client = { ...environment, transport: network.transport("client") };
    await using rpc = new RpcClient({ environment: client, caller: "client" });
    const call = callOf(server, rpc);
    await call("echo", "before");
    network.freeze("127.0.0.1");
    // As an mgs probes: each call ends before the connection counts as dead, the next one is not lost.
    for (let count = 0; count < 3; count++) {
      await assert.rejects(
        call("echo", "hangs", { timeoutMs: 800 }),
        (error) => isRustreError(error, "TIMED_OUT", "UNREACHABLE"),
      );
      await sleep(environment.clock, 200);
    }
    assert(rpc.connectionCount <= 1);
    network.freeze("127.0.0.1", false);
    assert.deepEqual(await call("echo", "after"), { text: "after" });
  });
});

Deno.test("a connection on which nothing comes any more is replaced", async () => {
  await inVirtualTime(async (environment) => {
    const listener = await environment.transport.listen({ host: "127.0.0.1", port: 0 });
    const serveOne = async (answers: boolean) => {
      using peer = new RawPeer(environment, (await listener.accept())!);
      await answerHello(peer);
      while (answers && await answerEcho(peer));
      if (!answers) await peer.hungUp();
    };
    // The first connection leads to a machine that is gone, the second one to its successor.
    const serving = serveOne(false).then(() => serveOne(true));
    await using rpc = new RpcClient({ environment, caller: "client" });
    const call = (timeoutMs: number) =>
      rpc.call({ address: listener.address, role: "mds" }, testService, "echo", { text: "a" }, {
        timeoutMs,
      });
    // As an mgs probes: each call ends before the connection counts as dead.
    await assert.rejects(call(800), fails("TIMED_OUT"));
    assert.equal(rpc.connectionCount, 1);
    await sleep(environment.clock, 200);
    await assert.rejects(call(800), fails("TIMED_OUT"));
    assert.equal(rpc.connectionCount, 0);
    assert.deepEqual(await call(800), { text: "a" });
    await rpc.close();
    await serving;
    listener.close();
  });
});

// ── signals ────────────────────────────────────────────────────────────────────────────────────

Deno.test("a signal ends a call at once, with its reason where that is an operating error", async () => {
  await inVirtualTime(async (environment) => {
    await using server = await startServer(environment, { handlers: { wait: never } });
    const call = callOf(server, server.client());
    for (const when of ["before connecting", "under way"]) {
      const stop = new AbortController();
      const calling = assert.rejects(
        call("wait", when, { signal: stop.signal }),
        fails("INTERRUPTED"),
      );
      if (when === "under way") await sleep(environment.clock, 50);
      stop.abort();
      assert.equal(await msOf(environment, calling), 0);
    }
    const full = AbortSignal.abort(new RustreError("ENOSPC", "Full"));
    await assert.rejects(call("echo", "a", { signal: full }), fails("ENOSPC"));
    assert.deepEqual(await call("echo", "b"), { text: "b" });
  });
});

Deno.test("10,000 calls leave no listener on a signal that lives long, and no timer", async () => {
  await inVirtualTime(async (environment, clock) => {
    const server = await startServer(environment);
    const rpc = server.client();
    const call = callOf(server, rpc);
    const { signal, count } = countedSignal();
    for (let round = 0; round < 10; round++) {
      // Over the limit of what may be under way, so that some of them wait for room.
      const calls = Array.from({ length: 1_000 }, () => call("echo", "a", { signal }));
      assert(count.listeners > 0);
      await Promise.all(calls);
    }
    assert.equal(count.listeners, 0);
    await rpc.close();
    await server.server.close();
    assert.equal(clock.timerCount, 0);
  });
});

// ── payloads ───────────────────────────────────────────────────────────────────────────────────

for (const how of ["interrupted", "timed out"]) {
  Deno.test(`a payload that is changed after its call was ${how} is not sent as it is then`, async () => {
    await inVirtualTime(async (environment, _, network) => {
      const seen: number[] = [];
      await using server = await startServer(environment, {
        handlers: {
          upload: (__, { payload }) => {
            seen.push(...new Set(payload));
            return Promise.resolve({ lengthBytes: payload.length, sum: 0 });
          },
        },
      });
      const client = { ...environment, transport: network.transport("client") };
      await using rpc = new RpcClient({ environment: client, caller: "client" });
      await callOf(server, rpc)("echo", "connect");
      network.freeze("127.0.0.1");
      const stop = new AbortController();
      // More than the network takes while the server hangs, and a second one behind it.
      const calls = [1, 2].map((fill) => {
        const payload = new Uint8Array(4 * MiB).fill(fill);
        const options = { payload, signal: stop.signal, timeoutMs: 1_000 };
        const calling = rpc.call(server.endpoint, testService, "upload", {}, options);
        return assert.rejects(calling).then(() => payload.fill(99));
      });
      await sleep(environment.clock, 1);
      if (how === "interrupted") stop.abort();
      await Promise.all(calls);
      network.freeze("127.0.0.1", false);
      await sleep(environment.clock, 100);
      assert.deepEqual(seen, []);
      const payload = new Uint8Array(4 * MiB).fill(3);
      await rpc.call(server.endpoint, testService, "upload", {}, { payload });
      assert.deepEqual(seen, [3]);
    });
  });
}

// ── lost connections ───────────────────────────────────────────────────────────────────────────

Deno.test("a server that is not there is UNREACHABLE, however often, until it is there", async () => {
  await inVirtualTime(async (environment) => {
    await using rpc = new RpcClient({ environment, caller: "client" });
    const address = { host: "127.0.0.1", port: 9401 };
    const call = () => rpc.call({ address, role: "mds" }, testService, "echo", { text: "" });
    for (let count = 0; count < 3 * limits.requestsPerServerMax; count += 8) {
      const unreachable = fails("UNREACHABLE", /127\.0\.0\.1:9401/);
      await Promise.all(Array.from({ length: 8 }, () => assert.rejects(call(), unreachable)));
    }
    assert.equal(rpc.connectionCount, 0);
    await using _ = await startServer(environment, { listen: address });
    assert.deepEqual(await call(), { text: "" });
  });
});

Deno.test("calls of a connection that breaks are CONNECTION_LOST, the next one reconnects", async () => {
  await inVirtualTime(async (environment, _, network) => {
    await using server = await startServer(environment, { handlers: { wait: never } });
    const client = { ...environment, transport: network.transport("client") };
    await using rpc = new RpcClient({ environment: client, caller: "client" });
    const call = callOf(server, rpc);
    await call("echo", "connect");
    const lost = Array.from(
      { length: 100 },
      () =>
        assert.rejects(call("wait", "lost"), fails("CONNECTION_LOST", /wait at mds 127\.0\.0\.1/)),
    );
    await sleep(environment.clock, 10);
    network.disconnect("127.0.0.1");
    assert.equal(await msOf(environment, Promise.all(lost)), 0);
    assert.equal(rpc.connectionCount, 0);
    assert.deepEqual(await call("echo", "again"), { text: "again" });
  });
});

Deno.test("a server that was started again at its address is found by the next call", async () => {
  await inVirtualTime(async (environment) => {
    const listen = { host: "127.0.0.1", port: 9401 };
    const first = await startServer(environment, { listen });
    await using rpc = new RpcClient({ environment, caller: "client" });
    const call = callOf(first, rpc);
    await call("echo", "first");
    await first.server.close();
    await assert.rejects(call("echo", "nobody"), fails("UNREACHABLE"));
    await using second = await startServer(environment, { listen });
    assert.deepEqual(await call("echo", "second"), { text: "second" });
    assert.equal(second.server.load.connections, 1);
  });
});
