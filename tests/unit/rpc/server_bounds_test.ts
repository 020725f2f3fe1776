// What a server takes at once, of one connection and of all, and what it refuses beyond that.

import assert from "node:assert/strict";
import { sleep } from "../../../shared/environment.ts";
import { limits } from "../../../shared/limits.ts";
import type { RpcClient } from "../../../shared/rpc/client.ts";
import { frameKind } from "../../../shared/rpc/frame.ts";
import { frameBytes, Gate, inVirtualTime, startServer, testService } from "../../support/rpc.ts";

const MiB = 1024 * 1024;
const { echo, download, wait } = testService.methods;

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
