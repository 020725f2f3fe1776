// df: space by OST and in all. du: the bytes of a tree.

import { formatAddress } from "../../shared/address.ts";
import type { Target, Usage } from "../../shared/model.ts";
import { totalUsage } from "../../shared/usage.ts";
import { treeUsage } from "../transfer/tree_usage.ts";
import { remotePaths } from "./arguments.ts";
import { formatBytes, formatDamage } from "./format.ts";
import { formatTable } from "./table.ts";
import type { Job } from "./session.ts";

export function df(): Job {
  return {
    async run({ cluster, fileSystem, signal, json, output }) {
      const { targets } = await cluster.map(signal);
      // The mds may know another state of the OSTs than the rows show.
      const { inodes } = await fileSystem.statfs({ signal });
      const usage = totalUsage(targets.map((target) => target.usage));
      const ostsUp = targets.filter(({ state }) => state === "up").length;
      if (json) {
        const total = { ...describeUsage(usage), inodes, ostsUp };
        return await output.json({ osts: targets.map(describeTarget), total });
      }
      const rows = [
        ["OST", "ADDRESS", "STATE", "CAPACITY", "USED", "FREE", "USE%", "OBJECTS"],
        ...targets.map((target) => [
          String(target.index),
          formatAddress(target.address),
          target.state,
          ...usageCells(target.usage),
        ]),
        ["total", "", `${ostsUp} up`, ...usageCells(usage)],
      ];
      for (const line of formatTable(rows, { right: [3, 4, 5, 6, 7] })) await output.line(line);
      await output.line(`${inodes} inodes`);
      for (const { index, usage } of targets) {
        const damage = formatDamage(index, usage);
        if (damage !== undefined) await output.line(damage);
      }
    },
  };
}

function usageCells(usage: Usage): string[] {
  const { capacityBytes, usedBytes, freeBytes, objects } = usage;
  return [
    formatBytes(capacityBytes),
    formatBytes(usedBytes),
    formatBytes(freeBytes),
    `${usedPercent(usage)}%`,
    String(objects),
  ];
}

/** Of what is there for objects; the disk may hold other things too. */
function usedPercent({ usedBytes, freeBytes }: Usage): number {
  const roomBytes = usedBytes + freeBytes;
  return roomBytes === 0 ? 0 : Math.ceil(100 * usedBytes / roomBytes);
}

function describeUsage(usage: Usage) {
  return { ...usage, usedPercent: usedPercent(usage) };
}

function describeTarget({ index, address, state, usage }: Target) {
  return { index, address: formatAddress(address), state, ...describeUsage(usage) };
}

export interface UsageFlags {
  readonly summarize?: boolean;
}

export function du(operands: readonly string[], { summarize }: UsageFlags): Job {
  const paths = operands.length > 0 ? remotePaths(operands) : ["/"];
  return {
    async run(session) {
      const { fileSystem, signal, json, output, failed } = session;
      await session.each(paths, async (path) => {
        for await (const usage of treeUsage(fileSystem, path, { signal, onFailure: failed })) {
          if (summarize && usage.path !== path) continue;
          if (json) await output.json(usage);
          else await output.line(`${usage.bytes}\t${output.name(usage.path)}`);
        }
      });
    },
  };
}
