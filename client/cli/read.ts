// cat and readlink.

import { UsageError } from "../../shared/command_line.ts";
import { downloadStream } from "../transfer/download.ts";
import { remotePaths } from "./arguments.ts";
import type { Job } from "./session.ts";

export interface CatFlags {
  readonly offset?: number;
  readonly length?: number;
}

export function cat(operands: readonly string[], { offset, length }: CatFlags): Job {
  const paths = remotePaths(operands);
  if (paths.length > 1 && (offset !== undefined || length !== undefined)) {
    throw new UsageError("Cannot use --offset and --length with more than one PATH");
  }
  return {
    async run(session) {
      const { fileSystem, signal, output } = session;
      const sink = output.asSink();
      await session.each(paths, async (path) => {
        await downloadStream(fileSystem, path, sink, {
          name: "standard output",
          signal,
          offsetBytes: offset,
          lengthBytes: length,
        });
      });
    },
  };
}

export function readlink(operands: readonly string[]): Job {
  const paths = remotePaths(operands);
  return {
    async run(session) {
      const { fileSystem, signal, json, output } = session;
      await session.each(paths, async (path) => {
        const target = await fileSystem.readlink(path, { signal });
        if (json) await output.json({ path, target });
        else await output.line(output.name(target));
      });
    },
  };
}
