// put, get and cp: which path each source gets, and the counts at the end. The transfers themselves
// are in client/transfer/.

import { sameAddress } from "../../shared/address.ts";
import { UsageError } from "../../shared/command_line.ts";
import { isRustreError, meaningOf, RustreError } from "../../shared/errors.ts";
import type { LayoutWish } from "../../shared/model.ts";
import {
  type Destination,
  localDestination,
  pathAt,
  remoteDestination,
} from "../transfer/destination.ts";
import { download, downloadStream } from "../transfer/download.ts";
import type { TransferOptions, TransferSummary } from "../transfer/transfer.ts";
import { upload, uploadStream } from "../transfer/upload.ts";
import {
  parseRemoteOperand,
  type RemoteOperand,
  remotePath,
  remotePaths,
  sourcesAndDestination,
} from "./arguments.ts";
import { Progress } from "./progress.ts";
import type { ClientSession, Job } from "./session.ts";

export interface CopyFlags {
  readonly recursive?: boolean;
  readonly force?: boolean;
}

export interface PutFlags extends CopyFlags {
  readonly stripes?: number;
  readonly stripeSize?: number;
  readonly replicas?: number;
}

type CopyOne = (source: string, options: TransferOptions) => Promise<TransferSummary>;

const standardStream = "-";

export function put(operands: readonly string[], flags: PutFlags): Job {
  const { sources, destination } = sourcesAndDestination(operands);
  remotePath(destination);
  return putJob(sources, destination, flags);
}

export function get(operands: readonly string[], flags: CopyFlags): Job {
  const { sources, destination } = sourcesAndDestination(operands);
  return getJob(remotePaths(sources), destination, flags);
}

/** The same two with the cluster in the path. */
export function cp(operands: readonly string[], flags: PutFlags): Job {
  const { sources, destination } = sourcesAndDestination(operands);
  const to = parseRemoteOperand(destination);
  const from = sources.map(parseRemoteOperand);
  if (to && from.every((source) => source === undefined)) {
    return { ...putJob(sources, to.path, flags), mgs: to.mgs };
  }
  if (to || !from.every((source) => source !== undefined)) {
    throw new UsageError(
      "Cannot copy: either SRC or DST, and not both, must be on a cluster, as HOST:PORT:/path",
    );
  }
  if (
    flags.stripes !== undefined || flags.stripeSize !== undefined || flags.replicas !== undefined
  ) {
    throw new UsageError("Cannot stripe local files: -c, -S and -R are for copies to a cluster");
  }
  return { ...getJob(from.map(({ path }) => path), destination, flags), mgs: sameMgs(from) };
}

function sameMgs(sources: readonly RemoteOperand[]) {
  const [first, ...others] = sources.map(({ mgs }) => mgs);
  const isSame = (mgs: RemoteOperand["mgs"]) =>
    mgs.length === first?.length && mgs.every((each, index) => {
      const other = first[index];
      return other !== undefined && sameAddress(each, other);
    });
  if (others.every(isSame)) return first;
  throw new UsageError("Cannot copy from several clusters at once");
}

// ── put ────────────────────────────────────────────────────────────────────────────────────────

function putJob(sources: readonly string[], destination: string, flags: PutFlags): Job {
  if (sources.filter((source) => source === standardStream).length > 1) {
    throw new UsageError(`Cannot read standard input ("-") more than once`);
  }
  const layout: LayoutWish = {
    stripeCount: flags.stripes,
    stripeBytes: flags.stripeSize,
    replicas: flags.replicas,
  };
  return {
    async run(session) {
      const { fileSystem, signal } = session;
      const options = { sources: sources.length, signal };
      const to = await remoteDestination(fileSystem, destination, options);
      const totals = await copyEach(session, sources, flags, (source, options) => {
        return source === standardStream
          ? putStandardInput(session, to, { ...options, layout })
          : upload(fileSystem, source, pathAt(to, source), { ...options, layout });
      });
      await reportTotals(session, totals);
    },
  };
}

function putStandardInput(
  { fileSystem }: ClientSession,
  { path, isDirectory }: Destination,
  options: TransferOptions,
): Promise<TransferSummary> {
  if (isDirectory) {
    const message = `Cannot upload standard input to "${path}": is a directory, name the file`;
    throw new RustreError("EISDIR", message);
  }
  const mode = 0o666 & ~Deno.umask();
  return uploadStream(fileSystem, Deno.stdin, path, { ...options, name: "standard input", mode });
}

// ── get ────────────────────────────────────────────────────────────────────────────────────────

function getJob(sources: readonly string[], destination: string, flags: CopyFlags): Job {
  return {
    async run(session) {
      const { fileSystem, output } = session;
      if (destination === standardStream) {
        const sink = output.asSink();
        await copyEach(session, sources, flags, (source, options) => {
          return downloadStream(fileSystem, source, sink, { ...options, name: "standard output" });
        });
        return;
      }
      const to = localDestination(destination, { sources: sources.length });
      const totals = await copyEach(session, sources, flags, (source, options) => {
        return download(fileSystem, source, pathAt(to, source), options);
      });
      await reportTotals(session, totals);
    },
  };
}

// ── both ───────────────────────────────────────────────────────────────────────────────────────

interface Totals extends Omit<TransferSummary, "failures"> {
  readonly seconds: number;
}

async function copyEach(
  session: ClientSession,
  sources: readonly string[],
  flags: CopyFlags,
  copy: CopyOne,
): Promise<Totals> {
  const { environment, signal, output } = session;
  using progress = await Progress.create(environment.clock);
  output.beforeMessage = progress.clear;
  const options = {
    environment,
    signal,
    recursive: flags.recursive,
    replace: flags.force,
    onFailure: (error: unknown) => session.failed(withRemedy(error, flags)),
    onProgress: progress.update,
  };
  const startMs = environment.clock.monotonicMs();
  const totals = { files: 0, directories: 0, symlinks: 0, bytes: 0 };
  await session.each(sources, async (source) => {
    const summary = await copy(source, options).catch((error) => {
      throw withRemedy(error, flags);
    });
    totals.files += summary.files;
    totals.directories += summary.directories;
    totals.symlinks += summary.symlinks;
    totals.bytes += summary.bytes;
    progress.next();
  });
  return { ...totals, seconds: (environment.clock.monotonicMs() - startMs) / 1000 };
}

function withRemedy(error: unknown, { force }: CopyFlags): unknown {
  if (force || !isRustreError(error, "EEXIST")) return error;
  if (!error.message.endsWith(`: ${meaningOf("EEXIST")}`)) return error;
  return new RustreError("EEXIST", `${error.message}; -f replaces files`, { cause: error });
}

async function reportTotals({ json, output }: ClientSession, totals: Totals): Promise<void> {
  if (json) await output.json(totals);
}
