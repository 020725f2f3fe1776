// One connection of a client to a server: hello, calls matched to replies by request id, deadlines.
// server_pool.ts keeps these.

import * as v from "valibot";
import { formatAddress } from "../address.ts";
import { interrupted, withDeadline } from "../deadline.ts";
import type { Address, Environment, GatheredPayload } from "../environment.ts";
import { codeOfNumber, isRustreError, messageOf, RustreError } from "../errors.ts";
import { limits } from "../limits.ts";
import { type Frame, type FrameHeader, frameKind } from "./frame.ts";
import { FrameReader } from "./frame_reader.ts";
import { FrameWriter } from "./frame_writer.ts";
import {
  errorReplySchema,
  helloOpcode,
  type HelloReply,
  helloReplySchema,
  type HelloRequest,
  protocolVersion,
} from "./hello.ts";
import { PendingCalls } from "./pending_calls.ts";
import type { Method } from "./service.ts";

/** A call as its caller made it. */
export interface OutgoingCall {
  readonly name: string;
  readonly method: Method;
  readonly request: unknown;
  readonly payload: GatheredPayload | undefined;
  readonly signal: AbortSignal | undefined;
  /** On the monotonic clock. */
  readonly deadlineMs: number;
  /** Whether the caller wants the reply's payload too. */
  readonly download: boolean;
  /** What that is received into; absent for a buffer of its own. */
  readonly into?: Uint8Array | undefined;
}

/** A call that waits for its reply. */
interface PendingCall {
  requestId: number;
  readonly call: OutgoingCall;
  readonly resolve: (reply: unknown) => void;
  readonly reject: (error: unknown) => void;
  readonly onSettled: () => void;
  onAbort: (() => void) | undefined;
  /** Whether the transport still needs the caller's payload. */
  isSending: boolean;
  /** Whether the reply's payload is arriving in the caller's buffer. */
  isReceiving: boolean;
}

export interface OpenOptions {
  readonly address: Address;
  readonly hello: Omit<HelloRequest, "protocol">;
}

export class ClientConnection {
  /** What the server said of itself. */
  readonly peer: HelloReply;
  readonly #environment: Environment;
  readonly #reader: FrameReader;
  readonly #writer: FrameWriter;
  readonly #where: string;
  readonly #pending = new PendingCalls<PendingCall>();
  /** A caller has left before its reply came. */
  #wasAbandoned = false;
  #isInDoubt = false;
  /** Since when calls have been waiting and nothing came, on the monotonic clock. */
  #silentSinceMs: number | undefined;
  #cancelSweep: (() => void) | undefined;
  #closedBecause: string | undefined;
  #onClosed: () => void = () => {};

  /** Connects and says hello, within limits.connectTimeoutMs and until `signal` fires. */
  static async open(
    environment: Environment,
    options: OpenOptions,
    signal: AbortSignal,
  ): Promise<ClientConnection> {
    const where = formatAddress(options.address);
    const open = (stop: AbortSignal) => openBefore(environment, options, where, stop);
    try {
      const parts = await withDeadline(environment.clock, limits.connectTimeoutMs, open, signal);
      return new ClientConnection(environment, where, parts);
    } catch (error) {
      if (signal.aborted) throw interrupted(signal);
      // Nothing but a hello was sent, so nothing was carried out.
      if (isRustreError(error, "TIMED_OUT")) throw unreachable(where, "it does not answer");
      if (isRustreError(error, "CONNECTION_LOST")) throw unreachable(where, error.message);
      throw error;
    }
  }

  private constructor(environment: Environment, where: string, parts: ConnectionParts) {
    this.#environment = environment;
    this.#where = where;
    this.#reader = parts.reader;
    this.#writer = parts.writer;
    this.peer = parts.peer;
    this.#reader.receiveInto((header) => this.#bufferFor(header));
    this.#receive();
  }

  /** Calls that wait for their reply. */
  get callCount(): number {
    return this.#pending.size;
  }

  /**
   * Of a connection that is closed: whether a request may be on its way there still, of which nobody
   * knows whether it is carried out.
   */
  get isInDoubt(): boolean {
    return this.#isInDoubt;
  }

  /** Calls `callback` when the connection is closed, at once if it is already. */
  onClosed(callback: () => void): void {
    if (this.#closedBecause !== undefined) callback();
    else this.#onClosed = callback;
  }

  /** `onSettled` is called once, before the promise settles. */
  call(call: OutgoingCall, onSettled: () => void): Promise<unknown> {
    return new Promise((resolve, reject) => {
      const pending: PendingCall = {
        requestId: 0,
        call,
        resolve,
        reject,
        onSettled,
        onAbort: undefined,
        isSending: false,
        isReceiving: false,
      };
      try {
        this.#start(pending);
      } catch (error) {
        onSettled();
        reject(error);
      }
    });
  }

  /** Calls under way fail with CONNECTION_LOST. Idempotent. */
  close(because = "this side closed it"): void {
    if (this.#closedBecause !== undefined) return;
    this.#closedBecause = because;
    this.#isInDoubt = this.#wasAbandoned || this.#pending.size > 0;
    this.#reader.close();
    this.#writer.close();
    this.#cancelSweep?.();
    this.#onClosed();
    for (const { requestId } of this.#pending) {
      const pending = this.#take(requestId);
      if (!pending) continue;
      const name = this.#nameOf(pending.call);
      const message = `Cannot finish ${name}: the connection was lost, ${because}`;
      pending.reject(new RustreError("CONNECTION_LOST", message));
    }
  }

  #start(pending: PendingCall): void {
    const { call } = pending;
    const { signal, payload } = call;
    if (this.#closedBecause !== undefined) {
      const message = `Cannot call ${this.#nameOf(call)}: ${this.#closedBecause}`;
      throw new RustreError("UNREACHABLE", message);
    }
    if (signal?.aborted) throw interrupted(signal, this.#nameOf(call));
    this.#pending.add(pending);
    const { requestId } = pending;
    const header = { kind: frameKind.request, opcode: call.method.opcode, requestId };
    try {
      if (payload) pending.isSending = true;
      const onWritten = payload && (() => pending.isSending = false);
      this.#writer.send(header, call.request, payload, onWritten);
    } catch (error) {
      this.#pending.take(requestId);
      throw error;
    }
    if (signal) {
      pending.onAbort = () => this.#abandon(requestId, interrupted(signal, this.#nameOf(call)));
      signal.addEventListener("abort", pending.onAbort, { once: true });
    }
    if (!this.#cancelSweep) this.#scheduleSweep();
  }

  async #receive(): Promise<void> {
    try {
      for (;;) {
        const frame = this.#reader.buffered() ?? await this.#reader.next();
        if (frame === null) return this.close("the server closed it");
        this.#silentSinceMs = undefined;
        this.#settle(frame);
      }
    } catch (error) {
      this.close(messageOf(error));
    }
  }

  /** The caller's buffer where it gave one. What of it arrives after it has left is not its any more. */
  #bufferFor({ requestId, kind, payloadBytes }: FrameHeader): Uint8Array {
    const pending = this.#pending.get(requestId);
    const into = kind === frameKind.reply ? pending?.call.into : undefined;
    if (!pending || !into) return new Uint8Array(payloadBytes);
    if (payloadBytes > into.length) {
      const message = `Cannot read the reply to ${this.#nameOf(pending.call)}: it has ` +
        `${payloadBytes} bytes, at most ${into.length} were asked for`;
      const error = new RustreError("BAD_FRAME", message);
      this.#take(requestId)?.reject(error);
      throw error;
    }
    pending.isReceiving = true;
    return into.subarray(0, payloadBytes);
  }

  #settle(frame: Frame): void {
    const pending = this.#take(frame.requestId);
    if (!pending) {
      // A call that timed out or was interrupted has left; its late reply means nothing. The server
      // says why it hangs up with an error that answers no request.
      const isFarewell = frame.kind === frameKind.error && frame.requestId === 0;
      return isFarewell ? this.close(errorOf(frame, "anything").message) : undefined;
    }
    const { call } = pending;
    if (frame.kind !== frameKind.reply) return pending.reject(errorOf(frame, this.#nameOf(call)));
    // A server is not trusted to speak the protocol either.
    const parsed = v.safeParse(call.method.reply, frame.body, firstIssueOnly);
    if (!parsed.success) return pending.reject(badReply(this.#nameOf(call), parsed.issues[0]));
    const reply = parsed.output;
    pending.resolve(call.download ? { reply, payload: frame.payload } : reply);
  }

  /** The caller leaves before the reply is there. */
  #abandon(requestId: number, error: RustreError): void {
    const pending = this.#take(requestId);
    if (!pending) return;
    this.#wasAbandoned = true;
    // The caller may now change its payload, and another's bytes must not be sent as this one's.
    if (pending.isSending) this.close("a call ended while its payload was being sent");
    // It may also use its buffer for something else.
    if (pending.isReceiving) this.close("a call ended while its reply was being received");
    pending.reject(error);
  }

  #take(requestId: number): PendingCall | undefined {
    const pending = this.#pending.take(requestId);
    if (!pending) return undefined;
    if (pending.onAbort) pending.call.signal?.removeEventListener("abort", pending.onAbort);
    pending.onSettled();
    return pending;
  }

  /** One timer for all calls: a timer each would cost as much as the call. */
  #scheduleSweep(): void {
    const { clock } = this.#environment;
    this.#silentSinceMs ??= clock.monotonicMs();
    this.#cancelSweep = clock.setTimer(() => {
      this.#cancelSweep = undefined;
      this.#sweep();
      if (this.#pending.size > 0) this.#scheduleSweep();
    }, limits.callSweepMs);
  }

  #sweep(): void {
    const nowMs = this.#environment.clock.monotonicMs();
    let timedOut = false;
    for (const { requestId, call } of this.#pending) {
      if (call.deadlineMs > nowMs) continue;
      timedOut = true;
      const message = `No answer in time to ${this.#nameOf(call)}`;
      this.#abandon(requestId, new RustreError("TIMED_OUT", message));
    }
    // The peer is gone or hangs, and a new connection tells.
    const silentMs = nowMs - (this.#silentSinceMs ?? nowMs);
    if (timedOut && silentMs >= limits.silenceMs) this.close("the server does not answer");
  }

  #nameOf(call: OutgoingCall): string {
    return `${call.name} at ${this.peer.role} ${this.#where}`;
  }
}

interface ConnectionParts {
  readonly reader: FrameReader;
  readonly writer: FrameWriter;
  readonly peer: HelloReply;
}

/** A connection on which hello has been said, before `stop` fires. */
async function openBefore(
  { clock, transport }: Environment,
  { address, hello }: OpenOptions,
  where: string,
  stop: AbortSignal,
): Promise<ConnectionParts> {
  const connection = await transport.connect(address, { signal: stop });
  const reader = new FrameReader(connection, {
    clock,
    bodyBytesMax: limits.replyBodyBytesMax,
    payloadBytesMax: limits.framePayloadBytesMax,
  });
  const writer = new FrameWriter(connection, { clock, bodyBytesMax: limits.requestBodyBytesMax });
  const close = () => {
    reader.close();
    writer.close();
  };
  stop.addEventListener("abort", close, { once: true });
  try {
    if (stop.aborted) throw interrupted(stop);
    return { reader, writer, peer: await sayHello(reader, writer, hello, where) };
  } catch (error) {
    close();
    throw stop.aborted ? interrupted(stop) : error;
  } finally {
    stop.removeEventListener("abort", close);
  }
}

async function sayHello(
  reader: FrameReader,
  writer: FrameWriter,
  hello: OpenOptions["hello"],
  where: string,
): Promise<HelloReply> {
  const body = { protocol: protocolVersion, ...hello };
  writer.send({ kind: frameKind.request, opcode: helloOpcode, requestId: 0 }, body);
  const frame = await nextFrame(reader, where);
  if (frame === null) throw unreachable(where, "it closed the connection");
  if (frame.kind === frameKind.error) {
    // What it says of itself does not say which one it is.
    const { code, message } = errorOf(frame, "its hello");
    throw new RustreError(code, `Cannot talk to ${where}: ${message}`);
  }
  const parsed = v.safeParse(helloReplySchema, frame.body);
  if (!parsed.success || frame.opcode !== helloOpcode) {
    throw new RustreError("BAD_FRAME", `Cannot talk to ${where}: its hello is malformed`);
  }
  return parsed.output;
}

/** Whoever listens there may be no server of rustre at all. */
async function nextFrame(reader: FrameReader, where: string): Promise<Frame | null> {
  try {
    return await reader.next();
  } catch (error) {
    if (!isRustreError(error, "BAD_FRAME", "WRONG_VERSION")) throw error;
    const message = `Cannot talk to ${where}: it does not speak the protocol`;
    throw new RustreError(error.code, message, { cause: error });
  }
}

/** The error that a server answered with; its message is already for people. */
function errorOf(frame: Frame, what: string): RustreError {
  const parsed = v.safeParse(errorReplySchema, frame.body);
  if (!parsed.success || frame.kind !== frameKind.error) {
    return new RustreError("BAD_FRAME", `Cannot read the reply to ${what}`);
  }
  return new RustreError(codeOfNumber(parsed.output.code), parsed.output.message);
}

const firstIssueOnly = { abortEarly: true };

function badReply(what: string, issue: v.BaseIssue<unknown>): RustreError {
  const path = v.getDotPath(issue);
  const where = path ? ` at "${path}"` : "";
  return new RustreError("BAD_FRAME", `Cannot read the reply to ${what}: ${issue.message}${where}`);
}

function unreachable(where: string, reason: string): RustreError {
  return new RustreError("UNREACHABLE", `Cannot reach ${where}: ${reason}`);
}
