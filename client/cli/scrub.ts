// admin scrub: says what is damaged on the OSTs and what has become of it, while it is found.

import { unreachable } from "../../shared/assert.ts";
import { RustreError } from "../../shared/errors.ts";
import type { ScrubFinding, ScrubSummary } from "../mod.ts";
import { counted, formatBytes } from "./format.ts";
import { Progress } from "./progress.ts";
import type { ClientSession, Job } from "./session.ts";

export interface ScrubFlags {
  readonly ost?: number;
  readonly repair: boolean;
}

export function scrub(_operands: readonly string[], { ost, repair }: ScrubFlags): Job {
  return {
    async run(session) {
      const { cluster, environment, signal, output, json } = session;
      using progress = await Progress.create(environment.clock);
      output.beforeMessage = progress.clear;
      const summary = await cluster.scrub({
        targets: ost === undefined ? undefined : [ost],
        repair,
        signal,
        onProgress: ({ expectedBytes, bytes }) => {
          progress.update({ expectedBytes, movedBytes: bytes });
        },
        onFinding: async (finding) => {
          progress.clear();
          if (json) await output.json(describeFinding(finding));
          else await output.line(formatFinding(finding));
          await output.flush();
        },
        onFailure: (targetIndex, { code, message }) => {
          session.failed(new RustreError(code, `Cannot scrub OST ${targetIndex}: ${message}`));
        },
      });
      progress.clear();
      if (json) await output.json(describeSummary(summary));
      else await output.line(formatSummary(summary));
      sayWhatIsLeft(session, summary);
    },
  };
}

/** What is damaged still makes the command fail. */
function sayWhatIsLeft({ failed }: ClientSession, { findings }: ScrubSummary): void {
  const say = (count: number, reason: string) => {
    if (count === 0) return;
    const message = `Cannot repair ${counted(count, "damaged range")}: ${reason}`;
    failed(new RustreError("DATA_CORRUPT", message));
  };
  say(findings.lost, "no replica has a good copy of all their blocks");
  say(findings.failed, "see what hinders it above, and scrub again");
  say(findings.damaged, "scrub again without --no-repair");
}

// ── text ───────────────────────────────────────────────────────────────────────────────────────

function formatFinding(finding: ScrubFinding): string {
  const { object, ino, targetIndex, offsetBytes, lengthBytes } = finding;
  const range = `bytes ${offsetBytes}-${offsetBytes + lengthBytes - 1}`;
  const where = `object ${object} of inode ${ino} on OST ${targetIndex}, ${range}`;
  return `damaged: ${where}: ${formatOutcome(finding)}`;
}

function formatOutcome({ outcome, reason }: ScrubFinding): string {
  switch (outcome) {
    case "repaired":
    case "lost":
      return outcome;
    case "gone":
      return "its file is gone";
    case "failed":
      return `not repaired: ${reason}`;
    case "damaged":
      return "not repaired";
    default:
      return unreachable(outcome, "outcome of a scrub");
  }
}

function formatSummary({ objects, bytes, findings }: ScrubSummary): string {
  const { repaired, lost, gone, failed, damaged } = findings;
  const all = repaired + lost + gone + failed + damaged;
  const checked = `${counted(objects, "object")} with ${formatBytes(bytes)} checked`;
  if (all === 0) return `${checked}, nothing is damaged`;
  const ends = [
    `${repaired} repaired`,
    `${lost} lost`,
    ...(failed + damaged > 0 ? [`${failed + damaged} not repaired`] : []),
    ...(gone > 0 ? [`${gone} of files that are gone`] : []),
  ];
  return `${checked}, ${counted(all, "damaged range")}: ${ends.join(", ")}`;
}

// ── JSON ───────────────────────────────────────────────────────────────────────────────────────

function describeFinding({ ino, targetIndex, ...finding }: ScrubFinding) {
  return { type: "damaged", ost: targetIndex, ino: String(ino), ...finding };
}

function describeSummary({ objects, bytes, findings, failedTargets }: ScrubSummary) {
  return { type: "summary", objects, bytes, findings, failedOsts: failedTargets };
}
