// Which errors are the configuration's: a supervisor is not to start the same again after them.

import { UsageError } from "../shared/command_line.ts";
import { type ErrorCode, isRustreError } from "../shared/errors.ts";

const configurationErrors: readonly ErrorCode[] = [
  "EINVAL",
  "EACCES",
  "ENOENT",
  "ENOTDIR",
  "EISDIR",
  "ENOTEMPTY",
  "WRONG_CLUSTER",
  "WRONG_TARGET",
  "WRONG_ROLE",
  "WRONG_VERSION",
  "STORE_FORMAT",
];

/** Of a start, or of opening a store: a {@link UsageError} in place of one that will come again. */
export function asUsageError(error: unknown): unknown {
  if (!isRustreError(error, ...configurationErrors)) return error;
  return new UsageError(error.message, { cause: error });
}
