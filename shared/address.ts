// Addresses as people write them: HOST:PORT, an IPv6 host in brackets, and lists of them.

import type { Address } from "./environment.ts";
import { RustreError } from "./errors.ts";

/** A host name or an IPv4 address. */
const hostPattern = /^[A-Za-z0-9]([A-Za-z0-9._-]{0,253}[A-Za-z0-9])?\.?$/;
/** Only tells an IPv6 address from a mistake; the system checks it when it is used. */
const ipv6Pattern = /^[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*(%[A-Za-z0-9._-]+)?$/;

/** `HOST:PORT`. Port 0, which asks for a free one, only with `anyPort`. Throws EINVAL. */
export function parseAddress(text: string, options: { anyPort?: boolean } = {}): Address {
  const { host, port } = parseHostAndPort(text);
  if (port === undefined) throw notAnAddress(text, "it has no port; write HOST:PORT");
  if (!options.anyPort) requireRealPort(text, port);
  return { host, port };
}

function requireRealPort(text: string, port: number | undefined): void {
  if (port === 0) throw notAnAddress(text, "port 0 is not a port to connect to");
}

/** `HOST[:PORT]` that others are to connect to. Throws EINVAL. */
export function parseAdvertised(text: string): { host: string; port: number | undefined } {
  const advertised = parseHostAndPort(text);
  requireRealPort(text, advertised.port);
  if (isWildcard(advertised.host)) {
    throw notAnAddress(text, "others cannot connect to it; name one address of this host");
  }
  return advertised;
}

/** `HOST:PORT[,HOST:PORT...]`, each one once. Throws EINVAL. */
export function parseAddressList(text: string): Address[] {
  const addresses: Address[] = [];
  for (const item of text.split(",")) addAddress(addresses, parseAddress(item.trim()));
  return addresses;
}

/** `HOST[:PORT]`. Throws EINVAL. */
export function parseHostAndPort(text: string): { host: string; port: number | undefined } {
  const { host, port } = splitPort(text);
  if (host === "") throw notAnAddress(text, "it has no host");
  const bracketed = host.startsWith("[") && host.endsWith("]");
  const bare = bracketed ? host.slice(1, -1) : host;
  if (!(bracketed ? ipv6Pattern : hostPattern).test(bare)) {
    throw notAnAddress(text, "the host is neither a name nor an IP address");
  }
  if (port === undefined) return { host: bare, port };
  if (!/^[0-9]{1,5}$/.test(port) || Number(port) > 65535) {
    throw notAnAddress(text, "the port is not a number from 0 to 65535");
  }
  return { host: bare, port: Number(port) };
}

/** As {@link parseAddress} reads it. */
export function formatAddress(address: Address): string {
  return address.host.includes(":")
    ? `[${address.host}]:${address.port}`
    : `${address.host}:${address.port}`;
}

export function sameAddress(a: Address, b: Address): boolean {
  return a.host === b.host && a.port === b.port;
}

/** Appends `address` unless the list has it. */
export function addAddress(addresses: Address[], address: Address): void {
  if (!addresses.some((known) => sameAddress(known, address))) addresses.push(address);
}

/** Whether nothing outside this machine reaches `host`. */
export function isLoopback(host: string): boolean {
  return host === "localhost" || host === "::1" || /^127(\.[0-9]{1,3}){3}$/.test(host);
}

/** Whether `host` stands for every address of the machine: good to listen on, not to connect to. */
export function isWildcard(host: string): boolean {
  return host === "0.0.0.0" || host === "::";
}

function splitPort(text: string): { host: string; port: string | undefined } {
  const bracket = text.lastIndexOf("]");
  const colon = text.indexOf(":", bracket + 1);
  if (bracket < 0 && colon !== text.lastIndexOf(":")) {
    throw notAnAddress(text, "an IPv6 address needs brackets, as in [::1]:9400");
  }
  if (colon < 0) return { host: text, port: undefined };
  return { host: text.slice(0, colon), port: text.slice(colon + 1) };
}

function notAnAddress(text: string, reason: string): RustreError {
  return new RustreError("EINVAL", `Cannot use "${text}" as an address: ${reason}`);
}
