// Servers that are not the one that was meant, or none at all, and servers that break the rules.

import assert from "node:assert/strict";
import type { ErrorCode } from "../../../shared/errors.ts";
import type { Connection } from "../../../shared/environment.ts";
import { systemEnvironment } from "../../../shared/platform.ts";
import { type Endpoint, RpcClient } from "../../../shared/rpc/client.ts";
import { frameKind } from "../../../shared/rpc/frame.ts";
import { helloOpcode, protocolVersion } from "../../../shared/rpc/hello.ts";
import {
  clusterId,
  fails,
  frameBytes,
  identity,
  inVirtualTime,
  RawPeer,
  startServer,
  testService,
} from "../../support/rpc.ts";

const environment = systemEnvironment();
const otherCluster = "d".repeat(32);
const { echo } = testService.methods;

const helloReply = {
  protocol: protocolVersion,
  clusterId,
  clusterName: "test",
  role: "mds",
  nodeId: identity.nodeId,
};

function helloReplyBytes(body: unknown = helloReply): Uint8Array {
  return frameBytes({ kind: frameKind.reply, opcode: helloOpcode, requestId: 0, body });
}

/** Calls a server over TCP that does as `script` says with each connection. */
async function withScriptedServer(
  script: (peer: RawPeer) => Promise<void>,
  test: (echo: (timeoutMs?: number) => Promise<unknown>, rpc: RpcClient) => Promise<void>,
  target: Partial<Endpoint> = {},
): Promise<void> {
  const listener = await environment.transport.listen({ host: "127.0.0.1", port: 0 });
  const peers: Promise<void>[] = [];
  const play = async (connection: Connection) => {
    using peer = new RawPeer(environment, connection);
    await script(peer);
  };
  const accepting = (async () => {
    for (let connection; (connection = await listener.accept());) peers.push(play(connection));
  })();
  const endpoint: Endpoint = { address: listener.address, role: "mds", ...target };
  const rpc = new RpcClient({ environment, caller: "client" });
  try {
    await test(
      (timeoutMs = 5_000) => rpc.call(endpoint, testService, "echo", { text: "a" }, { timeoutMs }),
      rpc,
    );
    assert(rpc.connectionCount <= 1);
  } finally {
    await rpc.close();
    listener.close();
    await accepting;
    await Promise.all(peers);
  }
}

/** Says hello as `body` and then hangs until the client goes. */
function greetAs(body: unknown): (peer: RawPeer) => Promise<void> {
  return async (peer) => {
    await peer.receive();
    await peer.connection.write(helloReplyBytes(body));
    await peer.hungUp();
  };
}

// ── who it is ──────────────────────────────────────────────────────────────────────────────────

Deno.test("a server of another cluster, role, OST or version is refused with the reason", async () => {
  await inVirtualTime(async (environment) => {
    await using mds = await startServer(environment);
    await using knowing = new RpcClient({ environment, caller: "client", clusterId: otherCluster });
    const call = (rpc: RpcClient, endpoint: Endpoint) =>
      rpc.call(endpoint, testService, "echo", { text: "" });
    await assert.rejects(call(knowing, mds.endpoint), fails("WRONG_CLUSTER", /"test" \(c{32}\)/));
    assert.equal(knowing.connectionCount, 0);
    await using asking = new RpcClient({ environment, caller: "client" });
    await assert.rejects(
      call(asking, { ...mds.endpoint, targetIndex: 3 }),
      fails("WRONG_TARGET", /^Cannot talk to \S+:\d+: This oss serves OST .*OST 3/),
    );
    assert.equal(asking.clusterId, undefined, "a refused hello teaches nothing");
    assert.deepEqual(await call(asking, mds.endpoint), { text: "" });
    assert.equal(asking.clusterId, clusterId);
  });
});

Deno.test("the first hello tells the cluster, and every other cluster is refused from then on", async () => {
  await inVirtualTime(async (environment) => {
    await using first = await startServer(environment);
    await using other = await startServer(environment, { identity: { clusterId: otherCluster } });
    await using rpc = new RpcClient({ environment, caller: "client" });
    await rpc.call(first.endpoint, testService, "echo", { text: "" });
    await assert.rejects(
      rpc.call(other.endpoint, testService, "echo", { text: "" }),
      fails("WRONG_CLUSTER"),
    );
    await rpc.call(first.endpoint, testService, "echo", { text: "" });
  });
});

const liars: [string, unknown, Partial<Endpoint>, ErrorCode, RegExp][] = [
  ["of another role", { ...helloReply, role: "oss" }, {}, "WRONG_ROLE", /it is an oss/],
  ["of no OST", helloReply, { targetIndex: 3 }, "WRONG_TARGET", /not 3/],
  [
    "of another OST",
    { ...helloReply, targetIndex: 4 },
    { targetIndex: 3 },
    "WRONG_TARGET",
    /OST 4/,
  ],
  ["with half a hello", { protocol: protocolVersion }, {}, "BAD_FRAME", /hello is malformed/],
  ["with a hello that is none", 5, {}, "BAD_FRAME", /hello is malformed/],
];

for (const [what, hello, target, code, message] of liars) {
  Deno.test(`a server ${what} that does not say so itself is refused with ${code}`, async () => {
    await withScriptedServer(greetAs(hello), async (echo, rpc) => {
      await assert.rejects(echo(), fails(code, message));
      assert.equal(rpc.connectionCount, 0);
      assert.equal(rpc.clusterId, undefined);
    }, target);
  });
}

Deno.test("something that is no server of rustre is named", async () => {
  const http = async (peer: RawPeer) => {
    await peer.connection.write(new TextEncoder().encode("HTTP/1.1 400 Bad Request\r\n\r\n"));
    await peer.hungUp();
  };
  await withScriptedServer(http, async (echo) => {
    await assert.rejects(echo(), fails("BAD_FRAME", /127\.0\.0\.1:\d+: it does not speak/));
  });
});

// ── connections that end ───────────────────────────────────────────────────────────────────────

const endings: [string, (peer: RawPeer) => Promise<void>, ErrorCode][] = [
  ["at once", () => Promise.resolve(), "UNREACHABLE"],
  ["after the hello", async (peer) => void await peer.receive(), "UNREACHABLE"],
  [
    "within its hello",
    async (peer) => {
      await peer.receive();
      await peer.connection.write(helloReplyBytes().subarray(0, 30));
    },
    "UNREACHABLE",
  ],
  [
    "after a request",
    async (peer) => {
      await peer.receive();
      await peer.connection.write(helloReplyBytes());
      await peer.receive();
    },
    "CONNECTION_LOST",
  ],
  [
    "within a reply",
    async (peer) => {
      await peer.receive();
      await peer.connection.write(helloReplyBytes());
      await peer.receive();
      const reply = frameBytes({ kind: frameKind.reply, opcode: echo.opcode, body: { text: "a" } });
      await peer.connection.write(reply.subarray(0, reply.length - 1));
    },
    "CONNECTION_LOST",
  ],
];

for (const [when, script, code] of endings) {
  Deno.test(`a server that hangs up ${when} makes the call ${code}`, async () => {
    await withScriptedServer(script, async (echo) => {
      await assert.rejects(echo(), fails(code, /127\.0\.0\.1/));
      await assert.rejects(echo(), fails(code));
    });
  });
}

// ── replies that are none ──────────────────────────────────────────────────────────────────────

/** Answers every request with what `answer` makes of its id. */
function answering(answer: (requestId: number) => Uint8Array): (peer: RawPeer) => Promise<void> {
  return async (peer) => {
    await peer.receive();
    await peer.connection.write(helloReplyBytes());
    for (;;) {
      const request = await peer.receive().catch(() => null);
      if (!request) return;
      await peer.connection.write(answer(request.requestId));
    }
  };
}

const reply = (requestId: number, body: unknown, kind: number = frameKind.reply) =>
  frameBytes({ kind, opcode: echo.opcode, requestId, body });

const badReplies: [string, (requestId: number) => Uint8Array, RegExp][] = [
  ["a field is missing", (id) => reply(id, {}), /reply to echo at mds 127.*"text"/],
  [
    "is no MessagePack",
    (id) => frameBytes({ kind: 1, requestId: id, bodyBytes: Uint8Array.of(0xc1) }),
    /echo/,
  ],
  ["is a request", (id) => reply(id, { text: "a" }, frameKind.request), /echo/],
  ["is an error without a code", (id) => reply(id, {}, frameKind.error), /echo/],
];

for (const [what, answer, message] of badReplies) {
  Deno.test(`a reply that ${what} is BAD_FRAME, the connection stays`, async () => {
    let count = 0;
    const script = answering((id) => count++ === 0 ? answer(id) : reply(id, { text: "good" }));
    await withScriptedServer(script, async (echo) => {
      await assert.rejects(echo(), fails("BAD_FRAME", message));
      assert.deepEqual(await echo(), { text: "good" });
    });
  });
}

Deno.test("replies to nobody are ignored", async () => {
  const script = answering((id) => {
    const strays = [id + 1, 0xffff_ffff, 0].map((stray) => reply(stray, { text: "stray" }));
    return Uint8Array.from([...strays, reply(id, { text: "mine" })].flatMap((each) => [...each]));
  });
  await withScriptedServer(script, async (echo) => {
    for (let count = 0; count < 3; count++) assert.deepEqual(await echo(), { text: "mine" });
  });
});

Deno.test("an error of a newer version is EIO with its message", async () => {
  const body = { code: 64_000, message: "Cannot do what is not invented yet" };
  await withScriptedServer(answering((id) => reply(id, body, frameKind.error)), async (echo) => {
    await assert.rejects(echo(), fails("EIO", /not invented yet/));
  });
});

Deno.test("what a server says when it hangs up is in the error of the calls under way", async () => {
  const farewell = { code: 1001, message: "Cannot read a frame: it does not start as one" };
  const script = answering(() => reply(0, farewell, frameKind.error));
  await withScriptedServer(script, async (echo) => {
    await assert.rejects(echo(), fails("CONNECTION_LOST", /does not start as one/));
  });
});

Deno.test("a server that sends no frames ends the connection, not the client", async () => {
  await withScriptedServer(answering(() => new Uint8Array(1000).fill(7)), async (echo) => {
    await assert.rejects(echo(), fails("CONNECTION_LOST", /does not start as one/));
  });
});
