// One connection to a server: checks the hello, validates and dispatches requests, bounds what is
// under way, answers. server.ts accepts these.

import { bufferPool } from "../buffer_pool.ts";
import type { Connection, Environment, Payload } from "../environment.ts";
import { isRustreError, messageOf, RustreError } from "../errors.ts";
import { limits } from "../limits.ts";
import type { Logger } from "../logging.ts";
import type { ServerRole } from "../model.ts";
import { Semaphore } from "../semaphore.ts";
import { type Frame, frameKind } from "./frame.ts";
import { FrameReader, type PayloadRoom } from "./frame_reader.ts";
import { FrameWriter } from "./frame_writer.ts";
import { type HelloReply, type HelloRequest, protocolVersion } from "./hello.ts";
import { checkedHello, checkedRequest } from "./request_checks.ts";
import type { Call, Download, Method } from "./service.ts";
import { UnreadTime } from "./unread_time.ts";

export interface ServerIdentity {
  readonly role: ServerRole;
  readonly clusterId: string;
  readonly clusterName: string;
  readonly nodeId: string;
  /** Of an oss. */
  readonly targetIndex?: number;
  /** Of an oss with several workers; see the hello's reply. */
  readonly workerPorts?: () => number[];
}

export type AnyHandler = (request: unknown, call: Call) => Promise<unknown>;

export interface Route {
  readonly name: string;
  readonly method: Method;
  readonly handler: AnyHandler;
}

export interface ConnectionOptions {
  readonly environment: Environment;
  readonly identity: ServerIdentity;
  readonly log: Logger;
  readonly routes: ReadonlyMap<number, Route>;
  /** Payload bytes that the server holds for all its connections. */
  readonly payloadRooms: { readonly clients: Semaphore; readonly servers: Semaphore };
  /** A caller has said hello, and is about to be answered. */
  readonly onHello: (hello: HelloRequest, connection: ServerConnection) => void;
}

export class ServerConnection {
  readonly #connection: Connection;
  readonly #options: ConnectionOptions;
  readonly #reader: FrameReader;
  readonly #writer: FrameWriter;
  readonly #requestRoom = new Semaphore(limits.requestsPerConnectionMax);
  /** Fires when the connection ends: nobody waits for room on its behalf any more. */
  readonly #ended = new AbortController();
  readonly #unread: UnreadTime;
  #payloadRoom: PayloadRoom;
  #underWay = 0;
  #draining = false;
  #onIdle: (() => void) | undefined;
  #activeMs: number;

  constructor(connection: Connection, options: ConnectionOptions) {
    const { clock } = options.environment;
    this.#connection = connection;
    this.#options = options;
    this.#activeMs = clock.monotonicMs();
    this.#payloadRoom = this.#roomWithin(options.payloadRooms.clients);
    this.#writer = new FrameWriter(connection, { clock, bodyBytesMax: limits.replyBodyBytesMax });
    this.#reader = new FrameReader(connection, {
      clock,
      bodyBytesMax: limits.requestBodyBytesMax,
      payloadBytesMax: 0,
    });
    this.#reader.receiveInto(({ payloadBytes }) => bufferPool.take(payloadBytes));
    this.#unread = new UnreadTime(clock, () => this.#reader.timesEmptied);
  }

  get remote(): string {
    return this.#connection.remote;
  }

  /** Whether nothing is under way, no reply either. */
  get isIdle(): boolean {
    return this.#underWay === 0 && this.#writer.isIdle;
  }

  /** When something last arrived, on the monotonic clock. */
  get activeMs(): number {
    return this.#activeMs;
  }

  /** Serves requests until the connection ends. */
  async run(): Promise<void> {
    try {
      if (await this.#hello()) await this.#serveRequests();
    } catch (error) {
      this.#endAfter(error);
    } finally {
      await this.#end();
    }
  }

  /** Refuses new requests and resolves when those under way are answered. */
  async drain(): Promise<void> {
    this.#draining = true;
    if (this.#underWay > 0) await new Promise<void>((resolve) => this.#onIdle = resolve);
    await this.#writer.flushed();
  }

  close(): void {
    this.#ended.abort(new RustreError("CONNECTION_LOST", "The connection has ended"));
    this.#reader.close();
    this.#writer.close();
  }

  // ── requests ─────────────────────────────────────────────────────────────────────────────────

  async #serveRequests(): Promise<void> {
    for (;;) {
      if (!this.#requestRoom.tryAcquire()) await this.#unread.during(this.#requestRoom.acquire());
      if (this.#writer.isCrowded) await this.#unread.during(this.#writer.room());
      // What arrived together is dispatched together, so that the answers leave together.
      const frame = this.#reader.buffered() ?? await this.#nextFrame();
      if (frame === null) return;
      if (this.#ended.signal.aborted) return this.#drop(frame);
      if (frame.kind !== frameKind.request) {
        this.#releasePayload(frame.payloadBytes);
        throw new RustreError("BAD_FRAME", "Cannot serve a frame that is not a request");
      }
      this.#underWay++;
      this.#handle(frame);
    }
  }

  /** It has come too late: its caller may have sent it again elsewhere. */
  #drop({ payload, payloadBytes }: Frame): void {
    bufferPool.give(payload);
    this.#releasePayload(payloadBytes);
  }

  async #nextFrame(): Promise<Frame | null> {
    this.#unread.noteDone();
    const frame = await this.#reader.next();
    this.#activeMs = this.#options.environment.clock.monotonicMs();
    return frame;
  }

  /** Never rejects. */
  async #handle(frame: Frame): Promise<void> {
    try {
      const route = this.#routeOf(frame);
      const request = checkedRequest(route, frame.body);
      const { payload } = frame;
      const call = { remote: this.#connection.remote, payload, unreadMs: this.#unread.ms };
      const { replyPayloadBytes } = route.method;
      if (replyPayloadBytes) {
        await this.#sendDownload(frame, route, replyPayloadBytes(request), request, call);
      } else {
        this.#sendReply(frame, route, await route.handler(request, call));
      }
    } catch (error) {
      this.#sendError(frame, error);
    } finally {
      bufferPool.give(frame.payload);
      this.#releasePayload(frame.payloadBytes);
      this.#requestRoom.release();
      this.#underWay--;
      if (this.#underWay === 0) this.#onIdle?.();
    }
  }

  #routeOf(frame: Frame): Route {
    const { routes, identity } = this.#options;
    const route = routes.get(frame.opcode);
    if (!route) {
      const message = `Cannot handle operation ${frame.opcode}: this ${identity.role} has none`;
      throw new RustreError("UNKNOWN_OPERATION", message);
    }
    if (this.#draining) {
      throw new RustreError("SHUTTING_DOWN", `Cannot handle ${route.name}: the server is stopping`);
    }
    if (frame.payloadBytes > 0 && route.method.payload !== "request") {
      throw new RustreError("BAD_REQUEST", `Cannot handle ${route.name}: it takes no payload`);
    }
    return route;
  }

  /**
   * Room for the bytes is made before they are read, and kept until they have left. Of a file no
   * more is ever in memory than what is copied of it at once; the room for that bounds how many
   * files wait to be sent.
   */
  async #sendDownload(
    frame: Frame,
    route: Route,
    payloadBytes: number,
    request: unknown,
    call: Call,
  ): Promise<void> {
    const room = this.#payloadRoom;
    if (!room.tryAcquire(payloadBytes)) await room.acquire(payloadBytes);
    let heldBytes = payloadBytes;
    let release: (() => void) | undefined;
    const onGone = () => {
      room.release(heldBytes);
      release?.();
    };
    try {
      const answer = await route.handler(request, call) as Download;
      release = answer.release;
      if (!(answer.payload instanceof Uint8Array)) {
        heldBytes = Math.min(payloadBytes, limits.fileCopyBytes);
        room.release(payloadBytes - heldBytes);
      }
      this.#sendReply(frame, route, answer.reply, answer.payload, onGone);
    } catch (error) {
      onGone();
      throw error;
    }
  }

  #sendReply(
    { opcode, requestId }: Frame,
    { name }: Route,
    reply: unknown,
    payload?: Payload,
    onWritten?: () => void,
  ): void {
    const header = { kind: frameKind.reply, opcode, requestId };
    try {
      this.#writer.send(header, reply, payload, onWritten);
    } catch (error) {
      // A file that cannot be read is not a bug as a reply over the limit is.
      if (isRustreError(error) && error.code !== "BAD_REQUEST") throw error;
      throw new Error(`The reply of ${name} cannot be sent: ${messageOf(error)}`, { cause: error });
    }
  }

  #sendError({ opcode, requestId }: Pick<Frame, "opcode" | "requestId">, error: unknown): void {
    const known = error instanceof RustreError
      ? error
      : new RustreError("INTERNAL", `The server has a bug: ${messageOf(error)}`);
    if (known.code === "INTERNAL") {
      this.#options.log.error("A request met a bug", { opcode, error });
    }
    const body = {
      code: known.number,
      message: known.message.slice(0, errorLengthMax).toWellFormed(),
    };
    this.#writer.send({ kind: frameKind.error, opcode, requestId }, body);
  }

  // ── begin and end ────────────────────────────────────────────────────────────────────────────

  async #hello(): Promise<boolean> {
    const { environment: { clock }, log } = this.#options;
    const cancel = clock.setTimer(() => this.close(), limits.helloTimeoutMs);
    let frame: Frame | null;
    try {
      frame = await this.#nextFrame();
    } finally {
      cancel();
    }
    if (frame === null) return false;
    const { opcode, requestId } = frame;
    try {
      const hello = checkedHello(frame, this.#options.identity);
      this.#admit(hello.caller);
      this.#options.onHello(hello, this);
      this.#writer.send({ kind: frameKind.reply, opcode, requestId }, this.#helloReply());
      return true;
    } catch (error) {
      log.info("Refused a connection", {
        remote: this.#connection.remote,
        reason: messageOf(error),
      });
      this.#sendError(frame, error);
      return false;
    }
  }

  #admit(caller: HelloRequest["caller"]): void {
    const { clients, servers } = this.#options.payloadRooms;
    this.#payloadRoom = this.#roomWithin(caller === "client" ? clients : servers);
    const room = this.#payloadRoom;
    this.#reader.allowPayload(limits.framePayloadBytesMax, {
      tryAcquire: (bytes) => room.tryAcquire(bytes),
      acquire: (bytes) => this.#unread.during(room.acquire(bytes)),
      release: (bytes) => room.release(bytes),
    });
  }

  #roomWithin(whole: Semaphore): PayloadRoom {
    return new ConnectionPayloadRoom(whole, this.#ended.signal);
  }

  #helloReply(): HelloReply {
    const { role, clusterId, clusterName, nodeId, targetIndex, workerPorts } =
      this.#options.identity;
    return {
      ...{ protocol: protocolVersion, clusterId, clusterName, role, nodeId },
      ...(targetIndex === undefined ? {} : { targetIndex }),
      ...(workerPorts ? { workers: workerPorts() } : {}),
    };
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

  async #end(): Promise<void> {
    // A peer that does not read does not keep the connection for ever.
    const { clock } = this.#options.environment;
    const cancel = clock.setTimer(() => this.close(), limits.frameTimeoutMs);
    await this.#writer.flushed();
    cancel();
    this.close();
  }

  #releasePayload(bytes: number): void {
    if (bytes > 0) this.#payloadRoom.release(bytes);
  }
}

/** In an error reply, in UTF-16 units; messages quote what was asked. */
const errorLengthMax = 4096;

/** Payload of one connection, within what the server has for all of them. */
class ConnectionPayloadRoom implements PayloadRoom {
  readonly #own = new Semaphore(limits.payloadBytesPerConnectionMax);
  readonly #whole: Semaphore;
  readonly #signal: AbortSignal;

  constructor(whole: Semaphore, signal: AbortSignal) {
    this.#whole = whole;
    this.#signal = signal;
  }

  tryAcquire(bytes: number): boolean {
    if (!this.#own.tryAcquire(bytes)) return false;
    if (this.#whole.tryAcquire(bytes)) return true;
    this.#own.release(bytes);
    return false;
  }

  async acquire(bytes: number): Promise<void> {
    await this.#own.acquire(bytes, this.#signal);
    try {
      await this.#whole.acquire(bytes, this.#signal);
    } catch (error) {
      this.#own.release(bytes);
      throw error;
    }
  }

  release(bytes: number): void {
    this.#own.release(bytes);
    this.#whole.release(bytes);
  }
}
