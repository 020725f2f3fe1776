// The one table of operating errors: what travels on the wire as a number, what a program sees as
// a code, what a kernel sees as an errno, and what a caller may do next.

/**
 * - `never`: the same request will fail again.
 * - `later`: the same request may succeed after a while, or on another server.
 * - `refresh-map`: fetch the cluster map from the mgs, then try again.
 */
export type RetryClass = "never" | "later" | "refresh-map";

interface ErrorKind {
  /** The number on the wire. Never reused for another meaning. */
  readonly number: number;
  /** The nearest Linux error number. */
  readonly errno: number;
  readonly retry: RetryClass;
  /** Whether a mutation that failed this way may have taken effect. */
  readonly applied: "no" | "unknown";
  /** What it means, for people. */
  readonly meaning: string;
}

function kind(
  number: number,
  errno: number,
  meaning: string,
  retry: RetryClass = "never",
  applied: "no" | "unknown" = "no",
): ErrorKind {
  return { number, errno, retry, applied, meaning };
}

/** Codes that are named after an errno mean what the errno means; their number is the errno. */
const errorTable = {
  EPERM: kind(1, 1, "operation not permitted"),
  ENOENT: kind(2, 2, "no such file or directory"),
  EIO: kind(5, 5, "input/output error"),
  EBADF: kind(9, 9, "the file is closed or not open for this"),
  EAGAIN: kind(11, 11, "in the middle of something that ends soon", "later"),
  EACCES: kind(13, 13, "permission denied"),
  EBUSY: kind(16, 16, "in use"),
  EEXIST: kind(17, 17, "already exists"),
  ENOTDIR: kind(20, 20, "not a directory"),
  EISDIR: kind(21, 21, "is a directory"),
  EINVAL: kind(22, 22, "invalid argument"),
  EFBIG: kind(27, 27, "file too large"),
  ENOSPC: kind(28, 28, "no space left"),
  EROFS: kind(30, 30, "read-only"),
  EMLINK: kind(31, 31, "too many links"),
  ENAMETOOLONG: kind(36, 36, "name too long"),
  ENOTEMPTY: kind(39, 39, "directory is not empty"),
  ELOOP: kind(40, 40, "too many levels of symbolic links"),

  // 1000: requests and connections
  BAD_REQUEST: kind(1000, 22, "the request is malformed"),
  BAD_FRAME: kind(1001, 71, "the bytes are not a frame of this protocol"),
  UNKNOWN_OPERATION: kind(1002, 38, "the server does not know this operation"),
  WRONG_VERSION: kind(1003, 71, "the protocol versions differ"),
  UNREACHABLE: kind(1010, 113, "the server cannot be reached", "later"),
  CONNECTION_LOST: kind(1011, 104, "the connection was lost", "later", "unknown"),
  TIMED_OUT: kind(1012, 110, "no answer in time", "later", "unknown"),
  OVERLOADED: kind(1013, 11, "the server has too much to do", "later"),
  SHUTTING_DOWN: kind(1014, 108, "the server is stopping", "later"),
  INTERRUPTED: kind(1015, 4, "interrupted by the caller", "never", "unknown"),
  ADDRESS_UNREACHABLE: kind(1016, 113, "the advertised address cannot be reached", "later"),
  INTERNAL: kind(1019, 5, "a bug in the server", "never", "unknown"),

  // 1100: who is who
  WRONG_CLUSTER: kind(1100, 1, "belongs to another cluster"),
  WRONG_TARGET: kind(1101, 6, "this server does not serve that OST", "refresh-map"),
  WRONG_ROLE: kind(1102, 71, "the server has another role"),
  STALE_MAP: kind(1103, 116, "the cluster map is out of date", "refresh-map"),
  NOT_ENOUGH_TARGETS: kind(1104, 28, "not enough OSTs are up", "later"),
  TARGET_DOWN: kind(1105, 5, "an OST that is needed is down", "later"),
  WRONG_WORKER: kind(1106, 6, "another worker of this server has those objects", "later"),

  // 1200: the store
  CONFLICT: kind(1200, 11, "a concurrent transaction changed what this one read", "later"),
  COMMIT_UNKNOWN: kind(1201, 5, "the commit may or may not have happened", "later", "unknown"),
  TRANSACTION_TOO_LARGE: kind(1202, 7, "the transaction is over the store's limits"),
  TRANSACTION_TOO_OLD: kind(1203, 11, "the transaction took too long", "later"),
  STORE_CLOSED: kind(1204, 5, "the store is closed"),
  STORE_FAILED: kind(1205, 5, "the store failed", "later", "unknown"),
  STORE_FORMAT: kind(1206, 22, "the store holds something that is not rustre's"),
  LEASE_LOST: kind(1207, 11, "another process has taken over this job"),
  STORE_BUSY: kind(1208, 11, "the store cannot take the transaction now", "later"),

  // 1300: sessions and replays
  SESSION_OVER: kind(1300, 116, "the client's lease is over"),
  LATE_DUPLICATE: kind(1301, 116, "a newer request of this client took the place of this one"),

  // 1400: objects
  DATA_MISSING: kind(1400, 5, "bytes that should be there are missing"),
  OBJECT_GONE: kind(1401, 116, "the object's file was deleted"),
  WRITES_LOST: kind(1402, 5, "writes that were not synced may be lost", "never", "unknown"),
  CHECKSUM_MISMATCH: kind(1403, 5, "bytes were changed on their way", "later"),
  DATA_CORRUPT: kind(1404, 5, "bytes on an OST's disk do not match their checksums"),
} as const satisfies Record<string, ErrorKind>;

export type ErrorCode = keyof typeof errorTable;

const codeByNumber = new Map<number, ErrorCode>(
  (Object.keys(errorTable) as ErrorCode[]).map((code) => [errorTable[code].number, code]),
);

/** An operating error: something a correct program meets. See the table above for each code. */
export class RustreError extends Error {
  override readonly name = "RustreError";
  readonly code: ErrorCode;

  constructor(code: ErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }

  get number(): number {
    return errorTable[this.code].number;
  }

  get errno(): number {
    return errorTable[this.code].errno;
  }

  get retry(): RetryClass {
    return errorTable[this.code].retry;
  }

  get applied(): "no" | "unknown" {
    return errorTable[this.code].applied;
  }
}

/** The short meaning of a code, as `strerror` gives it. */
export function meaningOf(code: ErrorCode): string {
  return errorTable[code].meaning;
}

/** The code of a number from the wire; a number of a newer version is `EIO`. */
export function codeOfNumber(number: number): ErrorCode {
  return codeByNumber.get(number) ?? "EIO";
}

/** Every code with its number, for the documentation and its test. */
export function errorCodes(): { code: ErrorCode; kind: ErrorKind }[] {
  return (Object.keys(errorTable) as ErrorCode[]).map((code) => ({ code, kind: errorTable[code] }));
}

/** Whether `error` is an operating error, of one of `codes` where any are given. */
export function isRustreError(error: unknown, ...codes: ErrorCode[]): error is RustreError {
  return error instanceof RustreError && (codes.length === 0 || codes.includes(error.code));
}

/** The message of whatever was thrown. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
