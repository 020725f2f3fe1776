// Runs fsck on a test cluster, and plants damage in its store.

import type { FileSystem } from "../../client/mod.ts";
import type { FsckOptions, FsckSummary, ReportedFinding } from "../../mds/fsck/fsck.ts";
import { fsck } from "../../mds/fsck/fsck.ts";
import { Schema } from "../../mds/schema.ts";
import { decodeInode, encodeInode, type Inode } from "../../mds/values.ts";
import { limits } from "../../shared/limits.ts";
import { loggerOf } from "../../shared/logging.ts";
import type { Key, OpenTransaction, Store, Transaction } from "../../shared/store/store.ts";
import { transact } from "../../shared/store/transact.ts";
import { pattern } from "./object_bytes.ts";
import type { TestCluster } from "./cluster.ts";
import type { SeededRandom } from "./seeded_random.ts";

export const schema = new Schema("test");
export const stripeBytes = limits.stripeBytesMin;
/** Of a client and of a file that it has open, of which no mds ever heard. */
export const [clientId, handle] = ["0123456789abcdef".repeat(2), "fedcba9876543210".repeat(2)];
/** No MessagePack begins so. */
export const unreadable = new Uint8Array([0xc1]);

export async function makeFile(fileSystem: FileSystem, path: string, replicas = 1) {
  const layout = { stripeBytes, stripeCount: 2, replicas };
  await using file = await fileSystem.create(path, { layout });
  await file.write(0, pattern(1, 3 * stripeBytes + 7));
  await file.close();
  return file.attributes;
}

/** A tree with one of everything; the inode numbers by path. */
export async function makeTree(cluster: TestCluster) {
  const fileSystem = cluster.fileSystem();
  const directory = await fileSystem.mkdir("/d");
  const below = await fileSystem.mkdir("/d/below");
  const file = await makeFile(fileSystem, "/d/file");
  const twice = await makeFile(fileSystem, "/twice", 2);
  await fileSystem.link("/twice", "/d/twice");
  const link = await fileSystem.symlink("file", "/d/link");
  return { fileSystem, directory, below, file, twice, link };
}

export type MadeTree = Awaited<ReturnType<typeof makeTree>>;

export interface FsckOutcome extends FsckSummary {
  readonly said: readonly ReportedFinding[];
  /** `kind outcome` of each, in alphabetical order. */
  readonly short: readonly string[];
  readonly failures: readonly string[];
}

export async function runFsck(
  cluster: TestCluster,
  options: Partial<FsckOptions> = {},
): Promise<FsckOutcome> {
  const said: ReportedFinding[] = [];
  const failures: string[] = [];
  const summary = await fsck({
    environment: cluster.environment("fsck"),
    store: cluster.store,
    clusterName: "test",
    mgs: [{ host: "mgs0", port: 9400 }],
    repair: false,
    log: loggerOf("client"),
    onFinding: (finding) => void said.push(finding),
    onFailure: (index, { code }) => failures.push(`OST ${index}: ${code}`),
    ...options,
  });
  const short = said.map(({ kind, outcome }) => `${kind} ${outcome}`).sort();
  return { ...summary, said, short, failures };
}

/** Changes the store behind the back of every mds. */
export function plant(
  cluster: TestCluster,
  change: (transaction: Transaction) => void | Promise<void>,
): Promise<void> {
  const context = { store: cluster.store, environment: cluster.environment("vandal") };
  return transact(context, async (transaction) => await change(transaction));
}

/** The record of an inode that nobody removed, with what it counted for. */
export function loseInode(cluster: TestCluster, ino: number): Promise<void> {
  return plant(cluster, (transaction) => {
    transaction.delete(schema.inode(ino));
    transaction.add(schema.inodeCount, -1n);
  });
}

export function plantInode(
  cluster: TestCluster,
  ino: number,
  change: (inode: Inode) => Inode,
): Promise<void> {
  return plant(cluster, async (transaction) => {
    const inode = decodeInode((await transaction.get(schema.inode(ino)))!);
    transaction.set(schema.inode(ino), encodeInode(change(inode)));
  });
}

export async function valueOf(cluster: TestCluster, key: string) {
  let value: Uint8Array | undefined;
  await plant(cluster, async (transaction) => void (value = await transaction.get(key)));
  return value;
}

/** A store each of whose transactions waits for `beforeReading` before its first read. */
export function watchedStore(
  store: Store,
  beforeReading: (first: Key) => Promise<void>,
): Store {
  const begin = (): OpenTransaction => {
    let begun: OpenTransaction | undefined;
    let beginning: Promise<OpenTransaction> | undefined;
    const inner = () => begun ??= store.begin();
    const whenBegun = (first: Key) => beginning ??= beforeReading(first).then(inner);
    return {
      get: async (key, options) => (await whenBegun(key)).get(key, options),
      getRange: async (range, options) => (await whenBegun(range.begin)).getRange(range, options),
      set: (key, value) => inner().set(key, value),
      delete: (key) => inner().delete(key),
      deleteRange: (range) => inner().deleteRange(range),
      add: (key, delta) => inner().add(key, delta),
      addReadConflictRange: (range) => inner().addReadConflictRange(range),
      addWriteConflictRange: (range) => inner().addWriteConflictRange(range),
      commit: () => inner().commit(),
      cancel: () => inner().cancel(),
    };
  };
  return { url: store.url, begin, close: () => store.close() };
}

/** Reads of it take a random time. */
export function slowStore(cluster: TestCluster, random: SeededRandom): Store {
  return watchedStore(cluster.store, () => cluster.sleep(random.below(slowReadMs)));
}

const slowReadMs = 8;
