// FoundationDB's client library as a test wants it to be.

import { Buffer } from "node:buffer";
import type {
  KeySelector,
  NativeDatabase,
  NativeRows,
  NativeTransaction,
} from "../../shared/store/foundationdb_client.ts";

/** As the library's. */
export class NativeError extends Error {
  readonly code: number;

  constructor(code: number, message: string) {
    super(message);
    this.code = code;
  }
}

/** Answers calls as `script` says, and writes down which there were. */
export class FakeDatabase implements NativeDatabase {
  readonly calls: string[] = [];
  created = 0;
  script: {
    get?: (key: string) => Promise<Buffer | undefined>;
    getRange?: (begin: string, end: string, limit: number) => Promise<NativeRows>;
    getReadVersion?: () => Promise<unknown>;
    commit?: () => Promise<void>;
  } = {};

  rawCreateTransaction(): NativeTransaction {
    const { calls } = this;
    this.created++;
    const native: NativeTransaction = {
      snapshot: () => ({ ...native, get: (key) => native.get(Buffer.from(`snapshot ${key}`)) }),
      get: (key) => {
        calls.push(`get ${key}`);
        return this.script.get?.(String(key)) ?? Promise.resolve(undefined);
      },
      getRangeNative: (begin: KeySelector, end: KeySelector, limit) => {
        calls.push(`getRange ${begin.key} ${end.key} ${limit}`);
        return this.script.getRange?.(String(begin.key), String(end.key), limit) ??
          Promise.resolve({ results: [], more: false });
      },
      getReadVersion: () => {
        calls.push("getReadVersion");
        return this.script.getReadVersion?.() ?? Promise.resolve(1);
      },
      setOption: (option) => void calls.push(`option ${option}`),
      set: (key, value) => calls.push(`set ${key} ${value}`),
      clear: (key) => calls.push(`clear ${key}`),
      clearRange: (begin, end) => calls.push(`clearRange ${begin} ${end}`),
      atomicOpNative: (operation, key, operand) =>
        calls.push(`atomic ${operation} ${key} ${operand.toString("hex")}`),
      addReadConflictRange: (begin, end) => calls.push(`readConflict ${begin} ${end}`),
      addWriteConflictRange: (begin, end) => calls.push(`writeConflict ${begin} ${end}`),
      rawCommit: () => {
        calls.push("commit");
        return this.script.commit?.() ?? Promise.resolve();
      },
      rawReset: () => void calls.push("reset"),
    };
    return native;
  }

  close(): void {
    this.calls.push("close");
  }

  /** The calls so far, without those that only free memory. */
  taken(): string[] {
    const taken = this.calls.filter((call) => call !== "reset");
    this.calls.length = 0;
    return taken;
  }
}
