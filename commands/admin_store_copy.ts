// admin store copy: copies a cluster from one store to another one.

import { formatBytes } from "../client/cli/format.ts";
import { Output } from "../client/cli/output.ts";
import type { Globals } from "../shared/command_line.ts";
import type { CopyProgress, CopySummary } from "../shared/store/copy.ts";
import { openExisting, openStoreAt } from "./admin_fsck.ts";
import type { ProgramContext } from "./context.ts";
import { StatusLine } from "./status_line.ts";

export async function runStoreCopy(
  context: ProgramContext,
  { from, to }: { from: string; to: string },
  { clusterName, json }: Globals,
): Promise<void> {
  const { environment, signal } = context;
  const { copyStore } = await import("../shared/store/copy.ts");
  await using opened = new AsyncDisposableStack();
  const source = await openExisting(context, from);
  opened.defer(() => source.close());
  const target = await openStoreAt(context, to);
  opened.defer(() => target.close());
  using line = new StatusLine(environment.clock);
  const output = new Output(Deno.stdout);
  const summary = await copyStore({
    ...{ environment, from: source, to: target, clusterName, signal },
    onProgress: (progress) => line.show(formatProgress(progress, line.passedMs)),
  });
  line.clear();
  if (json) await output.json({ type: "summary", from, to, clusterName, ...summary });
  else await output.line(formatSummary(summary, to));
  await output.flush();
}

function formatProgress({ stage, pairs, bytes }: CopyProgress, passedMs: number): string {
  const passed = `${Math.round(passedMs / 1000)} s`;
  if (stage === "waiting") return `waiting whether a server uses the store, ${passed}`;
  return `${stage}: ${pairs} keys with ${formatBytes(bytes)}, ${passed}`;
}

function formatSummary({ pairs, bytes, sha256, resumedAtPairs }: CopySummary, to: string): string {
  const resumed = resumedAtPairs > 0 ? ` (${resumedAtPairs} of them in an earlier run)` : "";
  return `${pairs} keys with ${formatBytes(bytes)} copied to "${to}"${resumed}, read again and ` +
    `found equal: sha256 ${sha256}`;
}
