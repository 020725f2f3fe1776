// What must hold in a cluster at rest, read from the store and the disks of the OSTs without any
// code of the mds but the coding of its values, and the rules among them that fsck has too: nothing
// lost, nothing left over, nothing counted wrong.

import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import {
  decodeChild,
  decodeCounter,
  decodeInode,
  decodeNumber,
  type Inode,
} from "../../mds/values.ts";
import { type Entry, entryProblem, inodeProblem, linksProblem } from "../../mds/fsck/rules.ts";
import type { MemoryDisk } from "../../oss/memory_disk.ts";
import type { MemoryTarget } from "../../oss/memory_store.ts";
import {
  objectCount,
  objectId,
  objectLengthBytes,
  parseObjectId,
  targetsOfObject,
} from "../../shared/layout.ts";
import { rootInode } from "../../shared/model.ts";
import {
  keyAfter,
  type KeyRange,
  keyToText,
  type KeyValue,
  prefixRange,
  type Store,
} from "../../shared/store/store.ts";
import { transact } from "../../shared/store/transact.ts";
import type { TransactionContext } from "../../shared/store/transact.ts";

export interface CheckedCluster {
  readonly store: Store;
  readonly targets: readonly Pick<MemoryTarget, "disk">[];
  environment(host: string): TransactionContext["environment"];
}

const prefix = "test/mds_meta/";
export const metadataKeys: KeyRange = prefixRange(prefix);

/** Kinds of keys that only work under way, open files and open sessions have. */
const passingKinds = ["session", "idem", "pending", "writer", "writing", "truncate", "gc"];

export interface Tree {
  readonly inodes: ReadonlyMap<number, Inode>;
  readonly entries: readonly Entry[];
  readonly subdirectories: ReadonlyMap<number, number>;
  readonly inodeCount: number;
  readonly nextIno: number;
  /** Keys of work that is not done. */
  readonly leftovers: readonly string[];
  /** Directories that have times of their own. */
  readonly timed: readonly number[];
}

/** The keys of work under way. */
export async function leftovers(
  cluster: Omit<CheckedCluster, "targets">,
): Promise<readonly string[]> {
  return (await readTree(cluster)).leftovers;
}

/** `isTroubled`: files that writes failed of, in whose data replicas may differ. */
export async function checkStore(
  cluster: CheckedCluster,
  isTroubled: (ino: number) => boolean = () => false,
): Promise<void> {
  const tree = await readTree(cluster);
  assert.deepEqual(tree.leftovers, [], "work is left undone");
  checkTree(tree);
  // Of real processes only the store can be seen.
  if (cluster.targets.length > 0) checkObjects(tree, cluster.targets, isTroubled);
}

/** What holds at any moment, between any two transactions. */
export function checkTree(tree: Tree): void {
  checkEntries(tree);
  checkCounts(tree);
  checkReachable(tree);
}

async function readTree(cluster: Omit<CheckedCluster, "targets">): Promise<Tree> {
  return treeOf(await readAll(cluster));
}

/** The tree of a store that has these rows under {@link metadataKeys}. */
export function treeOf(rows: Iterable<KeyValue>): Tree {
  const inodes = new Map<number, Inode>();
  const subdirectories = new Map<number, number>();
  const tree = {
    inodes,
    entries: [] as Entry[],
    subdirectories,
    inodeCount: 0,
    nextIno: 0,
    leftovers: [] as string[],
    timed: [] as number[],
  };
  for (const { key, value } of rows) {
    const [kind = "", first = "", ...rest] = key.slice(prefix.length).split("/");
    const ino = Number.parseInt(first, 16);
    if (kind === "ino") inodes.set(ino, decodeInode(value));
    else if (kind === "children") {
      tree.entries.push({ parent: ino, name: keyToText(rest.join("/")), ...decodeChild(value) });
    } else if (kind === "dir_links") subdirectories.set(ino, decodeCounter(value));
    else if (kind === "dir_times") tree.timed.push(ino);
    else if (kind === "inodes") tree.inodeCount = decodeCounter(value);
    else if (kind === "next_ino") tree.nextIno = decodeNumber(value);
    else {
      assert(passingKinds.includes(kind), `a key of an unknown kind: ${key}`);
      tree.leftovers.push(key);
    }
  }
  return tree;
}

async function readAll(cluster: Omit<CheckedCluster, "targets">): Promise<KeyValue[]> {
  const all: KeyValue[] = [];
  const context = { store: cluster.store, environment: cluster.environment("checker") };
  let { begin, end } = metadataKeys;
  for (;;) {
    const page = await transact(
      context,
      (transaction) => transaction.getRange({ begin, end }, { limit: 10_000, snapshot: true }),
    );
    all.push(...page);
    if (page.length < 10_000) return all;
    begin = keyAfter(page.at(-1)!.key);
  }
}

function checkEntries({ inodes, entries }: Tree): void {
  const names = new Map<number, number>();
  for (const { parent, name, ino, type } of entries) {
    const problem = entryProblem({ parent, name, ino, type }, inodes.get(ino));
    assert.equal(problem?.message, undefined);
    assert.equal(inodes.get(parent)?.type, "directory", `"${name}" is in no directory`);
    names.set(ino, (names.get(ino) ?? 0) + 1);
  }
  for (const [ino, inode] of inodes) {
    assert.equal(inodeProblem(ino, inode), undefined, `inode ${ino}`);
    assert.equal(linksProblem(inode, names.get(ino) ?? 0)?.message, undefined);
  }
}

function checkCounts(tree: Tree): void {
  const { inodes, entries, subdirectories } = tree;
  const counted = new Map<number, number>();
  for (const { parent, type } of entries) {
    if (type === "directory") counted.set(parent, (counted.get(parent) ?? 0) + 1);
  }
  for (const ino of new Set([...counted.keys(), ...subdirectories.keys()])) {
    const count = counted.get(ino) ?? 0;
    assert.equal(subdirectories.get(ino) ?? 0, count, `the subdirectories of inode ${ino}`);
    assert(inodes.has(ino), `a counter of inode ${ino}, which does not exist`);
  }
  for (const ino of tree.timed) assert(inodes.has(ino), `a time of inode ${ino}, which is gone`);
  assert.equal(tree.inodeCount, inodes.size, "the counter of inodes");
  for (const ino of inodes.keys()) {
    assert(ino === rootInode || ino < tree.nextIno, `inode ${ino} was never handed out`);
  }
}

function checkReachable({ inodes, entries }: Tree): void {
  const children = Map.groupBy(entries, ({ parent }) => parent);
  const reached = new Set([rootInode]);
  for (const directory of reached) {
    for (const { ino } of children.get(directory) ?? []) reached.add(ino);
  }
  assert.equal(reached.size, inodes.size, "every inode can be reached from the root");
}

function checkObjects(
  { inodes }: Tree,
  targets: readonly Pick<MemoryTarget, "disk">[],
  isTroubled: (ino: number) => boolean,
): void {
  for (const [index, { disk }] of targets.entries()) {
    for (const [object, { lengthBytes }] of disk.objects) {
      const { ino, seq } = parseObjectId(object);
      const inode = inodes.get(ino);
      assert(inode?.layout, `object ${object} on OST ${index} belongs to no file`);
      assert(targetsOfObject(inode.layout, seq).includes(index), `object ${object} is astray`);
      const expected = objectLengthBytes(inode.layout, seq, inode.dataEndBytes);
      assert.equal(lengthBytes, expected, `the length of object ${object} on OST ${index}`);
    }
  }
  for (const inode of inodes.values()) checkReplicas(inode, targets, isTroubled(inode.ino));
}

function checkReplicas(
  { ino, layout, dataEndBytes }: Inode,
  targets: readonly Pick<MemoryTarget, "disk">[],
  mayDiffer: boolean,
): void {
  if (!layout) return;
  for (let seq = 0; seq < objectCount(layout, dataEndBytes); seq++) {
    const object = objectId(ino, seq);
    const contents = targetsOfObject(layout, seq).map((index) => {
      const content = contentOf(targets[index]!.disk, object);
      assert(content, `object ${object} is lost on OST ${index}`);
      return content;
    });
    for (const other of mayDiffer ? [] : contents) {
      assert(equalContents(contents[0]!, other), `the replicas of object ${object} differ`);
    }
  }
}

type Content = MemoryDisk["objects"] extends Map<string, infer Value> ? Value : never;

function contentOf(disk: MemoryDisk, object: string): Content | undefined {
  return disk.objects.get(object);
}

function equalContents(left: Content, right: Content): boolean {
  if (left.lengthBytes !== right.lengthBytes) return false;
  const zeros = new Uint8Array(4096);
  return [...new Set([...left.blocks.keys(), ...right.blocks.keys()])].every((block) =>
    Buffer.compare(
      left.blocks.get(block)?.bytes ?? zeros,
      right.blocks.get(block)?.bytes ?? zeros,
    ) === 0
  );
}
