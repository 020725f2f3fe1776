// The check of what belongs to work under way: sessions with what clients have left half done, files
// to cut and to destroy. Each such record must lead to somebody who will remove it.

import { limits } from "../../shared/limits.ts";
import type { Key, KeyValue, ReadTransaction } from "../../shared/store/store.ts";
import { readOnly } from "../../shared/store/transact.ts";
import type { KeyKind } from "../schema.ts";
import { decodePending, decodeSession, decodeStoredReply, type StoredReply } from "../values.ts";
import { addUnreadable, readNextIno } from "./namespace.ts";
import {
  type CheckContext,
  decodeCount,
  pagesOf,
  parseIno,
  tryDecode,
  valuesOf,
} from "./reading.ts";
import { completeHalf, endLostSession, raiseNextIno, spareFile } from "./repairs.ts";
import { inodeProblem, isEntry } from "./rules.ts";

const clientPattern = /^[0-9a-f]{32}$/;

/** What is due, and has to be waited for before it can be said that nobody does it. */
export interface DueWork {
  /** Sessions that seem to be over for long, by client, with the value of the record. */
  readonly sessions: Map<string, Uint8Array>;
  /** Files to cut, with the value of the record. */
  readonly cuts: Map<number, Uint8Array>;
  /** The OSTs that have something to destroy. */
  readonly garbage: Set<number>;
}

export async function checkWorkUnderWay(context: CheckContext): Promise<DueWork> {
  return await new WorkCheck(context).run();
}

class WorkCheck {
  readonly #context: CheckContext;
  readonly #due: DueWork = { sessions: new Map(), cuts: new Map(), garbage: new Set() };
  /** Of clients that have something in the store, those that were seen to have no session. */
  readonly #lost = new Set<string>();
  readonly #known = new Set<string>();
  /** The first record of each pending inode that was seen. */
  readonly #pending = new Map<number, Key>();
  #done = 0;

  constructor(context: CheckContext) {
    this.#context = context;
  }

  async run(): Promise<DueWork> {
    const { environment: { clock } } = this.#context;
    const longAgoMs = clock.nowMs() - limits.checkSessionSlackMs;
    await this.#each("session", (pair, rest) => this.#addSession(pair, rest, longAgoMs));
    await this.#each("pending", (pair, rest) => this.#addPending(pair, rest));
    await this.#each("idem", (pair, rest) => this.#addReply(pair, rest));
    await this.#each("writing", (pair, rest) => this.#addWriting(pair, rest));
    await this.#each("writer", (pair, rest) => this.#addWriter(pair, rest));
    await this.#each("truncate", (pair, rest) => this.#addCut(pair, rest));
    await this.#each("gc", (pair, rest) => this.#addGarbage(pair, rest));
    for (const clientId of this.#lost) await this.#checkLostSession(clientId);
    await this.#findUnknownRecords();
    return this.#due;
  }

  /** `add` is given what is behind the kind, and says what is wrong with the record itself. */
  async #each(
    kind: KeyKind,
    add: (pair: KeyValue, rest: string) => string | undefined | Promise<string | undefined>,
  ): Promise<void> {
    const range = this.#context.schema.allOf(kind);
    for await (const page of pagesOf(this.#context, range)) {
      for (const pair of page) {
        const problem = await add(pair, pair.key.slice(range.begin.length));
        if (problem) await addUnreadable(this.#context, `a "${kind}"`, pair.key, problem);
      }
      this.#done += page.length;
      this.#context.onProgress({ stage: "work under way", done: this.#done });
    }
  }

  // ── clients ──────────────────────────────────────────────────────────────────────────────────

  #addSession({ value }: KeyValue, clientId: string, longAgoMs: number): string | undefined {
    if (!clientPattern.test(clientId)) return "no client has such an id";
    this.#known.add(clientId);
    const decoded = tryDecode(decodeSession, value);
    if ("problem" in decoded) return decoded.problem;
    const { expiresAtMs } = decoded.content;
    if (!Number.isFinite(expiresAtMs)) return "its end is no time";
    if (expiresAtMs < longAgoMs) this.#due.sessions.set(clientId, value);
    return undefined;
  }

  /** What is in the store of a client has a session; sessions may have come since they were read. */
  #noteClient(clientId: string): string | undefined {
    if (!clientPattern.test(clientId)) return "no client has such an id";
    if (!this.#known.has(clientId)) this.#lost.add(clientId);
    return undefined;
  }

  async #checkLostSession(clientId: string): Promise<void> {
    const { schema, report } = this.#context;
    const left = await readOnly(this.#context, async (transaction) => {
      if (await transaction.get(schema.session(clientId), { snapshot: true })) return [];
      return await leftOf(transaction, this.#context, clientId);
    });
    if (left.length === 0) return;
    const message = `client ${clientId} has left ${left.join(", ")}, and has no session with ` +
      "which that would end";
    const repair = () => endLostSession(this.#context, clientId);
    await report.add({ kind: "left-by-no-session", message }, repair);
  }

  async #addPending({ key, value }: KeyValue, rest: string): Promise<string | undefined> {
    const [clientId = "", digits = ""] = rest.split("/");
    const ino = parseIno(digits);
    if (ino === undefined) return "no inode has such a number";
    const noted = this.#noteClient(clientId);
    if (noted) return noted;
    const decoded = tryDecode(decodePending, value);
    if ("problem" in decoded) return decoded.problem;
    const { inode, parent, name } = decoded.content;
    const problem = inodeProblem(ino, inode);
    if (problem) return problem;
    if (!isEntry({ parent, name })) return "its name is none";
    const { report } = this.#context;
    if (ino >= await readNextIno(this.#context)) {
      const message = `pending inode ${ino} has a number that was never handed out`;
      const repair = () => raiseNextIno(this.#context, ino);
      await report.add({ kind: "number-not-handed-out", ino, message }, repair);
    }
    await this.#checkOtherUse(ino, key);
    for (const target of new Set(inode.layout?.targets.flat())) {
      await this.#checkGarbageOf(target, ino, key);
    }
    return undefined;
  }

  async #checkOtherUse(ino: number, key: Key): Promise<void> {
    const { schema, report } = this.#context;
    const others = [["in the tree", schema.inode(ino)], ["pending", this.#pending.get(ino)]];
    for (const [where, other] of others) {
      if (other === undefined || !(await this.#areBoth(key, other))) continue;
      const message = `number ${ino} is of a pending inode and of another one, ${where}`;
      await report.add({ kind: "number-used-twice", ino, message }, "nothing tells which is right");
    }
    if (this.#pending.size < limits.checkSuspectsMax) this.#pending.set(ino, key);
  }

  #addReply({ value }: KeyValue, rest: string): string | undefined {
    const [clientId = "", slot = ""] = rest.split("/");
    if (!/^[0-9a-f]{4}$/.test(slot)) return "no reply is kept under such a key";
    const decoded = tryDecode(decodeStoredReply, value);
    if ("problem" in decoded) return decoded.problem;
    const { requestId } = decoded.content;
    if (requestId % limits.repliesPerClient !== Number.parseInt(slot, 16)) {
      return `it is of request ${requestId}`;
    }
    return isReply(decoded.content) ? this.#noteClient(clientId) : "nobody is answered so";
  }

  #addWriting({ key }: KeyValue, rest: string): Promise<string | undefined> {
    const [clientId = "", handle = "", digits = ""] = rest.split("/");
    return this.#addHalf(key, "writer", { clientId, handle, digits });
  }

  #addWriter({ key }: KeyValue, rest: string): Promise<string | undefined> {
    const [digits = "", clientId = "", handle = ""] = rest.split("/");
    return this.#addHalf(key, "writing", { clientId, handle, digits });
  }

  /** Who has a file open is found by the file and by the client. */
  async #addHalf(
    key: Key,
    other: "writer" | "writing",
    { clientId, handle, digits }: { clientId: string; handle: string; digits: string },
  ): Promise<string | undefined> {
    const ino = parseIno(digits);
    if (ino === undefined || !clientPattern.test(handle)) return "no file is open under such a key";
    const problem = this.#noteClient(clientId);
    if (problem) return problem;
    const { schema, report } = this.#context;
    const otherKey = schema[other]({ ino, clientId, handle });
    const [here, there] = await valuesOf(this.#context, [key, otherKey]);
    if (!here || there) return undefined;
    const message = `client ${clientId} has inode ${ino} open for writing by one of two records`;
    const repair = () => completeHalf(this.#context, key, otherKey);
    await report.add({ kind: "half-a-writer", ino, message }, repair);
    return undefined;
  }

  // ── cuts and garbage ─────────────────────────────────────────────────────────────────────────

  #addCut({ value }: KeyValue, digits: string): string | undefined {
    const ino = parseIno(digits);
    if (ino === undefined) return "no inode has such a number";
    const decoded = tryDecode(decodeCount, value);
    if ("problem" in decoded) return decoded.problem;
    if (this.#due.cuts.size < limits.checkSuspectsMax) this.#due.cuts.set(ino, value);
    return undefined;
  }

  async #addGarbage({ key }: KeyValue, rest: string): Promise<string | undefined> {
    const [target = "", digits = ""] = rest.split("/");
    const ino = parseIno(digits);
    if (!/^[0-9a-f]{8}$/.test(target)) return "no OST has such an index";
    if (ino === undefined) return "no inode has such a number";
    const targetIndex = Number.parseInt(target, 16);
    this.#due.garbage.add(targetIndex);
    await this.#checkGarbageOf(targetIndex, ino, this.#context.schema.inode(ino), key);
    return undefined;
  }

  async #checkGarbageOf(
    targetIndex: number,
    ino: number,
    file: Key,
    garbage: Key = this.#context.schema.garbage(targetIndex, ino),
  ): Promise<void> {
    if (!(await this.#areBoth(garbage, file))) return;
    const message = `OST ${targetIndex} is to destroy the objects of inode ${ino}, which exists`;
    const repair = () => spareFile(this.#context, garbage, file);
    const { report } = this.#context;
    await report.add({ kind: "garbage-of-a-file", ino, targetIndex, message }, repair);
  }

  async #areBoth(one: Key, other: Key): Promise<boolean> {
    const values = await valuesOf(this.#context, [one, other]);
    return values.every((value) => value !== undefined);
  }

  // ── records of no kind ───────────────────────────────────────────────────────────────────────

  /** Goes from kind to kind, so it reads few keys however many there are. */
  async #findUnknownRecords(): Promise<void> {
    const { schema, report } = this.#context;
    const kinds = ["ino", "children", "dir_links", "dir_times", "session", "idem"] as const;
    const more = ["pending", "writer", "writing", "truncate", "gc"] as const;
    const known = [...kinds, ...more].map((kind) => schema.allOf(kind))
      .concat([schema.nextIno, schema.inodeCount].map((key) => ({ begin: key, end: key + "\0" })))
      .sort((a, b) => a.begin < b.begin ? -1 : 1);
    let { begin } = schema.all();
    for (const range of [...known, { begin: schema.all().end, end: schema.all().end }]) {
      if (begin < range.begin) {
        for await (const page of pagesOf(this.#context, { begin, end: range.begin })) {
          for (const { key } of page) {
            const message = `nobody knows what ${JSON.stringify(key)} is`;
            await report.add({ kind: "unknown-record", message }, "a newer rustre may know it");
          }
        }
      }
      begin = range.end;
    }
    const values = await valuesOf(this.#context, [schema.nextIno, schema.inodeCount]);
    const next = values[0] && tryDecode(decodeCount, values[0]);
    if (next && "problem" in next) {
      await addUnreadable(this.#context, "the next number", schema.nextIno, next.problem);
    }
  }
}

/** A map, or the number and message of an error. */
function isReply({ requestId, opcode, reply }: StoredReply): boolean {
  if (!Number.isSafeInteger(requestId) || !Number.isSafeInteger(opcode)) return false;
  if (!Array.isArray(reply)) return typeof reply === "object" && reply !== null;
  return reply.length === 2 && typeof reply[0] === "number" && typeof reply[1] === "string";
}

/** What of a client is in the store, in words. */
async function leftOf(
  transaction: ReadTransaction,
  { schema }: CheckContext,
  clientId: string,
): Promise<string[]> {
  const kinds = [
    ["pending files", schema.pendingOf(clientId)],
    ["open files", schema.writingOf(clientId)],
    ["replies", schema.replies(clientId)],
  ] as const;
  const left: string[] = [];
  for (const [what, range] of kinds) {
    const [first] = await transaction.getRange(range, { limit: 1, snapshot: true });
    if (first) left.push(what);
  }
  return left;
}
