// One connection of a client to a server: hello, calls matched to replies by request id, deadlines.
// client.ts pools these.

import * as v from "valibot";
import { formatAddress } from "../address.ts";
import type { Address, Connection, Environment } from "../environment.ts";
import { codeOfNumber, messageOf, RustreError } from "../errors.ts";
import { limits } from "../limits.ts";
import { type Frame, frameKind, FrameReader, FrameWriter } from "./frame.ts";
import {
  errorReplySchema,
  helloOpcode,
  type HelloReply,
  helloReplySchema,
  type HelloRequest,
  protocolVersion,
} from "./protocol.ts";

/** A reply whose body nobody has checked yet. */
export interface RawReply {
  readonly reply: unknown;
  readonly payload: Uint8Array;
}

interface PendingCall {
  readonly what: string;
  readonly deadlineMs: number;
  readonly startedMs: number;
  readonly resolve: (reply: RawReply) => void;
  readonly reject: (error: unknown) => void;
  readonly cleanUp: (() => void) | undefined;
}

export interface ConnectionCallOptions {
  /** For messages: which operation, where. */
  readonly what: string;
  /** On the monotonic clock. */
  readonly deadlineMs: number;
  readonly signal?: AbortSignal | undefined;
  readonly payload?: Uint8Array | undefined;
}

export interface OpenOptions {
  readonly address: Address;
  readonly hello: Omit<HelloRequest, "protocol">;
}

export class ClientConnection {
  /** What the server said of itself. */
  readonly peer: HelloReply;
  readonly #environment: Environment;
  readonly #connection: Connection;
  readonly #reader: FrameReader;
  readonly #writer: FrameWriter;
  readonly #pending = new Map<number, PendingCall>();
  #nextRequestId = 1;
  #lastReceivedMs: number;
  #cancelSweep: (() => void) | undefined;
  #closedBecause: RustreError | undefined;
  #onClosed: () => void = () => {};

  /** Connects and says hello, within limits.connectTimeoutMs. */
  static async open(environment: Environment, options: OpenOptions): Promise<ClientConnection> {
    const timeout = new AbortController();
    const where = formatAddress(options.address);
    let connection: Connection | undefined;
    const cancel = environment.clock.setTimer(() => {
      timeout.abort();
      connection?.close();
    }, limits.connectTimeoutMs);
    try {
      connection = await environment.transport.connect(options.address, timeout);
      const reader = new FrameReader(connection, {
        clock: environment.clock,
        bodyBytesMax: limits.replyBodyBytesMax,
      });
      const writer = new FrameWriter(connection, { bodyBytesMax: limits.requestBodyBytesMax });
      const peer = await sayHello(reader, writer, options.hello, where);
      return new ClientConnection(environment, connection, { reader, writer, peer });
    } catch (error) {
      connection?.close();
      if (timeout.signal.aborted) {
        throw new RustreError("UNREACHABLE", `Cannot reach ${where}: it does not answer`);
      }
      // Nothing but a hello was sent, so nothing was carried out.
      if (error instanceof RustreError && error.code !== "CONNECTION_LOST") throw error;
      throw new RustreError("UNREACHABLE", `Cannot reach ${where}: ${messageOf(error)}`);
    } finally {
      cancel();
    }
  }

  private constructor(
    environment: Environment,
    connection: Connection,
    parts: { reader: FrameReader; writer: FrameWriter; peer: HelloReply },
  ) {
    this.#environment = environment;
    this.#connection = connection;
    this.#reader = parts.reader;
    this.#writer = parts.writer;
    this.peer = parts.peer;
    this.#lastReceivedMs = environment.clock.monotonicMs();
    this.#receive();
  }

  /** Calls `callback` when the connection is closed, at once if it is already. */
  onClosed(callback: () => void): void {
    if (this.#closedBecause) callback();
    else this.#onClosed = callback;
  }

  call(opcode: number, request: unknown, options: ConnectionCallOptions): Promise<RawReply> {
    const { what, deadlineMs, signal, payload } = options;
    if (this.#closedBecause) {
      const { message } = this.#closedBecause;
      return Promise.reject(new RustreError("UNREACHABLE", `Cannot call ${what}: ${message}`));
    }
    if (signal?.aborted) return Promise.reject(interruption(signal, what));
    const requestId = this.#nextRequestId;
    this.#nextRequestId = requestId === 0xffff_ffff ? 1 : requestId + 1;
    return new Promise((resolve, reject) => {
      this.#writer.send({ kind: frameKind.request, opcode, requestId }, request, payload);
      let cleanUp: (() => void) | undefined;
      if (signal) {
        const onAbort = () => this.#fail(requestId, interruption(signal, what));
        signal.addEventListener("abort", onAbort, { once: true });
        cleanUp = () => signal.removeEventListener("abort", onAbort);
      }
      const startedMs = this.#environment.clock.monotonicMs();
      this.#pending.set(requestId, { what, deadlineMs, startedMs, resolve, reject, cleanUp });
      this.#cancelSweep ??= this.#scheduleSweep();
    });
  }

  /** Calls under way fail with CONNECTION_LOST. Idempotent. */
  close(because = "it was closed"): void {
    if (this.#closedBecause) return;
    const message = `The connection to ${this.#connection.remote} was lost: ${because}`;
    this.#closedBecause = new RustreError("CONNECTION_LOST", message);
    this.#connection.close();
    this.#cancelSweep?.();
    for (const [requestId, { what }] of [...this.#pending]) {
      const lost = `Cannot finish ${what}: the connection was lost, ${because}`;
      this.#fail(requestId, new RustreError("CONNECTION_LOST", lost));
    }
    this.#onClosed();
  }

  async #receive(): Promise<void> {
    try {
      for (;;) {
        const frame = await this.#reader.next();
        if (frame === null) return this.close("the server closed it");
        this.#lastReceivedMs = this.#environment.clock.monotonicMs();
        this.#settle(frame);
      }
    } catch (error) {
      this.close(messageOf(error));
    }
  }

  #settle(frame: Frame): void {
    const call = this.#take(frame.requestId);
    // A call that timed out or was interrupted has left; its late reply means nothing.
    if (!call) return;
    if (frame.kind === frameKind.reply) call.resolve({ reply: frame.body, payload: frame.payload });
    else call.reject(errorOf(frame, call.what));
  }

  #fail(requestId: number, error: RustreError): void {
    this.#take(requestId)?.reject(error);
  }

  #take(requestId: number): PendingCall | undefined {
    const call = this.#pending.get(requestId);
    if (!call) return undefined;
    this.#pending.delete(requestId);
    call.cleanUp?.();
    return call;
  }

  /** One timer for all calls: a timer each would cost more than the call. */
  #scheduleSweep(): () => void {
    return this.#environment.clock.setTimer(() => {
      this.#cancelSweep = undefined;
      this.#sweep();
      if (this.#pending.size > 0 && !this.#closedBecause) {
        this.#cancelSweep ??= this.#scheduleSweep();
      }
    }, limits.callSweepMs);
  }

  #sweep(): void {
    const nowMs = this.#environment.clock.monotonicMs();
    let silent = false;
    for (const [requestId, call] of [...this.#pending]) {
      if (call.deadlineMs > nowMs) continue;
      silent ||= this.#lastReceivedMs < call.startedMs;
      this.#fail(requestId, new RustreError("TIMED_OUT", `No answer in time to ${call.what}`));
    }
    // Not a byte since the call began: the peer is gone or hangs, and a new connection tells.
    if (silent) this.close("the server does not answer");
  }
}

async function sayHello(
  reader: FrameReader,
  writer: FrameWriter,
  hello: Omit<HelloRequest, "protocol">,
  where: string,
): Promise<HelloReply> {
  const body = { protocol: protocolVersion, ...hello };
  writer.send({ kind: frameKind.request, opcode: helloOpcode, requestId: 0 }, body);
  const frame = await reader.next();
  if (frame === null) {
    throw new RustreError("UNREACHABLE", `Cannot reach ${where}: it closed the connection`);
  }
  if (frame.kind === frameKind.error) throw errorOf(frame, `hello at ${where}`);
  const parsed = v.safeParse(helloReplySchema, frame.body);
  if (!parsed.success) {
    throw new RustreError("BAD_FRAME", `The server at ${where} does not speak the protocol`);
  }
  return parsed.output;
}

/** The error that a server answered with; its message is already for people. */
function errorOf(frame: Frame, what: string): RustreError {
  const parsed = v.safeParse(errorReplySchema, frame.body);
  if (!parsed.success || frame.kind !== frameKind.error) {
    return new RustreError("BAD_FRAME", `Cannot read the reply to ${what}`);
  }
  return new RustreError(codeOfNumber(parsed.output.code), parsed.output.message);
}

function interruption(signal: AbortSignal, what: string): RustreError {
  if (signal.reason instanceof RustreError) return signal.reason;
  return new RustreError("INTERRUPTED", `Interrupted ${what}`, { cause: signal.reason });
}
