// Sets times of local files to the nanosecond. The platform's own functions know milliseconds, so
// libc is asked where there is one; elsewhere the milliseconds have to do.

import { futimesSync } from "node:fs";
import { type Times, writeTimes, writeTimesOf } from "../../shared/libc.ts";

export type { Times } from "../../shared/libc.ts";

/** Sets the times of the file itself, if it is a symbolic link. Rejects with the platform's error. */
export async function setTimes(path: string, times: Times): Promise<void> {
  if (writeTimes(path, times)) return;
  // It also says why it cannot be done. A link's own times cannot be set this way.
  if ((await Deno.lstat(path)).isSymlink) return;
  await Deno.utime(path, seconds(times.atimeNs), seconds(times.mtimeNs));
}

/** {@link setTimes} of an open file. Throws the platform's error. */
export function setTimesOf(descriptor: number, times: Times): void {
  if (writeTimesOf(descriptor, times)) return;
  futimesSync(descriptor, seconds(times.atimeNs), seconds(times.mtimeNs));
}

function seconds(timeNs: bigint): number {
  return Number(timeNs) / 1e9;
}
