// What an OST says of its space, compared with the objects that it lists.

import { createHash } from "node:crypto";
import { limits } from "../../shared/limits.ts";
import { type CheckContext, pause } from "./reading.ts";
import type { ListedObject, Targets } from "./targets.ts";

/** The objects of an OST, counted while they are listed. */
export class Listing {
  objects = 0;
  bytes = 0;
  readonly #hash = createHash("sha256");

  add(page: readonly ListedObject[]): void {
    this.objects += page.length;
    for (const { object, lengthBytes } of page) {
      this.bytes += lengthBytes;
      this.#hash.update(`${object} ${lengthBytes}\n`);
    }
  }

  /** Once: the same of listings of the same objects. */
  digest(): string {
    return this.#hash.digest("hex");
  }
}

/**
 * An OST tells its usage with a delay. So it is compared with two listings: where they are the same,
 * an object that is gone never coming back, there was nothing else in the time between them.
 */
export async function checkUsage(
  context: CheckContext,
  targets: Targets,
  index: number,
  listing: Listing,
): Promise<void> {
  const usage = await targets.usageOf(index);
  if (!usage || isOf(usage, listing)) return;
  for (let passedMs = 0; passedMs < limits.checkUsageDelayMs; passedMs += limits.probeIntervalMs) {
    await pause(context, limits.probeIntervalMs);
    const now = await targets.usageOf(index);
    if (!now || isOf(now, listing)) return;
    const isSame = now.objects === usage.objects && now.usedBytes === usage.usedBytes;
    if (!isSame) return context.report.addUncompared();
  }
  const again = new Listing();
  for await (const page of targets.listObjects(index)) again.add(page);
  if (targets.failed.includes(index)) return;
  if (again.digest() !== listing.digest()) return context.report.addUncompared();
  const message = `OST ${index} has ${listing.objects} objects with ${listing.bytes} bytes, and ` +
    `says that it has ${usage.objects} with ${usage.usedBytes}`;
  await context.report.add(
    { kind: "wrong-usage", targetIndex: index, message },
    "an oss counts again when it is started",
  );
}

function isOf(usage: { objects: number; usedBytes: number }, { objects, bytes }: Listing): boolean {
  return usage.objects === objects && usage.usedBytes === bytes;
}
