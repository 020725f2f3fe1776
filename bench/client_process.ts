// A client command in a process of its own, and the memory that it took.

import { formatAddress } from "../shared/address.ts";
import { spawnRustre } from "../tests/support/processes.ts";
import { type BenchCluster, peakBytes } from "./harness.ts";

/** Runs `rustre client` with these arguments to its end; what it prints is dropped. */
export async function startClient(
  { mgs }: BenchCluster,
  args: readonly string[],
): Promise<{ peakBytes: number }> {
  const streams = { stdin: "null", stdout: "null", stderr: "inherit" } as const;
  const child = spawnRustre(["--mgs", formatAddress(mgs), "client", ...args], streams);
  let peak = 0;
  // The peak only grows: what is read last is what it was, up to the end but for an instant.
  const watch = setInterval(() => peak = Math.max(peak, peakBytes(child.pid)), 20);
  const { code } = await child.status;
  clearInterval(watch);
  if (code !== 0) throw new Error(`rustre client ${args.join(" ")} ended with ${code}`);
  return { peakBytes: peak };
}
