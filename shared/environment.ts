// The seam between rustre and the world: time, chance and the network. Everything that is not
// deterministic comes in through these interfaces, so that a test or a simulator can run whole
// clusters in one thread. Storage has seams of its own: store/store.ts and oss/object_store.ts.

import type { DataPath } from "./model.ts";

/** Time. All waiting in the program goes through it. */
export interface Clock {
  /** Wall-clock time in milliseconds since 1970, with fractions where the platform has them. */
  nowMs(): number;
  /** Milliseconds since an arbitrary start; never goes back. For durations and deadlines. */
  monotonicMs(): number;
  /** Calls `callback` once after `delayMs`, unless the returned function is called first. */
  setTimer(callback: () => void, delayMs: number): () => void;
}

/** Chance. */
export interface Random {
  /** `length` random bytes. */
  bytes(length: number): Uint8Array<ArrayBuffer>;
  /** An integer, 0 <= result < bound. */
  below(bound: number): number;
}

/** A file that bytes can be sent from. Whoever gives it away keeps it open until they are sent. */
export interface SendableFile {
  /** The system's number for the open file; `undefined` where it has none, as in a test. */
  readonly descriptor: number | undefined;
  /** Reads at an offset, on this thread; says how many bytes, 0 at the end of the file. */
  readSync(into: Uint8Array, offsetBytes: number): number;
}

/** Bytes of a file that go to a connection without passing through this process, where they can. */
export interface FileRange {
  readonly file: SendableFile;
  readonly offsetBytes: number;
  readonly lengthBytes: number;
}

/** Raw bytes of a message, in memory or in a file. */
export type Payload = Uint8Array | FileRange;

/** A payload that is in several places: its parts are sent one after the other. */
export type GatheredPayload = Payload | readonly Payload[];

export function partsOf(payload: GatheredPayload): readonly Payload[] {
  return payload instanceof Uint8Array || "file" in payload ? [payload] : payload;
}

/** How many bytes a payload has. */
export function payloadBytesOf(payload: GatheredPayload): number {
  if (payload instanceof Uint8Array) return payload.length;
  if ("file" in payload) return payload.lengthBytes;
  return payload.reduce((bytes, part) => bytes + payloadBytesOf(part), 0);
}

/** One end of a reliable, ordered byte stream. */
export interface Connection {
  /** Where the other end is, for messages. */
  readonly remote: string;
  /**
   * Reads at least one byte into `buffer`; resolves to how many, or `null` at the end of the
   * stream. One read at a time.
   */
  read(buffer: Uint8Array): Promise<number | null>;
  /**
   * Says that at least so many bytes are on their way: a read may wait until they are there, or the
   * stream ends. 1 takes it back. Absent where waiting saves nothing.
   */
  expect?(bytes: number): void;
  /** Writes all of `data`; resolves when the transport has taken it. One write at a time. */
  write(data: Uint8Array): Promise<void>;
  /**
   * Sends bytes of a file without copying them through this process; as {@link write} otherwise.
   * Resolves to how many were sent, which is fewer only where the file ends. Bytes of the file that
   * change before the peer has received them may arrive as they are then. After {@link close} the
   * file is not touched any more. Absent where the platform does not have it.
   */
  sendFile?(range: FileRange): Promise<number>;
  /**
   * Resolves when everything that can run now has run: whoever has something to write has said so by
   * then, and one write takes it all. Absent where many writes cost no more than one.
   */
  gather?(): Promise<void>;
  /** Ends both directions at once; reads and writes under way fail or end. Idempotent. */
  close(): void;
}

/** Accepts connections on one address. */
export interface Listener {
  /** The bound address with its real port. */
  readonly address: Address;
  /** The next connection, or `null` once the listener is closed. One accept at a time. */
  accept(): Promise<Connection | null>;
  close(): void;
}

export interface Address {
  readonly host: string;
  readonly port: number;
}

/** The network. */
export interface Transport {
  /**
   * Port 0 picks a free one. Rejects where the address is in use or not of this host. `shared`:
   * other listeners that say so too may be there; each connection is accepted by one of them.
   */
  listen(address: Address, options?: { readonly shared?: boolean }): Promise<Listener>;
  /** Rejects with UNREACHABLE where nobody listens there or `signal` fires first. */
  connect(address: Address, options: { signal: AbortSignal }): Promise<Connection>;
  /** How its connections send files: whether they have {@link Connection.sendFile}. */
  dataPath(): Promise<DataPath>;
}

/** What every role is given at its start. */
export interface Environment {
  readonly clock: Clock;
  readonly random: Random;
  readonly transport: Transport;
}

/** Resolves after `delayMs`; rejects with the signal's reason as soon as it fires. */
export function sleep(clock: Clock, delayMs: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal?.aborted) return reject(signal.reason);
    const onAbort = () => {
      cancel();
      reject(signal?.reason);
    };
    const cancel = clock.setTimer(() => {
      signal?.removeEventListener("abort", onAbort);
      resolve();
    }, delayMs);
    signal?.addEventListener("abort", onAbort, { once: true });
  });
}

/** Wall-clock time in nanoseconds since 1970, as inodes keep it. */
export function nowNs(clock: Clock): bigint {
  return BigInt(Math.round(clock.nowMs() * 1000)) * 1000n;
}

/** `length` random bytes as lower-case hex, twice as many characters. */
export function randomHex(random: Random, length: number): string {
  return Array.from(random.bytes(length), (byte) => byte.toString(16).padStart(2, "0")).join("");
}
