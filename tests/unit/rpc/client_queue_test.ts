// Calls that wait for room in the client, and the client's end.

import assert from "node:assert/strict";
import { type Environment, sleep } from "../../../shared/environment.ts";
import { limits } from "../../../shared/limits.ts";
import { RpcClient } from "../../../shared/rpc/client.ts";
import { callOf, fails, inVirtualTime, msOf, startServer, testService } from "../../support/rpc.ts";

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
