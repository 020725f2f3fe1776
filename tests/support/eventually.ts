// Waiting for what real processes do in their own time.

import assert from "node:assert/strict";

const intervalMs = 100;

/** Resolves when `holds` says so; rejects where it has not within `timeoutMs`. */
export async function eventually(
  holds: () => Promise<boolean>,
  timeoutMs = 60_000,
): Promise<void> {
  const endMs = performance.now() + timeoutMs;
  while (!await holds()) {
    assert(performance.now() < endMs, "it did not happen in time");
    await new Promise((resolve) => setTimeout(resolve, intervalMs));
  }
}
