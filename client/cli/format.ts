// Attributes as people and as scripts read them.

import { unreachable } from "../../shared/assert.ts";
import type { Attributes, FileType, Layout, Usage } from "../../shared/model.ts";

const typeCharacters = { file: "-", directory: "d", symlink: "l" } as const;

/** `-rwsr-xr-t` */
export function formatMode(type: FileType, mode: number): string {
  const triple = (shift: number, special: number, characters: string) => {
    const bits = mode >> shift;
    const isSpecial = (mode & special) !== 0;
    const execute = isSpecial ? characters[(bits & 1) === 0 ? 1 : 0] : (bits & 1) === 0 ? "-" : "x";
    return ((bits & 4) === 0 ? "-" : "r") + ((bits & 2) === 0 ? "-" : "w") + execute;
  };
  return typeCharacters[type] + triple(6, 0o4000, "sS") + triple(3, 0o2000, "sS") +
    triple(0, 0o1000, "tT");
}

/** `0644` */
export function formatOctal(mode: number): string {
  return mode.toString(8).padStart(4, "0");
}

const units = ["", "K", "M", "G", "T", "P"];

/** Exact, as the flags take it: `1M`, `1536K`, `1000`. */
export function formatExactBytes(bytes: number): string {
  let unit = 0;
  while (bytes > 0 && bytes % 1024 === 0 && unit < units.length - 1) {
    bytes /= 1024;
    unit++;
  }
  return `${bytes}${units[unit]}`;
}

/** Rounded for people: `1.5M`. */
export function formatBytes(bytes: number): string {
  let unit = 0;
  while (bytes >= 1024 && unit < units.length - 1) {
    bytes /= 1024;
    unit++;
  }
  return `${unit === 0 || bytes >= 100 ? Math.round(bytes) : bytes.toFixed(1)}${units[unit]}`;
}

const two = (value: number) => String(value).padStart(2, "0");

/** What an OST has met of damage; `undefined` where that is nothing. */
export function formatDamage(
  ost: number,
  { corruptBlocks, repairedBlocks }: Pick<Usage, "corruptBlocks" | "repairedBlocks">,
): string | undefined {
  if (corruptBlocks === 0 && repairedBlocks === 0) return undefined;
  return `ost ${ost}: ${corruptBlocks} damaged blocks found since its start, ` +
    `${repairedBlocks} repaired`;
}

/** Local time to the minute: `2026-01-31 12:00`. */
export function formatTimeShort(timeNs: bigint): string {
  const time = new Date(Number(timeNs / 1_000_000n));
  return `${time.getFullYear()}-${two(time.getMonth() + 1)}-${two(time.getDate())} ` +
    `${two(time.getHours())}:${two(time.getMinutes())}`;
}

/** Local time to the nanosecond with its zone: `2026-01-31 12:00:00.123456789 +01:00`. */
export function formatTime(timeNs: bigint): string {
  const nsPerSecond = 1_000_000_000n;
  const nanoseconds = ((timeNs % nsPerSecond) + nsPerSecond) % nsPerSecond;
  const time = new Date(Number((timeNs - nanoseconds) / nsPerSecond) * 1000);
  const offset = -time.getTimezoneOffset();
  const zone = `${offset < 0 ? "-" : "+"}${two(Math.trunc(Math.abs(offset) / 60))}:` +
    two(Math.abs(offset) % 60);
  return `${formatTimeShort(timeNs - nanoseconds)}:${two(time.getSeconds())}.` +
    `${String(nanoseconds).padStart(9, "0")} ${zone}`;
}

/** Milliseconds with a fraction, as JSON has times. */
export function milliseconds(timeNs: bigint): number {
  return Number(timeNs) / 1e6;
}

/** "1 object", "2 objects" */
export function counted(count: number, what: string): string {
  return `${count} ${what}${count === 1 ? "" : "s"}`;
}

export function replicasOf(layout: Layout): number {
  return layout.targets[0]?.length ?? 0;
}

/** How a file is striped, in one cell: stripes x replicas. */
export function formatStripes({ layout }: Attributes): string {
  return layout ? `${layout.targets.length}x${replicasOf(layout)}` : "-";
}

// ── JSON ───────────────────────────────────────────────────────────────────────────────────────

function describeLayout(layout: Layout) {
  return {
    stripeCount: layout.targets.length,
    stripeBytes: layout.stripeBytes,
    replicas: replicasOf(layout),
    stripesPerObject: layout.stripesPerObject,
    /** For each stripe position its OSTs, the primary first. */
    targets: layout.targets,
  };
}

/** What every `--json` says of an inode. */
export function describeAttributes(attributes: Attributes) {
  const { ino, type, mode, uid, gid, links, sizeBytes, layout, defaults } = attributes;
  return {
    ino: String(ino),
    type,
    mode: formatOctal(mode),
    uid,
    gid,
    links,
    sizeBytes,
    atimeMs: milliseconds(attributes.atimeNs),
    mtimeMs: milliseconds(attributes.mtimeNs),
    ctimeMs: milliseconds(attributes.ctimeNs),
    ...describeStriping(type, { layout, defaults }),
  };
}

function describeStriping(
  type: FileType,
  { layout, defaults }: Pick<Attributes, "layout" | "defaults">,
) {
  switch (type) {
    case "file":
      return layout ? { layout: describeLayout(layout) } : {};
    case "directory":
      return { defaults: defaults ?? {} };
    case "symlink":
      return {};
    default:
      return unreachable(type, "file type");
  }
}
