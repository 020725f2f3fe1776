// What is used of the FoundationDB client library, and how it is found: it is loaded when the first
// store of its kind is opened, so that nothing else needs it.

import type { Buffer } from "node:buffer";
import { isRustreError, messageOf, RustreError } from "../errors.ts";
import { otherThanFile } from "../file_kind.ts";
import { platformReason } from "../platform_errors.ts";
import { numberOf } from "./foundationdb_errors.ts";

/** A key in the database by its place: `offset` keys after the last one below `key`, or up to it. */
export interface KeySelector {
  readonly key: Buffer;
  readonly orEqual: boolean;
  readonly offset: number;
  readonly _isKeySelector: true;
}

export interface NativeRows {
  readonly results: [Buffer, Buffer][];
  /** Whether the read ended before its range did. */
  readonly more: boolean;
}

/** A transaction of the library; its errors are Error objects with a numeric `code`. */
export interface NativeTransaction {
  /** The same transaction, of which reads do not conflict. */
  snapshot(): NativeTransaction;
  get(key: Buffer): Promise<Buffer | undefined>;
  getRangeNative(
    begin: KeySelector,
    end: KeySelector,
    limit: number,
    targetBytes: number,
    streamingMode: number,
    iteration: number,
    reverse: boolean,
  ): Promise<NativeRows>;
  getReadVersion(): Promise<unknown>;
  setOption(option: number): void;
  set(key: Buffer, value: Buffer): void;
  clear(key: Buffer): void;
  clearRange(begin: Buffer, end: Buffer): void;
  atomicOpNative(operation: number, key: Buffer, operand: Buffer): void;
  addReadConflictRange(begin: Buffer, end: Buffer): void;
  addWriteConflictRange(begin: Buffer, end: Buffer): void;
  rawCommit(): Promise<void>;
  /** Makes it as new; reads under way fail. */
  rawReset(): void;
}

export interface NativeDatabase {
  rawCreateTransaction(): NativeTransaction;
  close(): void;
}

interface ClientLibrary {
  setAPIVersion(version: number): void;
  open(clusterFile: string, options: { transaction_timeout: number }): NativeDatabase;
}

/** The newest that the package knows, of FoundationDB 7.2; later 7.x have it too. */
const apiVersion = 720;

/** Rejects for what is no cluster file, with the reason why it cannot be read, or EINVAL. */
export async function checkClusterFile(url: string, path: string): Promise<void> {
  let text: string;
  try {
    const other = otherThanFile(await Deno.stat(path));
    if (other === "a pipe" || other === "a socket") {
      throw new RustreError("EINVAL", `it is ${other}`);
    }
    text = await Deno.readTextFile(path);
  } catch (error) {
    const { code, reason } = isRustreError(error)
      ? { code: error.code, reason: error.message }
      : platformReason(error);
    throw new RustreError(
      code,
      `Cannot open the store "${url}": the cluster file cannot be read: ${reason}`,
      { cause: error },
    );
  }
  const lines = text.split("\n").map((line) => line.trim());
  const [connection, ...more] = lines.filter((line) => line !== "" && !line.startsWith("#"));
  if (connection !== undefined && more.length === 0 && connectionForm.test(connection)) return;
  throw new RustreError(
    "EINVAL",
    `Cannot open the store "${url}": the file is no FoundationDB cluster file, whose one line is ` +
      "DESCRIPTION:ID@HOST:PORT,…",
  );
}

const connectionForm = /^\w+:\w+@\S+:\d+(:tls)?(,\S+:\d+(:tls)?)*$/;

let loading: Promise<ClientLibrary> | undefined;

/** Rejects with ENOENT without libfdb_c, and WRONG_VERSION where it is another one. */
export async function openDatabase(
  url: string,
  path: string,
  timeoutMs: number,
): Promise<NativeDatabase> {
  const library = await (loading ??= load(url));
  return library.open(path, { transaction_timeout: timeoutMs });
}

async function load(url: string): Promise<ClientLibrary> {
  let library: ClientLibrary;
  try {
    library = await import("foundationdb");
  } catch (error) {
    throw new RustreError(
      "ENOENT",
      `Cannot open the store "${url}": the FoundationDB client library cannot be loaded ` +
        `(${firstLineOf(error)}); install foundationdb-clients 7.3`,
      { cause: error },
    );
  }
  try {
    library.setAPIVersion(apiVersion);
  } catch (error) {
    if (numberOf(error) === undefined) throw error;
    throw new RustreError(
      "WRONG_VERSION",
      `Cannot open the store "${url}": the FoundationDB client library does not speak API ` +
        `version ${apiVersion}: ${messageOf(error)}; install foundationdb-clients 7.3`,
      { cause: error },
    );
  }
  return library;
}

function firstLineOf(error: unknown): string {
  return messageOf(error).split("\n")[0]!;
}
