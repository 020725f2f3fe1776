// What must hold in a cluster at rest, read from the store and the disks of the OSTs without any
// code of the mds but the coding of its values: nothing lost, nothing left over, nothing counted
// wrong.

import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import {
  decodeChild,
  decodeCounter,
  decodeInode,
  decodeNumber,
  type Inode,
} from "../../mds/schema.ts";
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
  keyToText,
  type KeyValue,
  prefixRange,
  type Store,
} from "../../shared/store/store.ts";
import { transact } from "../../shared/store/transact.ts";
import type { TransactionContext } from "../../shared/store/transact.ts";

export interface CheckedCluster {
  readonly store: Store;
  readonly targets: readonly MemoryTarget[];
  environment(host: string): TransactionContext["environment"];
}

const prefix = "test/mds_meta/";

/** Kinds of keys that only work under way, open files and open sessions have. */
const passingKinds = ["session", "idem", "pending", "writer", "writing", "truncate", "gc"];

interface Entry {
  readonly parent: number;
  readonly name: string;
  readonly ino: number;
  readonly type: Inode["type"];
}

interface Tree {
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
export async function leftovers(cluster: CheckedCluster): Promise<readonly string[]> {
  return (await readTree(cluster)).leftovers;
}

export async function checkStore(cluster: CheckedCluster): Promise<void> {
  const tree = await readTree(cluster);
  assert.deepEqual(tree.leftovers, [], "work is left undone");
  checkEntries(tree);
  checkCounts(tree);
  checkReachable(tree);
  checkObjects(tree, cluster.targets);
}

async function readTree(cluster: CheckedCluster): Promise<Tree> {
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
  for (const { key, value } of await readAll(cluster)) {
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

async function readAll(cluster: CheckedCluster): Promise<KeyValue[]> {
  const all: KeyValue[] = [];
  const context = { store: cluster.store, environment: cluster.environment("checker") };
  let { begin, end } = prefixRange(prefix);
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
    const inode = inodes.get(ino);
    assert(inode, `"${name}" in inode ${parent} names inode ${ino}, which does not exist`);
    assert.equal(inode.type, type, `"${name}" in inode ${parent} has the wrong type`);
    assert.equal(inodes.get(parent)?.type, "directory", `"${name}" is in no directory`);
    if (type === "directory") assert.equal(inode.parent, parent, `"${name}" has another parent`);
    names.set(ino, (names.get(ino) ?? 0) + 1);
  }
  for (const { ino, links } of inodes.values()) {
    const expected = ino === rootInode ? 0 : links;
    assert.equal(names.get(ino) ?? 0, expected, `inode ${ino} has as many names as links`);
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

function checkObjects({ inodes }: Tree, targets: readonly MemoryTarget[]): void {
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
  for (const inode of inodes.values()) checkReplicas(inode, targets);
}

function checkReplicas({ ino, layout, dataEndBytes }: Inode, targets: readonly MemoryTarget[]) {
  if (!layout) return;
  for (let seq = 0; seq < objectCount(layout, dataEndBytes); seq++) {
    const object = objectId(ino, seq);
    const contents = targetsOfObject(layout, seq).map((index) => {
      const content = contentOf(targets[index]!.disk, object);
      assert(content, `object ${object} is lost on OST ${index}`);
      return content;
    });
    for (const other of contents) {
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
