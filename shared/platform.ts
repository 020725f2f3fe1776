// The real environment: the system's clock, its random numbers and TCP. The only file, with
// tcp_transport.ts, main.ts and the terminal side of the client, that may touch what is not
// deterministic (.ci/lint_plugin.ts).

import { isLoopback } from "./address.ts";
import { assert } from "./assert.ts";
import type { Address, Clock, Environment, Random } from "./environment.ts";
import { connectTcp, TcpTransport, type TcpTransportOptions } from "./tcp_transport.ts";

export function systemEnvironment(
  options: TcpTransportOptions = { dataPath: "auto" },
): Environment {
  const clock = new SystemClock();
  return { clock, random: systemRandom, transport: new TcpTransport(clock, options) };
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
