// What every Transport promises (shared/environment.ts), one test for each promise.

import assert from "node:assert/strict";
import { type Connection, type Listener, sleep, type Transport } from "../../shared/environment.ts";
import type { ErrorCode } from "../../shared/errors.ts";
import { isRustreError } from "../../shared/errors.ts";
import { systemEnvironment } from "../../shared/platform.ts";
import { testFiles } from "./transport_files.ts";
import { SeededRandom } from "../support/seeded_random.ts";

/** A network of its own, with a host that listens and another one. */
export interface NetworkUnderTest {
  /** What the server listens on. */
  readonly host: string;
  readonly server: Transport;
  readonly client: Transport;
}

/** For the few promises that something does not happen. */
const { clock } = systemEnvironment();
const never = new AbortController().signal;
const MiB = 1024 * 1024;

export function transportContract(name: string, network: () => NetworkUnderTest): void {
  const promise = (text: string, test: (network: NetworkUnderTest) => Promise<void>) =>
    Deno.test(`${name}: ${text}`, () => test(network()));
  testListening(promise);
  testConnecting(promise);
  testBytes(promise);
  testClosing(promise);
  testFiles(promise);
}

export type PromiseTest = (
  text: string,
  test: (network: NetworkUnderTest) => Promise<void>,
) => void;

export class Pair {
  constructor(
    readonly listener: Listener,
    readonly server: Connection,
    readonly client: Connection,
  ) {}

  [Symbol.dispose](): void {
    this.server.close();
    this.client.close();
    this.listener.close();
  }
}

export async function connected({ host, server, client }: NetworkUnderTest): Promise<Pair> {
  const listener = await server.listen({ host, port: 0 });
  const [there, here] = await Promise.all([
    listener.accept(),
    client.connect(listener.address, { signal: never }),
  ]);
  assert(there);
  return new Pair(listener, there, here);
}

function fails(...codes: ErrorCode[]): (error: unknown) => boolean {
  return (error) => isRustreError(error, ...codes);
}

function testListening(promise: PromiseTest): void {
  promise("listen() on port 0 gives each listener a port of its own", async ({ host, server }) => {
    const listeners = await Promise.all([1, 2, 3].map(() => server.listen({ host, port: 0 })));
    const ports = new Set(listeners.map((listener) => listener.address.port));
    assert.equal(ports.size, 3);
    for (const { address } of listeners) {
      assert.equal(address.host, host);
      assert(address.port > 0);
    }
    for (const listener of listeners) listener.close();
  });

  promise("listen() refuses an address in use, and takes it once it is free", async (network) => {
    const { server, host } = network;
    const first = await server.listen({ host, port: 0 });
    await assert.rejects(server.listen(first.address), fails("EBUSY"));
    first.close();
    const second = await server.listen(first.address);
    assert.deepEqual(second.address, first.address);
    second.close();
  });

  promise("accept() gives null once the listener is closed", async ({ host, server }) => {
    const listener = await server.listen({ host, port: 0 });
    const accepting = listener.accept();
    listener.close();
    listener.close();
    assert.equal(await accepting, null);
    assert.equal(await listener.accept(), null);
  });
}

function testConnecting(promise: PromiseTest): void {
  promise("connect() fails with UNREACHABLE where nobody listens", async (network) => {
    const { host, server, client } = network;
    const listener = await server.listen({ host, port: 0 });
    listener.close();
    await assert.rejects(client.connect(listener.address, { signal: never }), fails("UNREACHABLE"));
  });

  promise("connect() fails with UNREACHABLE when its signal has fired", async (network) => {
    const { host, server, client } = network;
    const listener = await server.listen({ host, port: 0 });
    const signal = AbortSignal.abort();
    await assert.rejects(client.connect(listener.address, { signal }), fails("UNREACHABLE"));
    listener.close();
  });

  promise("connections do not mix, 200 at once", async ({ host, server, client }) => {
    const listener = await server.listen({ host, port: 0 });
    const echoing: Promise<void>[] = [];
    const accepting = (async () => {
      for (let count = 0; count < 200; count++) echoing.push(echoOnce(await listener.accept()));
    })();
    await Promise.all(Array.from({ length: 200 }, async (_, index) => {
      const connection = await client.connect(listener.address, { signal: never });
      await connection.write(Uint8Array.of(index));
      const buffer = new Uint8Array(4);
      assert.equal(await connection.read(buffer), 1);
      assert.equal(buffer[0], index);
      connection.close();
    }));
    await accepting;
    await Promise.all(echoing);
    listener.close();
  });

  promise("a connection names its other end", async (network) => {
    using pair = await connected(network);
    const { host, port } = pair.listener.address;
    assert.equal(pair.client.remote, `${host}:${port}`);
    assert.notEqual(pair.server.remote, "");
  });
}

async function echoOnce(connection: Connection | null): Promise<void> {
  assert(connection);
  const buffer = new Uint8Array(4);
  await connection.write(buffer.subarray(0, (await connection.read(buffer))!));
  assert.equal(await connection.read(buffer), null);
  connection.close();
}

function testBytes(promise: PromiseTest): void {
  promise("bytes arrive whole and in order, however they are cut, both ways", async (network) => {
    using pair = await connected(network);
    await Promise.all([
      transfer(pair.client, pair.server, new SeededRandom(1)),
      transfer(pair.server, pair.client, new SeededRandom(2)),
    ]);
  });

  promise("read() gives what is there and does not wait for more", async (network) => {
    using pair = await connected(network);
    await pair.client.write(Uint8Array.of(1, 2, 3));
    const buffer = new Uint8Array(100);
    let count = 0;
    while (count < 3) count += (await pair.server.read(buffer.subarray(count)))!;
    assert.deepEqual(buffer.subarray(0, count), Uint8Array.of(1, 2, 3));
  });

  promise("write() takes the bytes: they may be changed once it resolves", async (network) => {
    using pair = await connected(network);
    const data = new Uint8Array(100_000).fill(7);
    const writing = pair.client.write(data).then(() => data.fill(9));
    const received = await readAll(pair.server, data.length);
    await writing;
    assert(received.every((byte) => byte === 7));
  });

  promise("write() waits for a peer that does not read, until it reads", async (network) => {
    using pair = await connected(network);
    const total = 128 * MiB;
    const writing = writeZeros(pair.client, total);
    const patience = sleep(clock, 300);
    const outcome = await Promise.race([writing.then(() => "written"), patience]);
    assert.equal(outcome, undefined, "128 MiB were taken that nobody has read");
    await patience;
    await Promise.all([writing, readZeros(pair.server, total)]);
  });
}

async function transfer(from: Connection, to: Connection, random: SeededRandom): Promise<void> {
  const sent = random.bytes(500_000);
  const writing = (async () => {
    for (let start = 0; start < sent.length;) {
      const end = start + 1 + random.below(random.below(2) === 0 ? 50 : 100_000);
      await from.write(sent.subarray(start, end));
      start = end;
    }
  })();
  assert.deepEqual(await readAll(to, sent.length), sent);
  await writing;
}

export async function readAll(connection: Connection, length: number): Promise<Uint8Array> {
  const received = new Uint8Array(length);
  for (let count = 0; count < length;) {
    const read = await connection.read(received.subarray(count));
    assert(read !== null && read > 0);
    count += read;
  }
  return received;
}

async function writeZeros(connection: Connection, length: number): Promise<void> {
  const zeros = new Uint8Array(MiB);
  for (let count = 0; count < length; count += zeros.length) await connection.write(zeros);
}

async function readZeros(connection: Connection, length: number): Promise<void> {
  const buffer = new Uint8Array(MiB);
  for (let count = 0; count < length;) count += (await connection.read(buffer))!;
}

function testClosing(promise: PromiseTest): void {
  promise("what was written before close() arrives, and then the end", async (network) => {
    using pair = await connected(network);
    const sent = new SeededRandom(3).bytes(100_000);
    const received = readAll(pair.server, sent.length);
    await pair.client.write(sent);
    pair.client.close();
    assert.deepEqual(await received, sent);
    const buffer = new Uint8Array(1);
    assert.equal(await pair.server.read(buffer), null);
    assert.equal(await pair.server.read(buffer), null);
  });

  promise("close() ends a read and a write that are under way on this side", async (network) => {
    using pair = await connected(network);
    const reading = endOf(pair.client.read(new Uint8Array(1)));
    const writing = assert.rejects(writeZeros(pair.client, 128 * MiB), fails("CONNECTION_LOST"));
    pair.client.close();
    pair.client.close();
    await reading;
    await writing;
  });

  promise("close() ends a read that is under way on the other side", async (network) => {
    using pair = await connected(network);
    const reading = endOf(pair.server.read(new Uint8Array(1)));
    pair.client.close();
    await reading;
  });

  promise("close() ends a write that is under way on the other side", async (network) => {
    using pair = await connected(network);
    const writing = assert.rejects(writeZeros(pair.server, 128 * MiB), fails("CONNECTION_LOST"));
    await pair.client.read(new Uint8Array(1));
    pair.client.close();
    await writing;
  });

  promise("after close() nothing more is read into a buffer, or sent from one", async (network) => {
    using pair = await connected(network);
    const sent = new Uint8Array(64 * MiB);
    const writing = pair.client.write(sent).catch(() => {});
    const received = new Uint8Array(MiB);
    const reading = pair.client.read(received).catch(() => {});
    await pair.server.write(Uint8Array.of(1));
    await pair.server.read(new Uint8Array(MiB));
    pair.client.close();
    sent.fill(7);
    received.fill(7);
    assert.equal(await countOf(7, pair.server), 0);
    await Promise.all([writing, reading]);
    assert(received.every((byte) => byte === 7));
  });

  promise("after close() this side reads and writes nothing", async (network) => {
    using pair = await connected(network);
    await pair.server.write(Uint8Array.of(1, 2, 3));
    pair.client.close();
    await endOf(pair.client.read(new Uint8Array(10)));
    await assert.rejects(pair.client.write(Uint8Array.of(1)), fails("CONNECTION_LOST"));
  });
}

/** How many bytes of this value arrive until the connection ends. */
async function countOf(value: number, connection: Connection): Promise<number> {
  const buffer = new Uint8Array(MiB);
  let found = 0;
  for (;;) {
    const count = await connection.read(buffer).catch(() => null);
    if (count === null) return found;
    found += buffer.subarray(0, count).filter((byte) => byte === value).length;
  }
}

/** A read that ends with the stream, or fails as one of a connection that is gone. */
async function endOf(reading: Promise<number | null>): Promise<void> {
  try {
    assert.equal(await reading, null);
  } catch (error) {
    assert(isRustreError(error, "CONNECTION_LOST"), String(error));
  }
}
