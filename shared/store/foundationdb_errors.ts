// What FoundationDB's error numbers mean for a transaction: one table, and the messages.

import { AssertionError } from "../assert.ts";
import { type ErrorCode, isRustreError, messageOf, RustreError } from "../errors.ts";

/** What happened when the error ended a read, and when it ended a commit. */
interface Meaning {
  readonly read: ErrorCode;
  readonly commit: ErrorCode;
}

const both = (code: ErrorCode): Meaning => ({ read: code, commit: code });
/** A commit that was under way may have happened, or may yet happen. */
const unknownCommit = (read: ErrorCode): Meaning => ({ read, commit: "COMMIT_UNKNOWN" });

const meanings: ReadonlyMap<number, Meaning> = new Map([
  [1007, both("TRANSACTION_TOO_OLD")], // transaction_too_old
  [1020, both("CONFLICT")], // not_committed
  [1021, unknownCommit("STORE_FAILED")], // commit_unknown_result
  [1025, unknownCommit("STORE_FAILED")], // transaction_cancelled
  [1031, unknownCommit("STORE_FAILED")], // transaction_timed_out
  [1039, unknownCommit("STORE_BUSY")], // cluster_version_changed

  // Nothing happened, and the database says that the same transaction may succeed.
  [1009, both("STORE_BUSY")], // future_version
  [1037, both("STORE_BUSY")], // process_behind
  [1042, both("STORE_BUSY")], // commit_proxy_memory_limit_exceeded
  [1051, both("STORE_BUSY")], // batch_transaction_throttled
  [1078, both("STORE_BUSY")], // grv_proxy_memory_limit_exceeded
  [1213, both("STORE_BUSY")], // tag_throttled
  [1223, both("STORE_BUSY")], // proxy_tag_throttled

  [2101, both("TRANSACTION_TOO_LARGE")], // transaction_too_large
  [2102, both("TRANSACTION_TOO_LARGE")], // key_too_large
  [2103, both("TRANSACTION_TOO_LARGE")], // value_too_large

  [2201, both("WRONG_VERSION")], // api_version_already_set
  [2202, both("WRONG_VERSION")], // api_version_invalid
  [2203, both("WRONG_VERSION")], // api_version_not_supported
]);

/** What the numbers alone do not tell an operator. */
const hints: ReadonlyMap<number, string> = new Map([
  [1031, "no answer in time; is it reachable, available, and of the client library's version"],
  [1038, "the database is locked, as while it is restored"],
  [1515, "there is no cluster file"],
  [2104, "the cluster file has no valid connection string"],
]);

/** The error of a read, as the store interface has it. Bugs and operating errors pass. */
export function readError(url: string, error: unknown): unknown {
  return translated(url, "read", error);
}

/** The error of a commit. */
export function commitError(url: string, error: unknown): unknown {
  return translated(url, "commit", error);
}

/** FoundationDB's number, of an error that is its own. */
export function numberOf(error: unknown): number | undefined {
  const { code } = error as { code?: unknown };
  return error instanceof Error && typeof code === "number" ? code : undefined;
}

function translated(url: string, what: keyof Meaning, error: unknown): unknown {
  if (isRustreError(error) || error instanceof AssertionError) return error;
  const number = numberOf(error);
  if (number === undefined) return error;
  const code = meanings.get(number)?.[what] ?? "STORE_FAILED";
  const action = what === "read" ? "read" : "commit to";
  const reason = hints.get(number) ?? reasonOf(error);
  return new RustreError(code, `Cannot ${action} the store "${url}": ${reason} (${number})`, {
    cause: error,
  });
}

/** FoundationDB's own words, without a capital and a full stop. */
function reasonOf(error: unknown): string {
  const text = messageOf(error).replace(/\.$/, "");
  return text.charAt(0).toLowerCase() + text.slice(1);
}
