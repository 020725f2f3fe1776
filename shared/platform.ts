// The real environment: the system's clock, its random numbers and TCP. The only file, with main.ts
// and the terminal side of the client, that may touch what is not deterministic (.ci/lint_plugin.ts).

import { formatAddress, isLoopback } from "./address.ts";
import type {
  Address,
  Clock,
  Connection,
  Environment,
  Listener,
  Random,
  Transport,
} from "./environment.ts";
import { type ErrorCode, messageOf, RustreError } from "./errors.ts";
import { limits } from "./limits.ts";
import { loggerOf } from "./logging.ts";
import { assert } from "./assert.ts";

export function systemEnvironment(): Environment {
  return { clock: new SystemClock(), random: systemRandom, transport: tcpTransport };
}

/** The machine's name. */
export function systemHostName(): string {
  return Deno.hostname();
}

/** The address of this machine from which packets to `address` leave; it must be reachable. */
export async function localAddressTowards(address: Address, signal: AbortSignal): Promise<string> {
  const connection = await connectTcp(address, signal);
  const local = connection.localAddr.hostname;
  connection.close();
  return local;
}

/** Addresses of this machine that others may reach, the most likely one first; no loopback. */
export function externalAddresses(): string[] {
  const usable = Deno.networkInterfaces().filter((each) =>
    !isLoopback(each.address) && !each.address.toLowerCase().startsWith("fe80:")
  );
  const ipv4 = usable.filter((each) => each.family === "IPv4");
  const ipv6 = usable.filter((each) => each.family === "IPv6");
  return [...ipv4, ...ipv6].map((each) => each.address);
}

// ── time and chance ────────────────────────────────────────────────────────────────────────────

/** The longest delay that the platform's timers take. */
const timerDelayMaxMs = 2 ** 31 - 1;

class SystemClock implements Clock {
  #lastMs = 0;
  /** What nowMs() is ahead of the monotonic clock. */
  #offsetMs = 0;

  /**
   * The system's time has whole milliseconds, the monotonic clock microseconds: the sum of the
   * latter and an offset is kept within the system's current millisecond. It goes back only when
   * the system's clock does.
   */
  nowMs(): number {
    const wholeMs = Date.now();
    const monotonicMs = performance.now();
    let nowMs = monotonicMs + this.#offsetMs;
    if (nowMs < wholeMs || this.#lastMs >= wholeMs + 1) nowMs = wholeMs;
    else if (nowMs >= wholeMs + 1) nowMs = Math.max(wholeMs, this.#lastMs);
    this.#offsetMs = nowMs - monotonicMs;
    this.#lastMs = nowMs;
    return nowMs;
  }

  monotonicMs(): number {
    return performance.now();
  }

  setTimer(callback: () => void, delayMs: number): () => void {
    assert(
      delayMs <= timerDelayMaxMs,
      `a timer of ${delayMs} ms is longer than the platform takes`,
    );
    const timer = setTimeout(callback, delayMs);
    return () => clearTimeout(timer);
  }
}

/** What crypto.getRandomValues gives at once. */
const randomBytesMax = 65_536;

const systemRandom: Random = {
  bytes(length) {
    const bytes = new Uint8Array(length);
    for (let start = 0; start < length; start += randomBytesMax) {
      crypto.getRandomValues(bytes.subarray(start, start + randomBytesMax));
    }
    return bytes;
  },
  below(bound) {
    assert(Number.isInteger(bound) && bound > 0, `no integer is below ${bound}`);
    return Math.floor(Math.random() * bound);
  },
};

// ── TCP ────────────────────────────────────────────────────────────────────────────────────────

const tcpTransport: Transport = {
  listen(address) {
    return Promise.resolve().then(() => new TcpListener(listenTcp(address)));
  },
  async connect(address, { signal }) {
    return new TcpConnection(await connectTcp(address, signal));
  },
};

function listenTcp(address: Address): Deno.TcpListener {
  try {
    return Deno.listen({ hostname: address.host, port: address.port });
  } catch (error) {
    const code: ErrorCode = error instanceof Deno.errors.AddrInUse
      ? "EBUSY"
      : error instanceof Deno.errors.PermissionDenied
      ? "EACCES"
      : "EINVAL";
    const message = `Cannot listen on "${formatAddress(address)}": ${reasonOf(error)}`;
    throw new RustreError(code, message, { cause: error });
  }
}

async function connectTcp(address: Address, signal: AbortSignal): Promise<Deno.TcpConn> {
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
  readonly #log = loggerOf("net");
  #closed = false;

  constructor(listener: Deno.TcpListener) {
    this.#listener = listener;
    this.address = { host: listener.addr.hostname, port: listener.addr.port };
  }

  /** Errors of one accept, such as too many open files, do not end the listener: they pass. */
  async accept(): Promise<Connection | null> {
    for (let failures = 0; !this.#closed; failures++) {
      try {
        const connection = withOptions(await this.#listener.accept());
        if (failures > 0) this.#log.info("Accepting connections again");
        return new TcpConnection(connection);
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
  readonly #connection: Deno.TcpConn;
  #closed = false;

  constructor(connection: Deno.TcpConn) {
    this.#connection = connection;
    const { hostname, port } = connection.remoteAddr;
    this.remote = formatAddress({ host: hostname, port });
  }

  async read(buffer: Uint8Array): Promise<number | null> {
    try {
      return await this.#connection.read(buffer);
    } catch (error) {
      throw this.#lost(error);
    }
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

  #lost(error: unknown): RustreError {
    const reason = this.#closed ? "closed by this side" : reasonOf(error);
    const message = `Lost the connection to "${this.remote}": ${reason}`;
    return new RustreError("CONNECTION_LOST", message, { cause: error });
  }
}

/** "Connection refused", without the name of the class or the number that Deno adds. */
function reasonOf(error: unknown): string {
  return messageOf(error).replace(/ \(os error \d+\)$/, "");
}
