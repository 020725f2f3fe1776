// Operands and values of flags as people write them.

import { InvalidArgumentError } from "commander";
import { parseAddressList } from "../../shared/address.ts";
import { UsageError } from "../../shared/command_line.ts";
import type { Address } from "../../shared/environment.ts";
import { messageOf } from "../../shared/errors.ts";
import { limits } from "../../shared/limits.ts";
import { formatExactBytes } from "./format.ts";
import { type ModeChange, parseModeChange } from "./modes.ts";

const unitBytes = { "": 1, K: 2 ** 10, M: 2 ** 20, G: 2 ** 30, T: 2 ** 40 } as const;

/** `10`, `64K`, `1M`: powers of 1024. `undefined` where it is none, or too large for a file. */
export function parseBytes(text: string): number | undefined {
  const match = /^([0-9]{1,16})([KMGT]?)$/i.exec(text);
  if (!match) return undefined;
  const unit = (match[2] ?? "").toUpperCase() as keyof typeof unitBytes;
  const bytes = Number(match[1]) * unitBytes[unit];
  return bytes <= limits.fileBytesMax ? bytes : undefined;
}

// ── values of flags, for commander ─────────────────────────────────────────────────────────────

export function bytesFlag(text: string): number {
  const bytes = parseBytes(text);
  if (bytes !== undefined) return bytes;
  throw new InvalidArgumentError("It must be a number of bytes, or one with K, M, G or T.");
}

export function stripeBytesFlag(text: string): number {
  const { stripeBytesMin, stripeBytesMax } = limits;
  const bytes = parseBytes(text) ?? 0;
  const isInside = bytes >= stripeBytesMin && bytes <= stripeBytesMax;
  if (isInside && bytes % stripeBytesMin === 0) return bytes;
  const [min, max] = [stripeBytesMin, stripeBytesMax].map(formatExactBytes);
  throw new InvalidArgumentError(`It must be a multiple of ${min}, up to ${max}.`);
}

export function stripeCountFlag(text: string): number {
  return wholeNumber(text, { min: 0, max: limits.stripeCountMax, more: ", where 0 is all OSTs" });
}

export function replicasFlag(text: string): number {
  return wholeNumber(text, { min: 1, max: limits.replicasMax });
}

export function targetIndexFlag(text: string): number {
  return wholeNumber(text, { min: 0, max: limits.targetIndexMax });
}

export interface NumberBounds {
  readonly min: number;
  readonly max: number;
  /** What else is to be said where it is none. */
  readonly more?: string;
}

export function wholeNumber(text: string, { min, max, more = "" }: NumberBounds): number {
  const value = Number(text);
  if (/^[0-9]+$/.test(text) && value >= min && value <= max) return value;
  throw new InvalidArgumentError(`It must be a number from ${min} to ${max}${more}.`);
}

export interface SizeChange {
  readonly sign: "" | "+" | "-";
  readonly bytes: number;
}

/** `SIZE`, `+SIZE` or `-SIZE`. */
export function sizeChangeFlag(text: string): SizeChange {
  const sign = /^[+-]/.exec(text)?.[0] ?? "";
  const bytes = parseBytes(text.slice(sign.length));
  if (bytes !== undefined) return { sign: sign as SizeChange["sign"], bytes };
  throw new InvalidArgumentError("It must be a size such as 10M, or +10M or -10M.");
}

export function modeFlag(text: string): ModeChange {
  const change = parseModeChange(text);
  if (change) return change;
  throw new InvalidArgumentError("It must be octal, such as 755, or symbolic, such as u+x,go-w.");
}

// ── operands ───────────────────────────────────────────────────────────────────────────────────

export function modeOperand(text: string): ModeChange {
  const change = parseModeChange(text);
  if (change) return change;
  throw new UsageError(
    `Cannot use "${text}" as a mode: neither octal, such as 755, nor symbolic, such as u+x,go-w`,
  );
}

/** A path on the cluster. */
export function remotePath(text: string): string {
  if (text.startsWith("/")) return text;
  throw new UsageError(`Cannot use "${text}" as a remote path: it does not start with "/"`);
}

export function remotePaths(texts: readonly string[]): string[] {
  return texts.map(remotePath);
}

/** `SRC… DST` */
export function sourcesAndDestination(
  operands: readonly string[],
): { sources: readonly string[]; destination: string } {
  const destination = operands.at(-1);
  if (operands.length < 2 || destination === undefined) {
    throw new UsageError("Cannot tell where to: SRC and DST are needed");
  }
  if (operands.includes("")) throw new UsageError('Cannot use "": an empty path');
  return { sources: operands.slice(0, -1), destination };
}

export interface RemoteOperand {
  readonly mgs: readonly Address[];
  readonly path: string;
}

/**
 * `HOST:PORT[,HOST:PORT…]:/path`, or `undefined` where it is a local path. A local path of that
 * form can be written with "./" before it.
 */
export function parseRemoteOperand(text: string): RemoteOperand | undefined {
  const match = /^([^/]+):(\/.*)$/s.exec(text);
  if (!match) return undefined;
  const [, addresses = "", path = ""] = match;
  try {
    return { mgs: parseAddressList(addresses), path };
  } catch (error) {
    throw new UsageError(`Cannot use "${text}" as HOST:PORT:/path: ${messageOf(error)}`);
  }
}
