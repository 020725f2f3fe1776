// The system's number for a connection's socket. The platform does not give it away: what is found
// here is checked by the addresses of both ends, which no two sockets share. It is the connection's
// until that is closed, and may be another file's at once afterwards.

import { connectionAddresses } from "./libc.ts";

/** `undefined` where it cannot be found. */
export function descriptorOf(connection: Deno.TcpConn): number | undefined {
  const local = endOf(connection.localAddr);
  const remote = endOf(connection.remoteAddr);
  const isIts = (descriptor: number) => {
    const ends = connectionAddresses(descriptor);
    return ends !== undefined && endOf(ends.local) === local && endOf(ends.remote) === remote;
  };
  const known = knownDescriptor(connection);
  if (known !== undefined && isIts(known)) return known;
  return openDescriptors().find(isIts);
}

/** What the platform keeps for its own use: of accepted connections, not of those that it opened. */
function knownDescriptor(connection: Deno.TcpConn): number | undefined {
  const symbol = Object.getOwnPropertySymbols(connection)
    .find(({ description }) => description === "Deno.internal.fd");
  const value = symbol && (connection as unknown as Record<symbol, unknown>)[symbol];
  return typeof value === "number" ? value : undefined;
}

function openDescriptors(): number[] {
  try {
    return Array.from(Deno.readDirSync("/proc/self/fd"), ({ name }) => Number(name));
  } catch {
    // No such file system, or no permission to read it: then none is found.
    return [];
  }
}

function endOf({ hostname, port }: { hostname: string; port: number }): string {
  return `${hostname.includes(":") ? groupsOf(hostname).join(":") : hostname} ${port}`;
}

/** The eight groups of an IPv6 address, as in "::1" or "::ffff:127.0.0.1". */
function groupsOf(address: string): string[] {
  const [front = [], back = []] = address.split("::").map((part) =>
    part === "" ? [] : part.split(":").flatMap(hexadecimalGroups)
  );
  const missing = Math.max(0, 8 - front.length - back.length);
  return [...front, ...new Array<string>(missing).fill("0"), ...back];
}

/** One group, or the two of an IPv4 address in its place. */
function hexadecimalGroups(text: string): string[] {
  if (!text.includes(".")) return [text];
  const [a = 0, b = 0, c = 0, d = 0] = text.split(".").map(Number);
  return [(a * 256 + b).toString(16), (c * 256 + d).toString(16)];
}
