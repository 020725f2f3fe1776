// A small service to try the RPC layer on, and a peer that sends whatever bytes a test wants sent.

import assert from "node:assert/strict";
import * as v from "valibot";
import type { Address, Connection, Environment, Transport } from "../../shared/environment.ts";
import { codeOfNumber, type ErrorCode, isRustreError } from "../../shared/errors.ts";
import { limits } from "../../shared/limits.ts";
import { loggerOf } from "../../shared/logging.ts";
import { type CallOptions, type Endpoint, RpcClient } from "../../shared/rpc/client.ts";
import { encodeHeader, type Frame, type FrameKind, frameKind } from "../../shared/rpc/frame.ts";
import { FrameReader } from "../../shared/rpc/frame_reader.ts";
import { encodeBody } from "../../shared/rpc/message_pack.ts";
import { helloOpcode, protocolVersion } from "../../shared/rpc/hello.ts";
import { type RpcServer, serve, type ServerIdentity } from "../../shared/rpc/server.ts";
import {
  downloadMethod,
  type Handlers,
  method,
  service,
  uploadMethod,
} from "../../shared/rpc/service.ts";
import { MemoryNetwork } from "./memory_network.ts";
import { SeededRandom } from "./seeded_random.ts";
import { VirtualClock } from "./virtual_clock.ts";

const text = v.object({ text: v.string() });
const length = v.pipe(v.number(), v.integer(), v.minValue(0));

export const testService = service("mds", {
  echo: method(0x0f01, text, text),
  upload: uploadMethod(0x0f02, v.object({}), v.object({ lengthBytes: length, sum: length })),
  download: downloadMethod(
    0x0f03,
    v.object({ lengthBytes: length }),
    v.object({}),
    (request) => request.lengthBytes,
  ),
  /** For handlers of the tests' own. */
  wait: method(0x0f04, text, text),
});
export type TestHandlers = Handlers<typeof testService>;

export const clusterId = "c".repeat(32);
export const identity: ServerIdentity = {
  role: "mds",
  clusterId,
  clusterName: "test",
  nodeId: "a".repeat(32),
};

/** Answers at once. */
const echoHandlers: TestHandlers = {
  echo: (request) => Promise.resolve(request),
  upload: (_, { payload }) =>
    Promise.resolve({ lengthBytes: payload.length, sum: payload.reduce((a, b) => a + b, 0) }),
  download: ({ lengthBytes }) =>
    Promise.resolve({ reply: {}, payload: new Uint8Array(lengthBytes).fill(lengthBytes & 0xff) }),
  wait: (request) => Promise.resolve(request),
};

/** A server of the test service, and clients of it, on one environment. */
export class TestServer implements AsyncDisposable {
  readonly environment: Environment;
  readonly server: RpcServer;
  readonly endpoint: Endpoint;
  readonly #clients: RpcClient[] = [];

  constructor(environment: Environment, server: RpcServer) {
    this.environment = environment;
    this.server = server;
    this.endpoint = { address: server.address, role: "mds" };
  }

  client(options: { clusterId?: string; caller?: "client" | "oss" } = {}): RpcClient {
    const { caller = "client" } = options;
    const rpc = new RpcClient({ environment: this.environment, caller, ...options });
    this.#clients.push(rpc);
    return rpc;
  }

  /** A peer that has not said hello. */
  peer(): Promise<RawPeer> {
    return RawPeer.connect(this.environment, this.server.address);
  }

  /** A peer that has said hello. */
  async greetedPeer(caller = "client"): Promise<RawPeer> {
    const peer = await this.peer();
    await peer.greet({ caller });
    return peer;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const client of this.#clients) await client.close();
    await this.server.close();
  }
}

export interface TestServerOptions {
  readonly handlers?: Partial<TestHandlers>;
  readonly identity?: Partial<ServerIdentity>;
  readonly listen?: Address;
  readonly connectionsMax?: number;
}

export async function startServer(
  environment: Environment,
  options: TestServerOptions = {},
): Promise<TestServer> {
  const { connectionsMax = limits.connectionsMax } = options;
  const listener = await environment.transport.listen(
    options.listen ?? { host: "127.0.0.1", port: 0 },
  );
  const server = serve({
    environment,
    listener,
    service: testService,
    handlers: { ...echoHandlers, ...options.handlers },
    identity: { ...identity, ...options.identity },
    log: loggerOf("mds"),
    connectionsMax,
  });
  return new TestServer(environment, server);
}

/** Runs a test in virtual time on a network in memory. The server and its clients are one host. */
export async function inVirtualTime(
  test: (
    environment: Environment,
    clock: VirtualClock,
    network: MemoryNetwork,
  ) => Promise<void>,
): Promise<void> {
  const clock = new VirtualClock();
  const network = new MemoryNetwork();
  const transport: Transport = network.transport("127.0.0.1");
  const environment = { clock, random: new SeededRandom(1), transport };
  await clock.run(test(environment, clock, network));
}

export interface RawFrame {
  readonly kind?: FrameKind | number;
  readonly opcode?: number;
  readonly requestId?: number;
  readonly body?: unknown;
  /** In place of a body that MessagePack would write. */
  readonly bodyBytes?: Uint8Array;
  readonly payload?: Uint8Array;
}

/** The bytes of a frame, right or wrong. */
export function frameBytes(frame: RawFrame): Uint8Array<ArrayBuffer> {
  const { kind = frameKind.request, opcode = 0, requestId = 1 } = frame;
  const payload = frame.payload ?? new Uint8Array(0);
  const body = frame.bodyBytes ?? encodeBody(frame.body ?? {}).slice();
  const bytes = new Uint8Array(limits.frameHeaderBytes + body.length + payload.length);
  encodeHeader(new DataView(bytes.buffer), 0, {
    kind: kind as FrameKind,
    opcode,
    requestId,
    bodyBytes: body.length,
    payloadBytes: payload.length,
  });
  bytes.set(body, limits.frameHeaderBytes);
  bytes.set(payload, limits.frameHeaderBytes + body.length);
  return bytes;
}

export function helloBytes(hello: Record<string, unknown> = {}): Uint8Array<ArrayBuffer> {
  const body = { protocol: protocolVersion, clusterId, wants: "mds", caller: "client", ...hello };
  return frameBytes({ opcode: helloOpcode, requestId: 0, body });
}

export class RawPeer implements Disposable {
  readonly connection: Connection;
  readonly #reader: FrameReader;

  constructor(environment: Environment, connection: Connection) {
    this.connection = connection;
    this.#reader = new FrameReader(connection, {
      clock: environment.clock,
      bodyBytesMax: limits.replyBodyBytesMax,
      payloadBytesMax: limits.framePayloadBytesMax,
    });
  }

  static async connect(environment: Environment, address: Address): Promise<RawPeer> {
    const { signal } = new AbortController();
    return new RawPeer(environment, await environment.transport.connect(address, { signal }));
  }

  send(frame: RawFrame): Promise<void> {
    return this.connection.write(frameBytes(frame));
  }

  /** The next frame, or `null` at the end. */
  receive(): Promise<Frame | null> {
    return this.#reader.next();
  }

  /** Sends a request and gives the frame that comes next. */
  async ask(frame: RawFrame): Promise<Frame> {
    await this.send(frame);
    const reply = await this.receive();
    assert(reply, "the server hung up");
    return reply;
  }

  async greet(hello: Record<string, unknown> = {}): Promise<Frame> {
    await this.connection.write(helloBytes(hello));
    const reply = await this.receive();
    assert.equal(reply?.kind, frameKind.reply);
    return reply!;
  }

  /** Resolves when the server has hung up; what it says until then is dropped. */
  async hungUp(): Promise<void> {
    try {
      while (await this.#reader.next());
    } catch {
      // Reset rather than closed: that is an end too.
    }
  }

  [Symbol.dispose](): void {
    this.#reader.close();
    this.connection.close();
  }
}

/** The number and message in an error frame. */
export function errorIn(frame: Frame | null): { code: number; message: string } {
  assert.equal(frame?.kind, frameKind.error);
  return frame!.body as { code: number; message: string };
}

/** For `assert.rejects`: an operating error of this code. */
export function fails(code: ErrorCode, message = /./): (error: unknown) => boolean {
  return (error) => {
    assert(isRustreError(error, code), String(error));
    assert.match(error.message, message);
    return true;
  };
}

/** Calls of a client to the methods that carry a text. */
export function callOf(server: TestServer, rpc: RpcClient) {
  return (name: "echo" | "wait", text: string, options: CallOptions = {}) =>
    rpc.call(server.endpoint, testService, name, { text }, options);
}

/** How long something takes. */
export async function msOf({ clock }: Environment, task: Promise<unknown>): Promise<number> {
  const startMs = clock.monotonicMs();
  await task;
  return clock.monotonicMs() - startMs;
}

export function codeIn(frame: Frame | null): ErrorCode {
  return codeOfNumber(errorIn(frame).code);
}

/** Something that handlers wait for and a test lets happen. */
export class Gate {
  open: () => void = () => {};
  readonly opened = new Promise<void>((resolve) => this.open = resolve);
  waiting = 0;

  readonly handler = async (request: { text: string }) => {
    this.waiting++;
    await this.opened;
    return request;
  };
}
