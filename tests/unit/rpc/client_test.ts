// Calls: replies, deadlines, signals, lost connections, queues, the end. Connections to the wrong
// server are in client_hello_test.ts.

import assert from "node:assert/strict";
import { type Environment, sleep } from "../../../shared/environment.ts";
import { type ErrorCode, isRustreError, RustreError } from "../../../shared/errors.ts";
import { limits } from "../../../shared/limits.ts";
import { systemEnvironment } from "../../../shared/platform.ts";
import { type CallOptions, RpcClient } from "../../../shared/rpc/client.ts";
import { inVirtualTime, startServer, type TestServer, testService } from "../../support/rpc.ts";
import { SeededRandom } from "../../support/seeded_random.ts";

const MiB = 1024 * 1024;
const never = () => new Promise<never>(() => {});

function fails(code: ErrorCode, message = /./): (error: unknown) => boolean {
  return (error) => {
    assert(isRustreError(error, code), `${(error as RustreError).code}: ${error}`);
    assert.match(error.message, message);
    return true;
  };
}

function callOf(server: TestServer, rpc: RpcClient) {
  return (name: "echo" | "wait", text: string, options: CallOptions = {}) =>
    rpc.call(server.endpoint, testService, name, { text }, options);
}

async function msOf(environment: Environment, task: Promise<unknown>): Promise<number> {
  const startMs = environment.clock.monotonicMs();
  await task;
  return environment.clock.monotonicMs() - startMs;
}

// ── replies ────────────────────────────────────────────────────────────────────────────────────

Deno.test("calls, uploads and downloads over TCP give each caller its own reply", async () => {
  await using server = await startServer(systemEnvironment());
  const rpc = server.client();
  const random = new SeededRandom(9);
  await Promise.all(Array.from({ length: 400 }, async (_, index) => {
    const lengthBytes = random.below(200_000);
    const payload = random.bytes(random.below(2) === 0 ? 100 : 50_000);
    const sum = payload.reduce((a, b) => a + b, 0);
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
    assert.equal(rpc.connectionCount <= 1, true);
    network.freeze("127.0.0.1", false);
    assert.deepEqual(await call("echo", "after"), { text: "after" });
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

/** A signal that counts who listens. */
function countedSignal() {
  const stop = new AbortController();
  const { signal } = stop;
  const count = { listeners: 0 };
  const listeners = new Set<unknown>();
  const [add, remove] = [
    signal.addEventListener.bind(signal),
    signal.removeEventListener.bind(signal),
  ];
  signal.addEventListener = (...args: Parameters<typeof add>) => {
    listeners.add(args[1]);
    count.listeners = listeners.size;
    add(...args);
  };
  signal.removeEventListener = (...args: Parameters<typeof remove>) => {
    listeners.delete(args[1]);
    count.listeners = listeners.size;
    remove(...args);
  };
  return { signal, count };
}

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

Deno.test("a server that is not there is UNREACHABLE, nothing was sent", async () => {
  await inVirtualTime(async (environment) => {
    await using rpc = new RpcClient({ environment, caller: "client" });
    const endpoint = { address: { host: "127.0.0.1", port: 1 }, role: "mds" } as const;
    await assert.rejects(
      rpc.call(endpoint, testService, "echo", { text: "" }),
      fails("UNREACHABLE", /127\.0\.0\.1:1/),
    );
    assert.equal(rpc.connectionCount, 0);
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

// ── queues ─────────────────────────────────────────────────────────────────────────────────────

/** A server whose handler holds every request until it is let go, and a client that is connected. */
async function holdingServer(environment: Environment) {
  const held: { text: string; answer: () => void }[] = [];
  const server = await startServer(environment, {
    handlers: {
      wait: (request) =>
        new Promise((resolve) => held.push({ text: request.text, answer: () => resolve(request) })),
    },
  });
  const rpc = server.client();
  await Promise.all([1, 2, 3].map(() => callOf(server, rpc)("echo", "connect")));
  await sleep(environment.clock, 1);
  assert.equal(rpc.connectionCount, limits.connectionsPerServerMax);
  return { server, held, rpc };
}

Deno.test("calls over limits.requestsPerServerMax wait in the client, and go in their order", async () => {
  await inVirtualTime(async (environment) => {
    const { server, held, rpc } = await holdingServer(environment);
    await using _ = server;
    const call = callOf(server, rpc);
    const finished: string[] = [];
    const total = limits.requestsPerServerMax + 20;
    const calls = Array.from({ length: total }, async (_, index) => {
      finished.push((await call("wait", String(index))).text);
    });
    await sleep(environment.clock, 100);
    assert.equal(held.length, limits.requestsPerServerMax);
    for (let next = limits.requestsPerServerMax; next < total; next++) {
      held[next - limits.requestsPerServerMax]!.answer();
      await sleep(environment.clock, 1);
      assert.equal(held.length, next + 1);
      assert.equal(held.at(-1)!.text, String(next));
    }
    for (const each of held) each.answer();
    await Promise.all(calls);
    assert.equal(finished.length, total);
  });
});

Deno.test("a call that waits for room is OVERLOADED at its deadline or ended by its signal", async () => {
  await inVirtualTime(async (environment, clock) => {
    const { server, held, rpc } = await holdingServer(environment);
    await using _ = server;
    const call = callOf(server, rpc);
    const calls = Array.from(
      { length: limits.requestsPerServerMax },
      () => call("wait", "held", { timeoutMs: 60_000 }),
    );
    await sleep(clock, 100);
    const stop = new AbortController();
    const late = assert.rejects(
      call("wait", "late", { timeoutMs: 500 }),
      fails("OVERLOADED", /wait at mds/),
    );
    const aborted = assert.rejects(
      call("wait", "gone", { signal: stop.signal }),
      fails("INTERRUPTED"),
    );
    const patient = call("wait", "patient");
    stop.abort();
    assert.equal(await msOf(environment, aborted), 0);
    assert.equal(await msOf(environment, late), 500);
    for (const each of held.splice(0)) each.answer();
    await Promise.all(calls);
    await sleep(clock, 1);
    assert.deepEqual(held.map(({ text }) => text), ["patient"], "those who left were not sent");
    held[0]!.answer();
    await patient;
    await rpc.close();
    await server.server.close();
    assert.equal(clock.timerCount, 0);
  });
});

// ── the end ────────────────────────────────────────────────────────────────────────────────────

Deno.test("close() fails calls under way with CONNECTION_LOST, all others with SHUTTING_DOWN", async () => {
  await inVirtualTime(async (environment, clock) => {
    const { server, held, rpc } = await holdingServer(environment);
    const call = callOf(server, rpc);
    const calls = Array.from(
      { length: limits.requestsPerServerMax + 5 },
      (_, index) =>
        assert.rejects(
          call("wait", "a"),
          fails(index < limits.requestsPerServerMax ? "CONNECTION_LOST" : "SHUTTING_DOWN"),
        ),
    );
    await sleep(clock, 50);
    assert.equal(await msOf(environment, Promise.all([rpc.close(), ...calls])), 0);
    await rpc.close();
    await assert.rejects(call("echo", "a"), fails("SHUTTING_DOWN"));
    assert.equal(rpc.connectionCount, 0);
    for (const each of held) each.answer();
    await server.server.close();
    assert.equal(server.server.load.connections, 0);
    assert.equal(clock.timerCount, 0);
  });
});

Deno.test("close() does not wait for a server that does not answer", async () => {
  await inVirtualTime(async (environment, clock, network) => {
    const address = { host: "127.0.0.1", port: 9999 };
    const listener = await environment.transport.listen(address);
    network.freeze("127.0.0.1");
    const rpc = new RpcClient({ environment, caller: "client" });
    const calling = assert.rejects(
      rpc.call({ address, role: "mds" }, testService, "echo", { text: "" }),
      fails("SHUTTING_DOWN"),
    );
    await sleep(clock, 10);
    assert.equal(await msOf(environment, Promise.all([rpc.close(), calling])), 0);
    listener.close();
    assert.equal(clock.timerCount, 0);
  });
});

Deno.test("close() right after a call leaves no connection behind", async () => {
  await inVirtualTime(async (environment, clock) => {
    await using server = await startServer(environment);
    for (let turns = 0; turns < 30; turns++) {
      const rpc = server.client();
      const calling = callOf(server, rpc)("echo", "a").then(() => {}, () => {});
      for (let turn = 0; turn < turns; turn++) await Promise.resolve();
      await rpc.close();
      await calling;
      await sleep(clock, 1);
      assert.deepEqual(server.server.load, { connections: 0, payloadBytes: 0 });
    }
    assert.equal(clock.timerCount, 0);
  });
});
