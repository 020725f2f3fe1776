// The server's side of connections: accepts them, checks the hello, validates and dispatches
// requests, bounds what is under way, answers. The same for every role.

import * as v from "valibot";
import type { Connection, Environment, Listener } from "../environment.ts";
import { assert } from "../assert.ts";
import { isRustreError, messageOf, RustreError } from "../errors.ts";
import { limits } from "../limits.ts";
import type { Logger } from "../logging.ts";
import { Semaphore } from "../semaphore.ts";
import { type Frame, type FrameKind, frameKind, FrameReader, FrameWriter } from "./frame.ts";
import {
  helloOpcode,
  type HelloReply,
  type HelloRequest,
  helloRequestSchema,
  protocolVersion,
} from "./protocol.ts";
import type { Call, Handlers, Method, Service } from "./service.ts";
import type { ServerRole } from "../model.ts";
import type { Address } from "../environment.ts";

export interface ServerIdentity {
  readonly role: ServerRole;
  readonly clusterId: string;
  readonly clusterName: string;
  readonly nodeId: string;
  /** Of an oss. */
  readonly targetIndex?: number;
}

export interface ServeOptions<S extends Service> {
  readonly environment: Environment;
  readonly listener: Listener;
  readonly service: S;
  readonly handlers: Handlers<S>;
  readonly identity: ServerIdentity;
  readonly log: Logger;
}

type AnyHandler = (request: unknown, call: Call) => Promise<unknown>;

interface Route {
  readonly name: string;
  readonly method: Method;
  readonly handler: AnyHandler;
}

/** Serves `listener` until it is closed. */
export function serve<S extends Service>(options: ServeOptions<S>): RpcServer {
  const server = new RpcServer(options as unknown as ServeOptions<Service>);
  server.start();
  return server;
}

export class RpcServer implements AsyncDisposable {
  readonly address: Address;
  readonly #options: ServeOptions<Service>;
  readonly #routes = new Map<number, Route>();
  readonly #connections = new Set<ServerConnection>();
  /** Payload bytes held for all connections. */
  readonly #payloadRoom = new Semaphore(limits.payloadBytesPerServerMax);
  #accepting: Promise<void> = Promise.resolve();
  #closing: Promise<void> | undefined;

  constructor(options: ServeOptions<Service>) {
    this.#options = options;
    this.address = options.listener.address;
    const handlers = options.handlers as Record<string, AnyHandler>;
    for (const [name, method] of Object.entries(options.service.methods)) {
      const handler = handlers[name];
      assert(handler, `${options.service.name}.${name} has no handler`);
      this.#routes.set(method.opcode, { name, method, handler });
    }
  }

  start(): void {
    this.#accepting = this.#acceptAll();
  }

  async #acceptAll(): Promise<void> {
    const { listener, log } = this.#options;
    for (;;) {
      const connection = await listener.accept();
      if (connection === null) return;
      if (this.#connections.size >= limits.connectionsMax) {
        log.warn("Refused a connection: too many are open", { remote: connection.remote });
        connection.close();
        continue;
      }
      this.#serveConnection(connection);
    }
  }

  #serveConnection(connection: Connection): void {
    const { environment, identity, log } = this.#options;
    const served = new ServerConnection(connection, {
      environment,
      identity,
      log,
      routes: this.#routes,
      payloadRoom: this.#payloadRoom,
    });
    this.#connections.add(served);
    served.run().catch((error) => {
      log.error("A connection failed", { remote: connection.remote, error });
    }).finally(() => this.#connections.delete(served));
  }

  /**
   * Stops accepting, gives requests under way limits.drainMs to finish, closes the connections.
   * Idempotent.
   */
  close(): Promise<void> {
    return this.#closing ??= this.#close();
  }

  async #close(): Promise<void> {
    const { listener, environment } = this.#options;
    listener.close();
    await this.#accepting;
    const drained = Promise.all([...this.#connections].map((each) => each.drain()));
    let cancel = () => {};
    const timeout = new Promise<void>((resolve) => {
      cancel = environment.clock.setTimer(resolve, limits.drainMs);
    });
    await Promise.race([drained, timeout]);
    cancel();
    for (const connection of this.#connections) connection.close();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}

interface ConnectionOptions {
  readonly environment: Environment;
  readonly identity: ServerIdentity;
  readonly log: Logger;
  readonly routes: ReadonlyMap<number, Route>;
  readonly payloadRoom: Semaphore;
}

class ServerConnection {
  readonly #connection: Connection;
  readonly #options: ConnectionOptions;
  readonly #reader: FrameReader;
  readonly #writer: FrameWriter;
  readonly #requestRoom = new Semaphore(limits.requestsPerConnectionMax);
  readonly #payloadRoom = new Semaphore(limits.payloadBytesPerConnectionMax);
  #underWay = 0;
  /** Of the payload that is being received. */
  #reservedBytes = 0;
  #draining = false;
  #onIdle: (() => void) | undefined;

  constructor(connection: Connection, options: ConnectionOptions) {
    this.#connection = connection;
    this.#options = options;
    this.#writer = new FrameWriter(connection, { bodyBytesMax: limits.replyBodyBytesMax });
    this.#reader = new FrameReader(connection, {
      clock: options.environment.clock,
      bodyBytesMax: limits.requestBodyBytesMax,
      reservePayload: (bytes) => this.#reservePayload(bytes),
    });
  }

  /** Serves requests until the connection ends. */
  async run(): Promise<void> {
    try {
      if (!(await this.#hello())) return;
      for (;;) {
        await this.#requestRoom.acquire();
        await this.#writer.room();
        const frame = await this.#reader.next();
        if (frame === null) return;
        this.#reservedBytes = 0;
        this.#dispatch(frame);
      }
    } catch (error) {
      this.#endAfter(error);
    } finally {
      this.#releasePayload(this.#reservedBytes);
      // A peer that never reads does not keep the connection for ever.
      const { clock } = this.#options.environment;
      const cancel = clock.setTimer(() => this.#connection.close(), limits.frameTimeoutMs);
      await this.#writer.flushed();
      cancel();
      this.#connection.close();
    }
  }

  /** Refuses new requests and resolves when those under way are answered. */
  async drain(): Promise<void> {
    this.#draining = true;
    if (this.#underWay > 0) await new Promise<void>((resolve) => this.#onIdle = resolve);
    await this.#writer.flushed();
  }

  close(): void {
    this.#connection.close();
  }

  /** The peer broke the rules or the network failed: say so where that helps, and hang up. */
  #endAfter(error: unknown): void {
    const { log } = this.#options;
    const remote = this.#connection.remote;
    if (isRustreError(error, "BAD_FRAME", "WRONG_VERSION")) {
      log.warn("Closed a connection that does not speak the protocol", {
        remote,
        reason: error.message,
      });
      this.#sendError({ opcode: 0, requestId: 0 }, error);
    } else {
      log.debug("A connection ended", { remote, reason: messageOf(error) });
    }
  }

  async #reservePayload(bytes: number): Promise<void> {
    await this.#payloadRoom.acquire(bytes);
    await this.#options.payloadRoom.acquire(bytes);
    this.#reservedBytes = bytes;
  }

  #releasePayload(bytes: number): void {
    if (bytes === 0) return;
    this.#payloadRoom.release(bytes);
    this.#options.payloadRoom.release(bytes);
  }

  async #hello(): Promise<boolean> {
    const { clock } = this.#options.environment;
    const cancel = clock.setTimer(() => this.#connection.close(), limits.helloTimeoutMs);
    let frame: Frame | null;
    try {
      frame = await this.#reader.next();
    } finally {
      cancel();
    }
    if (frame === null) return false;
    try {
      this.#writer.send({ ...frame, kind: frameKind.reply }, this.#answerHello(frame));
      return true;
    } catch (error) {
      this.#options.log.info("Refused a connection", {
        remote: this.#connection.remote,
        reason: messageOf(error),
      });
      this.#sendError(frame, error);
      return false;
    }
  }

  #answerHello(frame: Frame): HelloReply {
    const isHello = frame.kind === frameKind.request && frame.opcode === helloOpcode;
    if (!isHello || frame.payloadBytes > 0) {
      throw new RustreError("BAD_REQUEST", "The first frame of a connection must be a hello");
    }
    const parsed = v.safeParse(helloRequestSchema, frame.body);
    if (!parsed.success) throw badRequest("hello", parsed.issues);
    checkHello(parsed.output, this.#options.identity);
    const { role, clusterId, clusterName, nodeId, targetIndex } = this.#options.identity;
    const reply = { protocol: protocolVersion, clusterId, clusterName, role, nodeId };
    return targetIndex === undefined ? reply : { ...reply, targetIndex };
  }

  #dispatch(frame: Frame): void {
    this.#underWay++;
    this.#handle(frame).finally(() => {
      this.#releasePayload(frame.payloadBytes);
      this.#requestRoom.release();
      this.#underWay--;
      if (this.#underWay === 0) this.#onIdle?.();
    });
  }

  /** Never rejects. */
  async #handle(frame: Frame): Promise<void> {
    try {
      const { method, request, handler } = this.#decode(frame);
      const call = { remote: this.#connection.remote, payload: frame.payload };
      const { opcode, requestId } = frame;
      const header = { kind: frameKind.reply, opcode, requestId };
      if (method.replyPayloadBytes) {
        await this.#sendDownload(
          header,
          method.replyPayloadBytes(request),
          () => handler(request, call),
        );
      } else {
        this.#writer.send(header, await handler(request, call));
      }
    } catch (error) {
      this.#sendError(frame, error);
    }
  }

  async #sendDownload(
    header: { kind: FrameKind; opcode: number; requestId: number },
    payloadBytes: number,
    answer: () => Promise<unknown>,
  ): Promise<void> {
    await this.#payloadRoom.acquire(payloadBytes);
    await this.#options.payloadRoom.acquire(payloadBytes);
    const release = () => this.#releasePayload(payloadBytes);
    try {
      const { reply, payload } = await answer() as { reply: unknown; payload: Uint8Array };
      this.#writer.send(header, reply, payload, release);
    } catch (error) {
      release();
      throw error;
    }
  }

  #decode(frame: Frame): { method: Method; request: unknown; handler: AnyHandler } {
    if (this.#draining) throw new RustreError("SHUTTING_DOWN", "The server is stopping");
    const route = this.#options.routes.get(frame.opcode);
    if (frame.kind !== frameKind.request || !route) {
      throw new RustreError("UNKNOWN_OPERATION", `No operation has the number ${frame.opcode}`);
    }
    const { name, method, handler } = route;
    if (frame.payloadBytes > 0 && method.payload !== "request") {
      throw new RustreError("BAD_REQUEST", `Cannot handle ${name}: it takes no payload`);
    }
    const parsed = v.safeParse(method.request, frame.body);
    if (!parsed.success) throw badRequest(name, parsed.issues);
    return { method, request: parsed.output, handler };
  }

  #sendError(frame: Pick<Frame, "opcode" | "requestId">, error: unknown): void {
    const { log } = this.#options;
    const known = error instanceof RustreError
      ? error
      : new RustreError("INTERNAL", `The server has a bug: ${messageOf(error)}`);
    if (known.code === "INTERNAL") {
      log.error("A request met a bug", { opcode: frame.opcode, error });
    }
    const body = { code: known.number, message: known.message.slice(0, 4096) };
    const { opcode, requestId } = frame;
    this.#writer.send({ kind: frameKind.error, opcode, requestId }, body);
  }
}

function badRequest(
  name: string,
  issues: readonly v.BaseIssue<unknown>[],
): RustreError {
  const first = issues[0];
  const path = first ? v.getDotPath(first) : null;
  const where = path ? ` at "${path}"` : "";
  return new RustreError(
    "BAD_REQUEST",
    `Cannot handle ${name}: ${first?.message ?? "the body is malformed"}${where}`,
  );
}

/** Refuses a caller that looks for another server than this one. */
function checkHello(hello: HelloRequest, identity: ServerIdentity): void {
  if (hello.protocol !== protocolVersion) {
    throw new RustreError(
      "WRONG_VERSION",
      `This server speaks protocol ${protocolVersion}, the caller ${hello.protocol}`,
    );
  }
  if (hello.clusterId !== "" && hello.clusterId !== identity.clusterId) {
    throw new RustreError(
      "WRONG_CLUSTER",
      `This ${identity.role} is of cluster "${identity.clusterName}" (${identity.clusterId}), ` +
        `the caller of cluster ${hello.clusterId}`,
    );
  }
  if (hello.wants !== identity.role) {
    throw new RustreError("WRONG_ROLE", `This is an ${identity.role}, not an ${hello.wants}`);
  }
  if (hello.targetIndex !== undefined && hello.targetIndex !== identity.targetIndex) {
    throw new RustreError(
      "WRONG_TARGET",
      `This oss serves OST ${identity.targetIndex}, not OST ${hello.targetIndex}`,
    );
  }
}
