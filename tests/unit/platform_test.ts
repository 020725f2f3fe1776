// The real environment, on this machine's loopback.

import assert from "node:assert/strict";
import { formatAddress } from "../../shared/address.ts";
import { isRustreError } from "../../shared/errors.ts";
import {
  externalAddresses,
  localAddressTowards,
  systemEnvironment,
} from "../../shared/platform.ts";

const { clock, random, transport } = systemEnvironment();
const loopback = { host: "127.0.0.1", port: 0 };
const never = new AbortController().signal;

/** A listener and one connection to it, both ends. */
async function connected() {
  const listener = await transport.listen(loopback);
  const [server, client] = await Promise.all([
    listener.accept(),
    transport.connect(listener.address, { signal: never }),
  ]);
  assert(server);
  return { listener, server, client };
}

Deno.test("transport carries bytes both ways, whole writes and the end of the stream", async () => {
  const { listener, server, client } = await connected();
  const sent = random.bytes(3_000_000);
  const writing = client.write(sent).then(() => client.close());
  const received: number[] = [];
  const buffer = new Uint8Array(100_000);
  for (let count = 0; count < sent.length;) {
    const read = await server.read(buffer);
    assert(read !== null && read > 0);
    received.push(...buffer.subarray(0, read));
    count += read;
  }
  assert.deepEqual(Uint8Array.from(received), sent);
  assert.equal(await server.read(buffer), null);
  await writing;
  assert.match(client.remote, new RegExp(`^${formatAddress(listener.address)}$`));
  server.close();
  server.close();
  listener.close();
  listener.close();
});

Deno.test("a connection that this side closed fails its reads and writes", async () => {
  const { listener, server, client } = await connected();
  const reading = client.read(new Uint8Array(1));
  client.close();
  await assert.rejects(reading, (error) => isRustreError(error, "CONNECTION_LOST"));
  await assert.rejects(
    client.write(new Uint8Array(1)),
    (error) => isRustreError(error, "CONNECTION_LOST") && /closed by this side/.test(error.message),
  );
  server.close();
  listener.close();
});

Deno.test("a closed listener accepts null", async () => {
  const listener = await transport.listen(loopback);
  const accepting = listener.accept();
  listener.close();
  assert.equal(await accepting, null);
  assert.equal(await listener.accept(), null);
});

Deno.test("listen() names the address that is in use or not of this machine", async () => {
  const listener = await transport.listen(loopback);
  await assert.rejects(
    transport.listen(listener.address),
    (error) =>
      isRustreError(error, "EBUSY") &&
      error.message ===
        `Cannot listen on "${formatAddress(listener.address)}": Address already in use`,
  );
  listener.close();
  // It may have it in a moment: a service manager is to try again.
  for (const host of ["192.0.2.200", "none.invalid"]) {
    await assert.rejects(
      transport.listen({ host, port: 1 }),
      (error) => isRustreError(error, "EIO") && error.message.includes(`"${host}:1"`),
    );
  }
});

Deno.test("connect() names the address that nobody listens on", async () => {
  const listener = await transport.listen(loopback);
  const { address } = listener;
  listener.close();
  await assert.rejects(
    transport.connect(address, { signal: never }),
    (error) =>
      isRustreError(error, "UNREACHABLE") &&
      error.message === `Cannot connect to "${formatAddress(address)}": Connection refused`,
  );
  await assert.rejects(
    transport.connect({ host: "no-such-host.invalid", port: 1 }, { signal: never }),
    (error) =>
      isRustreError(error, "UNREACHABLE") && /"no-such-host.invalid:1"/.test(error.message),
  );
});

Deno.test("connect() ends with its signal", async () => {
  const listener = await transport.listen(loopback);
  await assert.rejects(
    transport.connect(listener.address, { signal: AbortSignal.abort(new Error("enough")) }),
    (error) => isRustreError(error, "UNREACHABLE") && /enough/.test(error.message),
  );
  listener.close();
});

Deno.test("localAddressTowards() gives the address that the other end sees", async () => {
  const listener = await transport.listen(loopback);
  const accepting = listener.accept();
  assert.equal(await localAddressTowards(listener.address, never), "127.0.0.1");
  (await accepting)?.close();
  listener.close();
});

Deno.test("externalAddresses() has no loopback", () => {
  for (const host of externalAddresses()) assert(!/^(127\.|::1$|fe80:)/.test(host), host);
});

Deno.test("clock.nowMs() has fractions, never goes back and keeps to the system's time", () => {
  let previousMs = clock.nowMs();
  let fractions = 0;
  for (let count = 0; count < 20_000; count++) {
    const before = Date.now();
    const nowMs = clock.nowMs();
    assert(nowMs >= previousMs, `${nowMs} after ${previousMs}`);
    assert(nowMs >= before && nowMs < Date.now() + 1);
    if (!Number.isInteger(nowMs)) fractions++;
    previousMs = nowMs;
  }
  assert(fractions > 10_000);
});

Deno.test("clock.nowMs() follows the system's time when somebody sets it", () => {
  const { clock } = systemEnvironment();
  const realNow = Date.now;
  try {
    clock.nowMs();
    Date.now = () => realNow() + 3_600_000;
    assert(clock.nowMs() - realNow() > 3_599_000);
    Date.now = realNow;
    assert(Math.abs(clock.nowMs() - realNow()) < 1_000);
  } finally {
    Date.now = realNow;
  }
});

Deno.test("clock.setTimer() calls once, and not at all when it is cancelled", async () => {
  const calls: string[] = [];
  const cancel = clock.setTimer(() => calls.push("cancelled"), 1);
  cancel();
  await new Promise<void>((resolve) => clock.setTimer(resolve, 5));
  assert.deepEqual(calls, []);
});

Deno.test("random.bytes() fills any length, random.below() stays below", () => {
  const bytes = random.bytes(200_000);
  assert(bytes.subarray(-1_000).some((byte) => byte !== 0));
  for (let count = 0; count < 1_000; count++) {
    const value = random.below(3);
    assert(value === 0 || value === 1 || value === 2);
  }
});
