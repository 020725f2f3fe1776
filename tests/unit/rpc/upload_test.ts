// Uploads: from files, and what the server receives them into.

import assert from "node:assert/strict";
import { checksumOf } from "../../../shared/checksums.ts";
import { sleep } from "../../../shared/environment.ts";
import { systemEnvironment } from "../../../shared/platform.ts";
import { fails, inVirtualTime, startServer, testService } from "../../support/rpc.ts";
import { SeededRandom } from "../../support/seeded_random.ts";
import { TemporaryFile } from "../../support/temporary_file.ts";

const KiB = 1024;
const MiB = 1024 * KiB;

for (const dataPath of ["auto", "streaming"] as const) {
  Deno.test(`uploads of ranges of files arrive as they are, ${dataPath}`, async () => {
    const handlers = {
      upload: (_: unknown, { payload }: { payload: Uint8Array }) =>
        Promise.resolve({ lengthBytes: payload.length, sum: checksumOf(payload) }),
    };
    await using server = await startServer(systemEnvironment({ dataPath }), { handlers });
    const rpc = server.client();
    using file = new TemporaryFile(new SeededRandom(51).bytes(5 * MiB));
    const random = new SeededRandom(52);
    await Promise.all(Array.from({ length: 100 }, async () => {
      const offsetBytes = random.below(MiB);
      const lengthBytes = random.below(random.below(2) === 0 ? 50 * KiB : 4 * MiB + 1);
      const payload = file.range(offsetBytes, lengthBytes);
      const reply = await rpc.call(server.endpoint, testService, "upload", {}, { payload });
      const expected = file.bytes.subarray(offsetBytes, offsetBytes + lengthBytes);
      assert.deepEqual(reply, { lengthBytes, sum: checksumOf(expected) });
    }));
    assert.equal(server.server.load.payloadBytes, 0);
  });
}

Deno.test("a payload in several places arrives as one", async () => {
  const received: Uint8Array[] = [];
  const handlers = {
    upload: (_: unknown, { payload }: { payload: Uint8Array }) => {
      received.push(payload.slice());
      return Promise.resolve({ lengthBytes: payload.length, sum: 0 });
    },
  };
  await using server = await startServer(systemEnvironment({ dataPath: "auto" }), { handlers });
  const rpc = server.client();
  using file = new TemporaryFile(new SeededRandom(55).bytes(3 * MiB));
  const memory = new SeededRandom(56).bytes(MiB);
  const places: [offsetBytes: number, lengthBytes: number, from: "file" | "memory"][][] = [
    [[10, 20, "memory"], [2 * MiB, 300, "file"], [5, 0, "file"], [1, 1, "memory"]],
    [[7, MiB, "file"], [2 * MiB, MiB - 1, "file"], [0, 300 * KiB, "memory"]],
    [[0, MiB, "memory"], [9, 1, "file"], [8, MiB, "file"], [MiB - 9, 9, "memory"]],
  ];
  for (const each of places) {
    const payload = each.map(([offsetBytes, lengthBytes, from]) =>
      from === "file"
        ? file.range(offsetBytes, lengthBytes)
        : memory.subarray(offsetBytes, offsetBytes + lengthBytes)
    );
    const expected = Buffer.concat(
      each.map(([offsetBytes, lengthBytes, from]) =>
        (from === "file" ? file.bytes : memory).subarray(offsetBytes, offsetBytes + lengthBytes)
      ),
    );
    await rpc.call(server.endpoint, testService, "upload", {}, { payload });
    assert.equal(Buffer.compare(received.pop()!, expected), 0);
  }
});

Deno.test("a caller that leaves while its file is being sent closes the connection", async () => {
  await inVirtualTime(async (environment, _, network) => {
    await using server = await startServer(environment);
    const rpc = server.client();
    const call = (options: { payload: ReturnType<TemporaryFile["range"]>; timeoutMs?: number }) =>
      rpc.call(server.endpoint, testService, "upload", {}, options);
    using file = new TemporaryFile(new Uint8Array(4 * MiB));
    await call({ payload: file.range(0, 1) });
    network.freeze("127.0.0.1");
    const before = rpc.connectionCount;
    await assert.rejects(call({ payload: file.range(), timeoutMs: 500 }), fails("TIMED_OUT"));
    assert.equal(rpc.connectionCount, before - 1);
    network.freeze("127.0.0.1", false);
    assert.equal((await call({ payload: file.range() })).lengthBytes, 4 * MiB);
  });
});

Deno.test("the payload of a request is its own until its handler has settled", async () => {
  await inVirtualTime(async (environment) => {
    const buffers = new Set<ArrayBufferLike>();
    const handlers = {
      upload: async (_: unknown, { payload }: { payload: Uint8Array }) => {
        buffers.add(payload.buffer);
        const value = payload[0]!;
        // Others arrive meanwhile.
        await sleep(environment.clock, 1 + value % 7);
        assert(payload.every((byte) => byte === value), "another request's bytes");
        return { lengthBytes: payload.length, sum: 0 };
      },
    };
    await using server = await startServer(environment, { handlers });
    const rpc = server.client();
    const random = new SeededRandom(53);
    for (let round = 0; round < 10; round++) {
      await Promise.all(Array.from({ length: 50 }, async () => {
        const lengthBytes = 20 * KiB + random.below(100 * KiB);
        const payload = new Uint8Array(lengthBytes).fill(random.below(256));
        const reply = await rpc.call(server.endpoint, testService, "upload", {}, { payload });
        assert.equal(reply.lengthBytes, lengthBytes);
      }));
    }
    assert(buffers.size < 250, `${buffers.size} buffers for 500 requests, 50 at a time`);
  });
});
