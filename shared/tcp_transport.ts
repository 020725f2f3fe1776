// TCP, the real network. Its connections send files without copying them where the platform can; a
// trial between two ends in this process decides that once.

import { setImmediate } from "node:timers";
import { closeSync, openSync } from "node:fs";
import { formatAddress } from "./address.ts";
import { bufferPool } from "./buffer_pool.ts";
import { descriptorOf } from "./connection_descriptor.ts";
import type { Address, Clock, Connection, FileRange, Listener, Transport } from "./environment.ts";
import { type ErrorCode, messageOf, RustreError } from "./errors.ts";
import { fileOfDescriptor, readRange, readStart, restOf } from "./file_ranges.ts";
import { sendFile, setReceiveLowWater } from "./libc.ts";
import { limits } from "./limits.ts";
import { loggerOf } from "./logging.ts";
import type { DataPath } from "./model.ts";

export const dataPathChoices = ["auto", "streaming"] as const;
/** "auto": without copies where the platform can. */
export type DataPathChoice = (typeof dataPathChoices)[number];

export interface TcpTransportOptions {
  readonly dataPath: DataPathChoice;
}

/** Finds out whether files can be sent without copying them. */
type ZeroCopyTrial = () => Promise<boolean>;

export class TcpTransport implements Transport {
  /** Absent where it is not wanted. */
  readonly #tryZeroCopy: ZeroCopyTrial | undefined;

  constructor(clock: Clock, { dataPath }: TcpTransportOptions) {
    if (dataPath === "auto") this.#tryZeroCopy = () => trial ??= tryZeroCopy(clock);
  }

  listen(address: Address, { shared = false } = {}): Promise<Listener> {
    return Promise.resolve().then(() =>
      new TcpListener(listenTcp(address, shared), this.#tryZeroCopy)
    );
  }

  async connect(address: Address, { signal }: { signal: AbortSignal }): Promise<Connection> {
    return new TcpConnection(await connectTcp(address, signal), this.#tryZeroCopy);
  }

  async dataPath(): Promise<DataPath> {
    return await this.#tryZeroCopy?.() ? "zero-copy" : "streaming";
  }
}

function listenTcp(address: Address, shared: boolean): Deno.TcpListener {
  try {
    return Deno.listen({ hostname: address.host, port: address.port, reusePort: shared });
  } catch (error) {
    // That the host has no such address, or cannot look the name up, may be over in a moment, as
    // after it was started: no error of the configuration.
    const code: ErrorCode = error instanceof Deno.errors.AddrInUse
      ? "EBUSY"
      : error instanceof Deno.errors.PermissionDenied
      ? "EACCES"
      : "EIO";
    const message = `Cannot listen on "${formatAddress(address)}": ${reasonOf(error)}`;
    throw new RustreError(code, message, { cause: error });
  }
}

export async function connectTcp(address: Address, signal: AbortSignal): Promise<Deno.TcpConn> {
  try {
    const options = { hostname: address.host, port: address.port, signal };
    const connection = withOptions(await Deno.connect(options));
    if (!signal.aborted) return connection;
    connection.close();
    throw signal.reason;
  } catch (error) {
    const message = `Cannot connect to "${formatAddress(address)}": ${reasonOf(error)}`;
    throw new RustreError("UNREACHABLE", message, { cause: error });
  }
}

/**
 * A frame goes out when it is written, not when the last one is acknowledged. A peer that vanished
 * while nothing was to be said shows after hours at least.
 */
function withOptions(connection: Deno.TcpConn): Deno.TcpConn {
  try {
    connection.setNoDelay(true);
    connection.setKeepAlive(true);
    return connection;
  } catch (error) {
    // The peer has gone already.
    connection.close();
    throw error;
  }
}

class TcpListener implements Listener {
  readonly address: Address;
  readonly #listener: Deno.TcpListener;
  readonly #tryZeroCopy: ZeroCopyTrial | undefined;
  readonly #log = loggerOf("net");
  #closed = false;

  constructor(
    listener: Deno.TcpListener,
    tryZeroCopy: ZeroCopyTrial | undefined,
  ) {
    this.#listener = listener;
    this.#tryZeroCopy = tryZeroCopy;
    this.address = { host: listener.addr.hostname, port: listener.addr.port };
  }

  /** Errors of one accept, such as too many open files, do not end the listener: they pass. */
  async accept(): Promise<Connection | null> {
    for (let failures = 0; !this.#closed; failures++) {
      try {
        const connection = withOptions(await this.#listener.accept());
        if (failures > 0) this.#log.info("Accepting connections again");
        return new TcpConnection(connection, this.#tryZeroCopy);
      } catch (error) {
        if (this.#closed) break;
        if (failures === 0) {
          const fields = { address: formatAddress(this.address), reason: reasonOf(error) };
          this.#log.error("Cannot accept connections, trying on", fields);
        }
        await new Promise((resolve) => setTimeout(resolve, limits.acceptPauseMs));
      }
    }
    return null;
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#listener.close();
  }
}

class TcpConnection implements Connection {
  readonly remote: string;
  readonly sendFile?: (range: FileRange) => Promise<number>;
  readonly #connection: Deno.TcpConn;
  /** Looked for when the first file is sent; `null` where files have to be copied. */
  #descriptor: number | null | undefined;
  /** Looked for when the first large payload comes; `null` where it was not found. */
  #receiving: number | null | undefined;
  #expectedBytes = 1;
  /** Sent in this turn of the event loop, about. */
  #turnBytes = 0;
  #closed = false;

  constructor(
    connection: Deno.TcpConn,
    tryZeroCopy: ZeroCopyTrial | undefined,
  ) {
    this.#connection = connection;
    const { hostname, port } = connection.remoteAddr;
    this.remote = formatAddress({ host: hostname, port });
    if (tryZeroCopy) this.sendFile = (range) => this.#sendFile(range, tryZeroCopy);
  }

  /** Each write may wake the peer, which then takes the processor from whoever has more to write. */
  gather(): Promise<void> {
    return nextTurn();
  }

  async read(buffer: Uint8Array): Promise<number | null> {
    try {
      return await this.#connection.read(buffer);
    } catch (error) {
      throw this.#lost(error);
    }
  }

  expect(bytes: number): void {
    const expectedBytes = Math.min(bytes, limits.receiveAtLeastBytes);
    if (this.#closed || expectedBytes === this.#expectedBytes) return;
    if (this.#receiving === undefined) this.#receiving = descriptorOf(this.#connection) ?? null;
    if (this.#receiving === null) return;
    setReceiveLowWater(this.#receiving, expectedBytes);
    this.#expectedBytes = expectedBytes;
  }

  async write(data: Uint8Array): Promise<void> {
    try {
      let written = await this.#connection.write(data);
      while (written < data.length) {
        written += await this.#connection.write(data.subarray(written));
      }
    } catch (error) {
      throw this.#lost(error);
    }
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#connection.close();
  }

  async #sendFile(range: FileRange, tryZeroCopy: ZeroCopyTrial): Promise<number> {
    if (this.#descriptor === undefined) await this.#findDescriptor(tryZeroCopy);
    let sent = 0;
    while (sent < range.lengthBytes) {
      const rest = restOf(range, sent);
      const count = this.#sendWithoutCopy(rest) ?? await this.#sendCopy(rest);
      if (count === 0) break;
      sent += count;
      await this.#letOthersRun(count);
    }
    return sent;
  }

  async #findDescriptor(tryZeroCopy: ZeroCopyTrial): Promise<void> {
    const works = await tryZeroCopy();
    const found = works && !this.#closed ? descriptorOf(this.#connection) : undefined;
    this.#descriptor = found ?? null;
  }

  /**
   * `undefined` where the socket is full or the file cannot be sent so. Between the check and the
   * call nothing else runs on this thread, which is the only one that closes this connection: the
   * descriptor is its own.
   */
  #sendWithoutCopy({ file, offsetBytes, lengthBytes }: FileRange): number | undefined {
    if (this.#closed) throw this.#lost(undefined);
    if (typeof this.#descriptor !== "number" || file.descriptor === undefined) return undefined;
    const turnBytes = Math.min(lengthBytes, limits.fileTurnBytes);
    return sendFile(this.#descriptor, file.descriptor, offsetBytes, turnBytes);
  }

  /**
   * Sends a little by way of this process. That waits until a full socket has room, without a
   * thread, and ends with close(); and it says why where nothing can be sent at all.
   */
  async #sendCopy(range: FileRange): Promise<number> {
    const buffer = bufferPool.take(Math.min(range.lengthBytes, limits.fileCopyBytes));
    const count = readStart(range, buffer);
    if (count > 0) await this.write(buffer.subarray(0, count));
    // Not after a failure: who knows whether the platform is done with it.
    bufferPool.give(buffer);
    return count;
  }

  /** A peer that takes all at once would otherwise keep this thread for as long as there is more. */
  async #letOthersRun(sentBytes: number): Promise<void> {
    this.#turnBytes += sentBytes;
    if (this.#turnBytes < limits.fileTurnBytes) return;
    this.#turnBytes = 0;
    await nextTurn();
  }

  #lost(error: unknown): RustreError {
    const reason = this.#closed ? "closed by this side" : reasonOf(error);
    const message = `Lost the connection to "${this.remote}": ${reason}`;
    return new RustreError("CONNECTION_LOST", message, { cause: error });
  }
}

/** Of the event loop. */
function nextTurn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

/** "Connection refused", without the name of the class or the number that Deno adds. */
function reasonOf(error: unknown): string {
  return messageOf(error).replace(/ \(os error \d+\)$/, "");
}

// ── the trial ──────────────────────────────────────────────────────────────────────────────────

const trialBytes = 4096;
/** Its result, of this thread. */
let trial: Promise<boolean> | undefined;

/** Whether both ends of a connection of this process take a file, and it arrives as it is. */
async function tryZeroCopy(clock: Clock): Promise<boolean> {
  const stop = new AbortController();
  const cancel = clock.setTimer(() => stop.abort(), limits.dataPathCheckMs);
  try {
    await sendOverLoopback(stop.signal);
    return true;
  } catch (error) {
    const fields = { reason: messageOf(error) };
    loggerOf("net").info("Files are copied on their way to the network", fields);
    return false;
  } finally {
    cancel();
  }
}

async function sendOverLoopback(signal: AbortSignal): Promise<void> {
  using opened = new DisposableStack();
  signal.addEventListener("abort", () => opened.dispose(), { once: true });
  const listener = listenTcp({ host: "127.0.0.1", port: 0 }, false);
  opened.defer(() => listener.close());
  const { hostname: host, port } = listener.addr;
  const ends = await Promise.all([listener.accept(), connectTcp({ host, port }, signal)]);
  for (const each of ends) opened.defer(() => each.close());
  // A file that is there wherever this runs.
  const descriptor = openSync(Deno.execPath(), "r");
  opened.defer(() => closeSync(descriptor));
  const [accepted, connected] = ends;
  await sendBetween(accepted, connected, descriptor);
  await sendBetween(connected, accepted, descriptor);
}

async function sendBetween(from: Deno.TcpConn, to: Deno.TcpConn, file: number): Promise<void> {
  const range = { file: fileOfDescriptor(file), offsetBytes: 1, lengthBytes: trialBytes };
  const socket = descriptorOf(from);
  if (socket === undefined) throw new Error("the descriptor of a connection was not found");
  const sent = sendFile(socket, file, range.offsetBytes, trialBytes);
  if (sent !== trialBytes) throw new Error("a file was not sent");
  const expected = new Uint8Array(trialBytes);
  readRange(range, expected);
  const received = new Uint8Array(trialBytes);
  for (let count = 0; count < trialBytes;) {
    const read = await to.read(received.subarray(count));
    if (read === null) throw new Error("the connection ended");
    count += read;
  }
  if (expected.some((byte, index) => byte !== received[index])) {
    throw new Error("a file arrived as something else");
  }
}
