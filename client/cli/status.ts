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
      const { Output } = await import("./output.ts");
      const output = new Output(Deno.stdout);
      await using cluster = new Cluster({ mgs, environment });
      for (;;) {
        const status = await cluster.status(signal);
        const text = json ? JSON.stringify(describe(status)) : await formatStatus(status);
        await output.line(flags.watch && !json && output.isTerminal ? clearScreen + text : text);
        await output.flush();
        context.setExitCode(describe(status).allUp ? 0 : 1);
        if (!flags.watch) return;
        await sleep(environment.clock, limits.statusIntervalMs, signal);
      }
    });
}

/** Moves the cursor to the top and erases what is below. */
const clearScreen = "\x1b[H\x1b[2J";

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
      dataPath: target.dataPath,
      ...target.usage,
    })),
  };
}

// ── text ───────────────────────────────────────────────────────────────────────────────────────

async function formatStatus(status: ClusterStatus): Promise<string> {
  const { formatTable } = await import("./table.ts");
  const { formatBytes, formatDamage } = await import("./format.ts");
  const { clusterName, clusterId, epoch, mgs, mds, osts } = describe(status);
  const row = (name: string, server: DescribedServer, more: readonly string[]) => {
    const age = formatAge(server.heartbeatAgeMs);
    return [name, server.address, server.state, server.version, ...more, age];
  };
  const rows = [
    ["SERVER", "ADDRESS", "STATE", "VERSION", "DATA", "CAPACITY", "USED", "FREE", "HEARTBEAT"],
    ...mgs.map((server) => row("mgs", server, ["", "", "", ""])),
    ...mds.map((server) => row("mds", server, ["", "", "", ""])),
    ...osts.map((ost) => {
      const space = [ost.capacityBytes, ost.usedBytes, ost.freeBytes].map(formatBytes);
      return row(`ost ${ost.index}`, ost, [ost.dataPath, ...space]);
    }),
  ];
  const title = `cluster ${clusterName} (${clusterId}), map epoch ${epoch}`;
  const damage = osts.map((ost) => formatDamage(ost.index, ost))
    .filter((line) => line !== undefined);
  return [title, ...formatTable(rows, { right: [5, 6, 7, 8] }), ...damage].join("\n");
}

function formatAge(ageMs: number | undefined): string {
  return ageMs === undefined ? "-" : `${(ageMs / 1000).toFixed(1)} s`;
}
