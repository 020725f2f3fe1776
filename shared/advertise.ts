// The address under which others reach a server, which is not always the one that it listens on.

import { formatAddress, isLoopback, isWildcard } from "./address.ts";
import type { Address } from "./environment.ts";
import { messageOf, RustreError } from "./errors.ts";

/** Given the bound address and the addresses of the mgs, the address to publish. */
export type Advertise = (listening: Address, mgs: readonly Address[]) => Promise<Address>;

/** What has to be known of the machine; platform.ts has the real one. */
export interface HostAddresses {
  /** The machine's own address on the way to `address`; rejects where that does not answer. */
  towards(address: Address): Promise<string>;
  /** The machine's addresses that others may reach, the most likely one first. */
  external(): readonly string[];
}

/**
 * The rule: what the operator says; else the address listened on, where it is a particular one;
 * else the machine's address on the way to the mgs. A machine that reaches the mgs by loopback
 * publishes loopback, for then the whole cluster is on that machine. An mgs has no way to go by, so
 * it publishes the first address that others may reach.
 */
export function advertiser(
  explicit: { host: string; port: number | undefined } | undefined,
  machine: HostAddresses,
): Advertise {
  return async (listening, mgs) => {
    if (explicit) return { host: explicit.host, port: explicit.port ?? listening.port };
    if (!isWildcard(listening.host)) return listening;
    const host = mgs.length > 0 ? await towardsAny(mgs, machine) : machine.external()[0];
    return { host: host ?? loopbackOf(listening), port: listening.port };
  };
}

/** Prefers the way to an mgs on another machine. */
async function towardsAny(mgs: readonly Address[], machine: HostAddresses): Promise<string> {
  const remote = mgs.filter((each) => !isLoopback(each.host));
  const failures: string[] = [];
  for (const address of [...remote, ...mgs.filter((each) => isLoopback(each.host))]) {
    try {
      return await machine.towards(address);
    } catch (error) {
      failures.push(messageOf(error));
    }
  }
  const tried = mgs.map(formatAddress).join(",");
  throw new RustreError(
    "UNREACHABLE",
    `Cannot tell which address of this machine leads to the mgs at "${tried}": ` +
      `${failures.join("; ")}; give one with --advertise`,
  );
}

function loopbackOf(listening: Address): string {
  return listening.host === "::" ? "::1" : "127.0.0.1";
}
