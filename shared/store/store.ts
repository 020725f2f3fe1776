// The store interface: serializable transactions over ordered byte keys, in FoundationDB's
// semantics. Engines: memory.ts, sqlite.ts, foundationdb.ts. The contract below is what
// tests/contract/store.ts checks on each engine; nothing that one engine has alone may show through
// it.

/**
 * A byte string: every UTF-16 unit is one byte, 0 to 255, the first below 255. JavaScript's own
 * order of such strings is the byte order of the key, they concatenate and hash without copies, and
 * no encoder runs on the hot path. Text enters through {@link textToKey}.
 */
export type Key = string;

/** From `begin` (inclusive) to `end` (exclusive). */
export interface KeyRange {
  readonly begin: Key;
  readonly end: Key;
}

export interface KeyValue {
  readonly key: Key;
  readonly value: Uint8Array;
}

export interface GetOptions {
  /** Do not make the commit depend on what was read. */
  readonly snapshot?: boolean;
}

export interface RangeOptions extends GetOptions {
  /** At most this many, from 1 to limits.rangeEntriesMax. */
  readonly limit: number;
  /** The last keys first. */
  readonly reverse?: boolean;
}

/**
 * Reads of one moment: everything a transaction reads is of the same version of the store, as if
 * no other transaction ran. An engine that cannot give an old version any more fails the read with
 * CONFLICT, and {@link transact} runs the operation again. What is read belongs to the store: do
 * not change it.
 */
export interface ReadTransaction {
  get(key: Key, options?: GetOptions): Promise<Uint8Array | undefined>;
  /** In key order (or reverse); with the transaction's own writes applied. */
  getRange(range: KeyRange, options: RangeOptions): Promise<KeyValue[]>;
}

/**
 * Writes are buffered, visible to the transaction's own reads, and take effect together at the
 * commit or not at all. The commit is refused with CONFLICT if a key or range that was read (not
 * as a snapshot), or named in addReadConflictRange, was written by a transaction that committed
 * after this one began reading.
 */
export interface Transaction extends ReadTransaction {
  /** The value is not copied: do not change it afterwards. */
  set(key: Key, value: Uint8Array): void;
  delete(key: Key): void;
  deleteRange(range: KeyRange): void;
  /**
   * Adds to a 64-bit little-endian two's complement integer, a missing one being 0, without
   * reading it: concurrent adds to one key do not conflict with each other. A stored value of
   * another length is damage. An engine that sees it refuses the commit with STORE_FORMAT;
   * FoundationDB does not, and cuts or fills up the value to 64 bits.
   */
  add(key: Key, delta: bigint): void;
  /** As if the range had been read. */
  addReadConflictRange(range: KeyRange): void;
  /** As if the range had been written, without changing it. */
  addWriteConflictRange(range: KeyRange): void;
}

/** What an engine gives: a transaction that its owner commits or cancels, once. */
export interface OpenTransaction extends Transaction {
  /**
   * Resolves when the writes are durable, and for a transaction without writes when everything it
   * read is durable. Rejects with CONFLICT or STORE_BUSY (nothing happened), COMMIT_UNKNOWN (it may
   * have, or may yet), TRANSACTION_TOO_LARGE, TRANSACTION_TOO_OLD (over limits.transactionMs),
   * STORE_FAILED.
   * After it, every other call on the transaction is a bug.
   */
  commit(): Promise<void>;
  /**
   * Forgets the writes. Resolves when everything it read is durable, so that an answer drawn from
   * it ("already exists") holds after a power cut; else STORE_FAILED. A call after the end of the
   * transaction does nothing.
   */
  cancel(): Promise<void>;
}

/** Reads that end without a commit. */
export interface OpenReading extends ReadTransaction {
  /** Once; after it, every other call is a bug. */
  end(): void;
}

/** A store engine, opened. */
export interface Store {
  /** For messages: the URL it was opened with. */
  readonly url: string;
  /**
   * Each read is a way over a network and back, and the second read of a key in one transaction is
   * not: it is worth work to ask for everything at once.
   */
  readonly isRemote?: boolean;
  begin(): OpenTransaction;
  /**
   * For what only reads, where the engine has a cheaper way: several that begin together may be of
   * one version, which is none older than the call.
   */
  beginReading?(): OpenReading;
  /** Waits for commits under way; later calls fail with STORE_CLOSED. Idempotent. */
  close(): Promise<void>;
}

const utf8Encoder = new TextEncoder();
const utf8Decoder = new TextDecoder("utf-8", { fatal: true });

// deno-lint-ignore no-control-regex
const asciiOnly = /^[\x00-\x7f]*$/;

/** The UTF-8 bytes of `text` as a key. Pure ASCII is returned as it is. */
export function textToKey(text: string): Key {
  return asciiOnly.test(text) ? text : bytesToKey(utf8Encoder.encode(text));
}

/** The inverse of {@link textToKey}; throws TypeError on bytes that are not UTF-8. */
export function keyToText(key: Key): string {
  return asciiOnly.test(key) ? key : utf8Decoder.decode(keyToBytes(key));
}

export function bytesToKey(bytes: Uint8Array): Key {
  let key = "";
  for (const byte of bytes) key += String.fromCharCode(byte);
  return key;
}

export function keyToBytes(key: Key): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(key.length);
  for (let index = 0; index < key.length; index++) bytes[index] = key.charCodeAt(index);
  return bytes;
}

/** All keys that start with `prefix`, which must hold a byte other than 0xff. */
export function prefixRange(prefix: Key): KeyRange {
  return { begin: prefix, end: keyAfterPrefix(prefix) };
}

/** The smallest key after `key`. */
export function keyAfter(key: Key): Key {
  return key + "\x00";
}

function keyAfterPrefix(prefix: Key): Key {
  let length = prefix.length;
  while (length > 0 && prefix.charCodeAt(length - 1) === 0xff) length--;
  if (length === 0) throw new RangeError("Cannot end the range of a prefix of 0xff bytes alone");
  return prefix.slice(0, length - 1) + String.fromCharCode(prefix.charCodeAt(length - 1) + 1);
}
