// stat, getstripe and setstripe: where the bytes of files are, and where those of new ones will be.

import { UsageError } from "../../shared/command_line.ts";
import {
  objectCount,
  objectId,
  objectLengthBytes,
  pieces,
  targetsOfObject,
} from "../../shared/layout.ts";
import { limits } from "../../shared/limits.ts";
import type { Attributes, Layout } from "../../shared/model.ts";
import { remotePath, remotePaths } from "./arguments.ts";
import {
  describeAttributes,
  formatExactBytes,
  formatMode,
  formatOctal,
  formatTime,
  replicasOf,
} from "./format.ts";
import type { Output } from "./output.ts";
import { formatTable } from "./table.ts";
import { Owners } from "./owners.ts";
import type { ClientSession, Job } from "./session.ts";

// ── stat ───────────────────────────────────────────────────────────────────────────────────────

export function stat(operands: readonly string[]): Job {
  const paths = remotePaths(operands);
  return {
    async run(session) {
      const { fileSystem, signal, json, output } = session;
      const owners = await Owners.load();
      await session.each(paths, async (path) => {
        const attributes = await fileSystem.stat(path, { follow: false, signal });
        const target = attributes.type === "symlink"
          ? await fileSystem.readlink(path, { signal })
          : undefined;
        if (json) return await output.json(describeFile(path, attributes, target));
        for (const line of fileLines(output, path, attributes, { target, owners })) {
          await output.line(line);
        }
      });
    },
  };
}

function describeFile(path: string, attributes: Attributes, target: string | undefined) {
  return {
    path,
    ...describeAttributes(attributes),
    ...(target === undefined ? {} : { target }),
    ...(attributes.layout ? describeMap({ ...attributes, layout: attributes.layout }) : {}),
  };
}

type StripedFile = Attributes & { readonly layout: Layout };

export interface MapRange {
  readonly offsetBytes: number;
  lengthBytes: number;
  readonly object: string;
  readonly objectOffsetBytes: number;
  readonly osts: readonly number[];
}

/**
 * The ranges of a file in order with the object and the OSTs of each, the primary first. Of a file
 * with more than limits.stripeMapRangesMax the first ones; the layout tells where the others are.
 */
export function describeMap({ ino, layout, dataEndBytes }: StripedFile) {
  const map: MapRange[] = [];
  for (const piece of pieces(layout, 0, dataEndBytes)) {
    const object = objectId(ino, piece.seq);
    const last = map.at(-1);
    if (last?.object === object) {
      last.lengthBytes += piece.lengthBytes;
      continue;
    }
    if (map.length >= limits.stripeMapRangesMax) return { dataEndBytes, map, mapComplete: false };
    map.push({
      offsetBytes: piece.offsetInFileBytes,
      lengthBytes: piece.lengthBytes,
      object,
      objectOffsetBytes: piece.offsetInObjectBytes,
      osts: targetsOfObject(layout, piece.seq),
    });
  }
  return { dataEndBytes, map, mapComplete: true };
}

function* fileLines(
  output: Output,
  path: string,
  attributes: Attributes,
  { target, owners }: { target: string | undefined; owners: Owners },
): Generator<string> {
  const { ino, type, mode, uid, gid, links, sizeBytes } = attributes;
  const arrow = target === undefined ? "" : ` -> ${output.name(target)}`;
  yield* formatTable([
    ["path", output.name(path) + arrow],
    ["type", type],
    ["inode", String(ino)],
    ["mode", `${formatOctal(mode)} ${formatMode(type, mode)}`],
    ["owner", `${uid} ${owners.userName(uid)}`],
    ["group", `${gid} ${owners.groupName(gid)}`],
    ["links", String(links)],
    ["size", String(sizeBytes)],
    ["accessed", formatTime(attributes.atimeNs)],
    ["modified", formatTime(attributes.mtimeNs)],
    ["changed", formatTime(attributes.ctimeNs)],
    ...stripingRows(attributes),
  ]);
  if (attributes.layout) yield* mapLines({ ...attributes, layout: attributes.layout });
}

/** One line for each object: those that hold stripes in turn would take thousands for ranges. */
function* mapLines({ ino, layout, dataEndBytes }: StripedFile): Generator<string> {
  const objects = objectCount(layout, dataEndBytes);
  if (objects === 0) return;
  const positions = layout.targets.length;
  const setBytes = layout.stripeBytes * layout.stripesPerObject * positions;
  const every = positions === 1 ? "" : `, ${formatExactBytes(layout.stripeBytes)} every ` +
    formatExactBytes(layout.stripeBytes * positions);
  const rows = [["OBJECT", "OSTS", "BYTES", "OF THE FILE"]];
  for (let seq = 0; seq < Math.min(objects, limits.stripeMapLinesMax); seq++) {
    const position = seq % positions;
    const fromBytes = Math.floor(seq / positions) * setBytes + position * layout.stripeBytes;
    rows.push([
      objectId(ino, seq),
      targetsOfObject(layout, seq).join(","),
      String(objectLengthBytes(layout, seq, dataEndBytes)),
      `from ${fromBytes}${every}`,
    ]);
  }
  yield* formatTable(rows, { right: [2] });
  const more = objects - limits.stripeMapLinesMax;
  if (more > 0) yield `and ${more} more objects; --json shows them by range`;
}

// ── getstripe, setstripe ───────────────────────────────────────────────────────────────────────

export function getstripe(operands: readonly string[]): Job {
  const paths = remotePaths(operands);
  return {
    async run(session) {
      const { fileSystem, signal, json, output } = session;
      await session.each(paths, async (path) => {
        const attributes = await fileSystem.stat(path, { signal });
        const { type, layout } = attributes;
        if (json) {
          const striping = layout ? { osts: layout.targets } : {};
          return await output.json({ path, type, ...stripingInForce(attributes), ...striping });
        }
        const rows = [["path", output.name(path)], ...stripingRows(attributes)];
        for (const [position, osts] of layout?.targets.entries() ?? []) {
          rows.push([`position ${position}`, `OST ${osts.join(", ")}`]);
        }
        for (const line of formatTable(rows)) await output.line(line);
      });
    },
  };
}

interface Striping {
  readonly stripeCount: number;
  readonly stripeBytes: number;
  readonly replicas: number;
}

/** Of a file its layout, of a directory what new files in it get; 0 stripes are all OSTs. */
function stripingInForce({ layout, defaults }: Attributes): Striping {
  if (layout) {
    const { stripeBytes, targets } = layout;
    return { stripeCount: targets.length, stripeBytes, replicas: replicasOf(layout) };
  }
  const { stripeCount = 0, stripeBytes = limits.stripeBytesDefault, replicas = 1 } = defaults ?? {};
  return { stripeCount, stripeBytes, replicas };
}

function stripingRows(attributes: Attributes): string[][] {
  if (attributes.type === "symlink") return [];
  const { stripeCount, stripeBytes, replicas } = stripingInForce(attributes);
  const of = attributes.type === "directory" ? " of new files" : "";
  return [
    [`stripes${of}`, stripeCount === 0 ? "all OSTs" : String(stripeCount)],
    [`stripe size${of}`, formatExactBytes(stripeBytes)],
    [`replicas${of}`, String(replicas)],
  ];
}

export interface SetStripeFlags {
  readonly stripes?: number;
  readonly stripeSize?: number;
  readonly replicas?: number;
}

export function setstripe(operands: readonly string[], flags: SetStripeFlags): Job {
  const paths = operands.map(remotePath);
  const { stripes: stripeCount, stripeSize: stripeBytes, replicas } = flags;
  if (stripeCount === undefined && stripeBytes === undefined && replicas === undefined) {
    throw new UsageError("Cannot set nothing: at least one of -c, -S and -R is needed");
  }
  return {
    run: (session: ClientSession) => {
      const { fileSystem, signal, json, output } = session;
      return session.each(paths, async (path) => {
        const wish = { stripeCount, stripeBytes, replicas };
        const attributes = await fileSystem.setLayoutDefaults(path, wish, { signal });
        if (json) await output.json({ path, type: "directory", ...stripingInForce(attributes) });
      });
    },
  };
}
