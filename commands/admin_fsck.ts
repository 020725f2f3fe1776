// admin fsck: says what does not fit together, and what has become of it, while it is found.

import { counted } from "../client/cli/format.ts";
import { Output } from "../client/cli/output.ts";
import type { FsckSummary, ReportedFinding } from "../mds/fsck/fsck.ts";
import type { CheckProgress } from "../mds/fsck/fsck.ts";
import { type Globals, UsageError } from "../shared/command_line.ts";
import { loggerOf } from "../shared/logging.ts";
import type { Store } from "../shared/store/store.ts";
import { asUsageError } from "./configuration_errors.ts";
import type { ProgramContext } from "./context.ts";
import { StatusLine } from "./status_line.ts";

export interface FsckFlags {
  readonly store: string;
  readonly repair?: boolean;
  readonly deleteOrphans?: boolean;
  readonly objects: boolean;
}

export async function runFsck(
  context: ProgramContext,
  flags: FsckFlags,
  globals: Globals,
): Promise<void> {
  const { environment, signal } = context;
  if (flags.deleteOrphans && !flags.repair) {
    throw new UsageError("Cannot delete orphans without a repair: give --repair as well");
  }
  const { fsck } = await import("../mds/fsck/fsck.ts");
  const { clusterName, json } = globals;
  await using opened = new AsyncDisposableStack();
  const store = await openExisting(context, flags.store);
  opened.defer(() => store.close());
  using line = new StatusLine(environment.clock);
  const output = new Output(Deno.stdout);
  output.beforeMessage = line.clear;
  const summary = await fsck({
    ...{ environment, store, clusterName, signal },
    mgs: flags.objects ? globals.mgs : undefined,
    repair: flags.repair === true,
    deleteOrphans: flags.deleteOrphans === true,
    log: loggerOf("client"),
    onProgress: (progress) => line.show(formatProgress(progress, line.passedMs)),
    onFinding: async (finding) => {
      line.clear();
      if (json) await output.json(describeFinding(finding));
      else await output.line(output.name(formatFinding(finding)));
      await output.flush();
    },
    onFailure: (targetIndex, { message }) => {
      output.message(`Cannot check OST ${targetIndex}: ${message}`);
      context.setExitCode(1);
    },
  });
  line.clear();
  if (json) await output.json(describeSummary(summary));
  else await output.line(formatSummary(summary));
  await output.flush();
  if (!isClean(summary)) context.setExitCode(1);
}

/** A store that is not there is not made. */
export async function openExisting(context: ProgramContext, url: string): Promise<Store> {
  if (url.startsWith("sqlite:")) await requireFile(url, url.slice("sqlite:".length));
  return await openStoreAt(context, url);
}

/** What cannot be opened whenever it is tried is a fault of whoever gave the URL. */
export async function openStoreAt({ environment }: ProgramContext, url: string): Promise<Store> {
  const { openStore } = await import("../shared/store/open.ts");
  try {
    return await openStore(url, environment.clock);
  } catch (error) {
    throw asUsageError(error);
  }
}

async function requireFile(url: string, path: string): Promise<void> {
  try {
    await Deno.stat(path);
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) return;
    throw new UsageError(`Cannot open the store "${url}": there is no such file`);
  }
}

function isClean({ findings, undecided, failedTargets }: FsckSummary): boolean {
  return findings.found + findings.unrepaired + undecided + failedTargets.length === 0;
}

// ── text ───────────────────────────────────────────────────────────────────────────────────────

function formatProgress({ stage, done, expected }: CheckProgress, passedMs: number): string {
  const of = expected === undefined || expected < done ? "" : ` of ${expected}`;
  return `checking ${stage}: ${done}${of}, ${Math.round(passedMs / 1000)} s`;
}

function formatFinding({ kind, message, outcome, reason }: ReportedFinding): string {
  const text = message.slice(0, 1).toUpperCase() + message.slice(1);
  const end = outcome === "found" ? "" : outcome === "repaired" ? ": repaired" : `: not repaired`;
  return `${kind}: ${text}${end}${reason === undefined ? "" : `: ${reason}`}`;
}

function formatSummary(summary: FsckSummary): string {
  const { inodes, entries, objects, findings, undecided, uncomparedCounters } = summary;
  const busy = uncomparedCounters === 0
    ? ""
    : ` (but ${counted(uncomparedCounters, "counter")} that changed meanwhile)`;
  const checked = `${counted(inodes, "inode")}, ${counted(entries, "name")} and ` +
    `${counted(objects, "object")} checked${busy}`;
  const { found, repaired, unrepaired } = findings;
  const ends = [
    ...(repaired > 0 ? [`${repaired} repaired`] : []),
    ...(found + unrepaired > 0 ? [`${found + unrepaired} left`] : []),
    ...(undecided > 0 ? [`${undecided} changed all the time: check again`] : []),
  ];
  const all = found + repaired + unrepaired;
  if (all + undecided === 0) return `${checked}, all is well`;
  return `${checked}, ${counted(all, "finding")}: ${ends.join(", ")}`;
}

// ── JSON ───────────────────────────────────────────────────────────────────────────────────────

function describeFinding({ ino, targetIndex, ...finding }: ReportedFinding) {
  return {
    type: "finding",
    ...finding,
    ...(ino === undefined ? {} : { ino: String(ino) }),
    ...(targetIndex === undefined ? {} : { ost: targetIndex }),
  };
}

function describeSummary({ failedTargets, ...summary }: FsckSummary) {
  return { type: "summary", ...summary, failedOsts: failedTargets };
}
