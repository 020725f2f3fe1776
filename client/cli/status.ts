// `rustre status`: every server of the cluster, for people and for scripts.

import { Command } from "commander";
import type { ClusterStatus } from "../mod.ts";
import { formatAddress } from "../../shared/address.ts";
import type { CommandContext } from "../../shared/command_line.ts";
import { sleep } from "../../shared/environment.ts";
import { limits } from "../../shared/limits.ts";
import type { Server, Target } from "../../shared/model.ts";

export function statusCommand(context: CommandContext): Command {
  return new Command("status")
    .description("show every server; exit 0 only when all known ones are up")
    .option("-w, --watch", "show it again each second until interrupted")
    .action(async (flags: { watch?: boolean }, command: Command) => {
      const { mgs, json } = context.globalsOf(command);
      const { environment, signal } = context;
      const { Cluster } = await import("../mod.ts");
      await using cluster = new Cluster({ mgs, environment });
      for (;;) {
        const status = await cluster.status(signal);
        const text = json ? JSON.stringify(describe(status)) : await formatStatus(status);
        await print(flags.watch && !json && Deno.stdout.isTerminal() ? clearScreen + text : text);
        context.setExitCode(describe(status).allUp ? 0 : 1);
        if (!flags.watch) return;
        await sleep(environment.clock, limits.statusIntervalMs, signal);
      }
    });
}

/** Moves the cursor to the top and erases what is below. */
const clearScreen = "\x1b[H\x1b[2J";

async function print(text: string): Promise<void> {
  const bytes = new TextEncoder().encode(text + "\n");
  for (let start = 0; start < bytes.length;) {
    start += await Deno.stdout.write(bytes.subarray(start));
  }
}

// ── JSON ───────────────────────────────────────────────────────────────────────────────────────

interface DescribedServer {
  readonly address: string;
  readonly state: string;
  readonly version: string;
  readonly hostName: string;
  readonly nodeId: string;
  /** Absent where no mgs knows it, as right after the start. */
  readonly heartbeatAgeMs?: number;
}

/** The document of `--json`. */
export function describe({ map, heartbeatAgesMs }: ClusterStatus) {
  const describeServer = (server: Server | Target): DescribedServer => {
    const ageMs = heartbeatAgesMs[server.nodeId];
    return {
      address: formatAddress(server.address),
      state: server.state,
      version: server.version,
      hostName: server.hostName,
      nodeId: server.nodeId,
      ...(ageMs === undefined ? {} : { heartbeatAgeMs: Math.round(ageMs) }),
    };
  };
  const servers = [...map.mgs, ...map.mds, ...map.targets];
  return {
    clusterId: map.clusterId,
    clusterName: map.clusterName,
    epoch: map.epoch,
    allUp: servers.every((server) => server.state === "up"),
    mgs: map.mgs.map(describeServer),
    mds: map.mds.map(describeServer),
    osts: map.targets.map((target) => ({
      index: target.index,
      ...describeServer(target),
      ...target.usage,
    })),
  };
}

// ── text ───────────────────────────────────────────────────────────────────────────────────────

async function formatStatus(status: ClusterStatus): Promise<string> {
  const { default: Table } = await import("cli-table3");
  const { clusterName, clusterId, epoch, mgs, mds, osts } = describe(status);
  const table = new Table({
    head: ["SERVER", "ADDRESS", "STATE", "VERSION", "CAPACITY", "USED", "FREE", "HEARTBEAT"],
    chars: noBorders,
    style: { head: [], border: [], "padding-left": 0, "padding-right": 2 },
    colAligns: ["left", "left", "left", "left", "right", "right", "right", "right"],
  });
  const add = (name: string, server: DescribedServer, space: readonly string[]) => {
    const age = formatAge(server.heartbeatAgeMs);
    table.push([name, server.address, server.state, server.version, ...space, age]);
  };
  for (const server of mgs) add("mgs", server, ["", "", ""]);
  for (const server of mds) add("mds", server, ["", "", ""]);
  for (const ost of osts) {
    const { capacityBytes, usedBytes, freeBytes } = ost;
    add(`ost ${ost.index}`, ost, [capacityBytes, usedBytes, freeBytes].map(formatBytes));
  }
  return `cluster ${clusterName} (${clusterId}), map epoch ${epoch}\n${table.toString()}`;
}

const noBorders = Object.fromEntries(
  [
    "top",
    "top-mid",
    "top-left",
    "top-right",
    "bottom",
    "bottom-mid",
    "bottom-left",
    "bottom-right",
    "left",
    "left-mid",
    "mid",
    "mid-mid",
    "right",
    "right-mid",
    "middle",
  ].map((name) => [name, ""]),
);

function formatAge(ageMs: number | undefined): string {
  return ageMs === undefined ? "-" : `${(ageMs / 1000).toFixed(1)} s`;
}

function formatBytes(bytes: number): string {
  const units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
  let value = bytes;
  let unit = 0;
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024;
    unit++;
  }
  return `${unit === 0 ? value : value.toFixed(1)} ${units[unit]}`;
}
