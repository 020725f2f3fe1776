// What each metadata operation reads and writes in the store, counted, against the table of
// docs/formats.md: whoever makes one dearer has to say so there.

import assert from "node:assert/strict";
import { setImmediate } from "node:timers";
import { mdsService } from "../../shared/protocol/mds.ts";
import type { RequestOf } from "../../shared/rpc/service.ts";
import type { OpenTransaction, Store } from "../../shared/store/store.ts";
import { root as caller, type TestCluster, withCluster } from "../support/cluster.ts";
import { readDocument, rowsUnder, sectionOf } from "../support/markdown.ts";

type MdsMethod = keyof typeof mdsService["methods"];
type MdsRequest<Name extends MdsMethod> = RequestOf<typeof mdsService, Name>;
type Own<Name extends MdsMethod> = Omit<MdsRequest<Name>, "clientId" | "requestId">;

// ── counting ───────────────────────────────────────────────────────────────────────────────────

const kinds = { get: 0, getRange: 1, set: 2, delete: 3, deleteRange: 3, add: 4 } as const;
type Counts = [
  gets: number,
  ranges: number,
  sets: number,
  deletes: number,
  adds: number,
  rounds: number,
];

/**
 * Answers the reads of a transaction in rounds: all that it has asked for when it cannot go on
 * without an answer. On a store of another host each round is one way there and back.
 */
class Rounds {
  count = 0;
  #next: Promise<void> | undefined;

  next(): Promise<void> {
    return this.#next ??= new Promise((resolve) =>
      setImmediate(() => {
        this.#next = undefined;
        this.count++;
        resolve();
      })
    );
  }
}

/** A store whose transactions are counted, each for itself, under the first key that it reads. */
class CountingStore implements Store {
  readonly #store: Store;
  readonly transactions: { firstKey: string; counts: Counts }[] = [];

  constructor(store: Store) {
    this.#store = store;
  }

  get url(): string {
    return this.#store.url;
  }

  begin(): OpenTransaction {
    const entry = { firstKey: "", counts: [0, 0, 0, 0, 0, 0] as Counts };
    const rounds = new Rounds();
    this.transactions.push(entry);
    return new Proxy(this.#store.begin(), {
      get(transaction, property) {
        const member = Reflect.get(transaction, property);
        if (typeof member !== "function") return member;
        return (...args: unknown[]) => {
          if (property in kinds) {
            const [at] = args as [string | { begin: string }];
            entry.firstKey ||= typeof at === "string" ? at : at.begin;
            entry.counts[kinds[property as keyof typeof kinds]]++;
          }
          if (property !== "get" && property !== "getRange") return member.apply(transaction, args);
          return rounds.next().then(() => {
            entry.counts[5] = rounds.count;
            return member.apply(transaction, args);
          });
        };
      },
    });
  }

  close(): Promise<void> {
    return this.#store.close();
  }
}

/** Transactions that the mds makes of its own accord: leases, collecting, taking inode numbers. */
const ofNoRequest = /\/lease\/|\/gc\/|\/truncate\/|\/next_ino$|\/session\/$/;

const handle = "cd".repeat(16);

class Caller {
  readonly #cluster: TestCluster;
  readonly #store: () => CountingStore;
  readonly #rpc;
  #clientId = "ab".repeat(16);
  #requestId = 0;

  constructor(cluster: TestCluster, store: () => CountingStore) {
    this.#cluster = cluster;
    this.#store = store;
    this.#rpc = cluster.rpc("counting");
  }

  /** Sends one request; what its last try did, for the mds may find an older map at the first. */
  async count<Name extends MdsMethod>(name: Name, request: Own<Name>): Promise<Counts> {
    const { transactions } = this.#store();
    transactions.length = 0;
    await this.call(name, request);
    const own = transactions.filter(({ firstKey }) => !ofNoRequest.test(firstKey));
    const isMutation = own.some(({ firstKey }) => firstKey.includes("/session/"));
    const last = isMutation
      ? own.findLast(({ firstKey }) => firstKey.includes("/session/"))
      : own.at(-1);
    assert.ok(last, name);
    return last.counts;
  }

  /** The one that all others are counted in. */
  async openSession(): Promise<void> {
    this.#clientId = (await this.call("openSession", {})).clientId;
  }

  async call<Name extends MdsMethod>(name: Name, request: Own<Name>) {
    const id = { clientId: this.#clientId, requestId: ++this.#requestId };
    const whole = { ...id, ...request } as unknown as MdsRequest<Name>;
    return await this.#rpc.call(this.#cluster.endpoint("mds0"), mdsService, name, whole);
  }
}

// ── the operations of the table ────────────────────────────────────────────────────────────────

const place = (path: string) => ({ ino: 1, path });
const entryOf = (name: string) => ({ directory: place(""), name });
const entry = (name: string) => ({ caller, ...entryOf(name) });
const stat = (path: string) => ({ caller, place: place(path), follow: true, access: 0 });
const newFile = (name: string, how: { pending?: boolean; replace?: boolean } = {}) => ({
  ...entry(name),
  mode: 0o644,
  layout: {},
  pending: false,
  replace: false,
  ...how,
});
const rename = (name: string, newName: string) => ({
  ...entry(name),
  newDirectory: place(""),
  newName,
  noReplace: false,
});
const setattr = (path: string, changes: { mode?: number; sizeBytes?: number }) => ({
  caller,
  place: place(path),
  follow: true,
  ...changes,
});

/** By the name that the table has; in this order, for later ones need what earlier ones made. */
async function countAll(client: Caller): Promise<Map<string, Counts>> {
  const counted = new Map<string, Counts>();
  const count = async <Name extends MdsMethod>(row: string, name: Name, request: Own<Name>) => {
    counted.set(row, await client.count(name, request));
  };
  const inode = async (path: string) => (await client.call("stat", stat(path))).attributes.ino;
  const sizes = { caller, sizeBytes: 5, dataEndBytes: 5, clean: true };
  const pending = async (name: string, replace: boolean) => {
    const reply = await client.call("create", newFile(name, { pending: true, replace }));
    return reply.attributes.ino;
  };

  await count("openSession", "openSession", {});
  await client.openSession();
  await count("renewSession", "renewSession", {});
  await count("mkdir", "mkdir", { ...entry("d"), mode: 0o755 });
  await count("symlink", "symlink", { ...entry("s"), target: "f" });
  await count("create", "create", newFile("f"));
  await count("create, pending", "create", newFile("p", { pending: true }));
  await count("commit", "commit", { ...sizes, ino: await pending("p", false) });
  const replacing = newFile("p", { pending: true, replace: true });
  await count("create, pending, to replace a file", "create", replacing);
  await count("commit that replaces a file", "commit", { ...sizes, ino: await pending("p", true) });
  await count("abort", "abort", { ino: await pending("q", false) });
  await count("batch of a commit and a create", "batch", {
    caller,
    commits: [{ ino: await pending("q", false), sizeBytes: 5, dataEndBytes: 5, clean: true }],
    creates: [{ ...entryOf("r"), mode: 0o644, layout: {}, replace: false }],
  });
  await count("link", "link", { ...entry("g"), source: place("f") });
  await count("unlink of one of several names", "unlink", entry("g"));
  await count("rename", "rename", rename("f", "f2"));
  await client.call("create", newFile("f3"));
  await count("rename that replaces a file", "rename", rename("f2", "f3"));
  await count("setattr of a file", "setattr", setattr("f3", { mode: 0o600 }));
  await count("setattr that cuts a file", "setattr", setattr("p", { sizeBytes: 2 }));
  const defaults = { caller, directory: place("d"), defaults: { replicas: 2 } };
  await count("setLayoutDefaults of a directory", "setLayoutDefaults", defaults);
  await count("openWrite", "openWrite", { caller, place: place("f3"), handle });
  const open = { ino: await inode("f3"), handle };
  await count("commitWrite", "commitWrite", { ...open, dataEndBytes: 100 });
  await count("closeWrite", "closeWrite", { ...open, clean: true });
  await count("stat of a file", "stat", stat("f3"));
  await count("stat of a directory", "stat", stat("d"));
  await count("readlink", "readlink", { caller, place: place("s") });
  const page = { caller, directory: place(""), after: "", limit: 100, withAttributes: false };
  await count("readdir, one page", "readdir", page);
  await count("statfs", "statfs", {});
  await count("unlink of the last name", "unlink", entry("f3"));
  await count("rmdir", "rmdir", entry("d"));
  return counted;
}

Deno.test("metadata operations cost what docs/formats.md says", async () => {
  let store: CountingStore | undefined;
  const mdsStore = (under: Store) => store = new CountingStore(under);
  const osts = 3;
  const uncheckedBecause = "sizes are committed without their bytes";
  await withCluster({ osts, mdsStore, uncheckedBecause }, async (cluster) => {
    const counted = await countAll(new Caller(cluster, () => store!));
    const section = sectionOf(readDocument("docs/formats.md"), "What an operation costs");
    const rows = rowsUnder(section, "operation");
    const documented = rows.map(([operation, ...cells]) => [operation!, cells.map(costOf(osts))]);

    const byName = (entries: Iterable<unknown>) => new Map(entries as Iterable<[string, number[]]>);
    assert.deepEqual(byName(documented), byName(counted));
  });
});

/** `6 + T` for files on so many OSTs. */
function costOf(osts: number): (cell: string) => number {
  return (cell) => {
    const [, fixed, more] = /^(\d+)( \+ T)?$/.exec(cell)!;
    return Number(fixed) + (more ? osts : 0);
  };
}
