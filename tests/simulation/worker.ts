// The script of a worker thread: runs the seeds that it is sent, each wholly on this thread.

/// <reference lib="deno.worker" />

import { type RunOptions, runSeed } from "./simulation.ts";

self.onmessage = async ({ data }: MessageEvent<RunOptions>) => {
  self.postMessage(await runSeed(data));
};
