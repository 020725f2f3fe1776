// Bytes that an object had and has no more are never replaced by zeros, as a write behind them or a
// resize would do: the writer says how many bytes are known to have been there.

import { RustreError } from "../shared/errors.ts";
import type { ObjectId } from "../shared/model.ts";
import type { ObjectStore } from "./object_store.ts";

/** Throws DATA_MISSING where the object has lost some of its first `bytes` bytes. */
export async function requireExisting(
  objects: Pick<ObjectStore, "stat">,
  object: ObjectId,
  bytes: number,
): Promise<void> {
  if (bytes === 0) return;
  const lengthBytes = await objects.stat(object) ?? 0;
  if (lengthBytes >= bytes) return;
  throw new RustreError(
    "DATA_MISSING",
    `Cannot change object "${object}": ${bytes} bytes before the change were written, and it has ` +
      `only ${lengthBytes} of them`,
  );
}
