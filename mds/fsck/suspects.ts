// Looks again at what did not fit in the passes over the tree. A finding is what does not fit at one
// moment of the store; what fits was changed while it was read.

import { limits } from "../../shared/limits.ts";
import { rootInode } from "../../shared/model.ts";
import { equalBytes } from "../../shared/store/key_range.ts";
import { readOnly } from "../../shared/store/transact.ts";
import { decodeInode, type Inode } from "../values.ts";
import type { Repair } from "./findings.ts";
import { entryOf, type Tree } from "./namespace.ts";
import {
  type CheckContext,
  compareCounter,
  counterIn,
  forEach,
  inodeIn,
  pagesOf,
  pause,
  tryDecode,
  valuesOf,
} from "./reading.ts";
import {
  attachToLostAndFound,
  correctCounter,
  type Evidence,
  forgetDirectory,
  remakeDirectory,
  removeEntry,
  setEntryType,
  setLinks,
  setParent,
} from "./repairs.ts";
import { type Entry, entryProblem, linksProblem } from "./rules.ts";

/** Names that lead to nothing. Of files, whose objects may still be there, it is not said yet. */
export type LostFiles = Map<number, readonly Entry[]>;

const namesUnknown = "there are entries that nobody can read, which may be names of it";

// ── inodes and their names ─────────────────────────────────────────────────────────────────────

export async function checkSuspectInodes(context: CheckContext, tree: Tree): Promise<LostFiles> {
  const lostFiles: LostFiles = new Map();
  context.report.addUndecided(tree.suspectsLeftOut);
  const suspects = [...tree.suspectInodes];
  for (let start = 0; start < suspects.length; start += limits.checkSuspectsMax) {
    const some = suspects.slice(start, start + limits.checkSuspectsMax);
    await new SuspectCheck(context, tree, lostFiles).run(some);
  }
  return lostFiles;
}

interface Suspect {
  readonly ino: number;
  /** As it was before the entries were searched for its names. */
  readonly before: Uint8Array | undefined;
  readonly names: Entry[];
}

class SuspectCheck {
  readonly #context: CheckContext;
  readonly #tree: Tree;
  readonly #lostFiles: LostFiles;

  constructor(context: CheckContext, tree: Tree, lostFiles: LostFiles) {
    this.#context = context;
    this.#tree = tree;
    this.#lostFiles = lostFiles;
  }

  async run(inos: readonly number[]): Promise<void> {
    let open = inos;
    for (let round = 0; open.length > 0; round++) {
      if (round === limits.checkRoundsMax) return this.#context.report.addUndecided(open.length);
      this.#context.onProgress({ stage: "suspects", done: inos.length - open.length });
      // The times of changes from now on are others than those of changes before.
      await pause(this.#context, limits.checkPauseMs);
      const suspects = await this.#read(open);
      const next: number[] = [];
      await forEach([...suspects.values()], async (suspect) => {
        if (!(await this.#decide(suspect))) next.push(suspect.ino);
      });
      open = next;
    }
  }

  /** Their records, and then all entries that lead to them. */
  async #read(inos: readonly number[]): Promise<Map<number, Suspect>> {
    const suspects = new Map<number, Suspect>();
    const { schema } = this.#context;
    for (let start = 0; start < inos.length; start += this.#context.pageEntries) {
      const some = inos.slice(start, start + this.#context.pageEntries);
      const values = await valuesOf(this.#context, some.map((ino) => schema.inode(ino)));
      for (const [index, ino] of some.entries()) {
        suspects.set(ino, { ino, before: values[index], names: [] });
      }
    }
    for await (const page of pagesOf(this.#context, schema.allOf("children"))) {
      for (const pair of page) {
        const found = entryOf(this.#context, pair);
        if ("entry" in found) suspects.get(found.entry.ino)?.names.push(found.entry);
      }
    }
    return suspects;
  }

  /** Whether it is decided, with a finding or without one. */
  async #decide(suspect: Suspect): Promise<boolean> {
    const { ino, before } = suspect;
    const { value, names } = await this.#readNow(suspect);
    if (!value) {
      await this.#addNamesWithoutInode(ino, names);
      return true;
    }
    const decoded = tryDecode(decodeInode, value);
    // That it cannot be read is said already.
    if ("problem" in decoded) return true;
    const inode = decoded.content;
    const problem = linksProblem(inode, names.length);
    if (problem && !equalBytes(value, before)) return false;
    const evidence = { ino, value };
    for (const name of names) await this.#addEntryProblem(evidence, inode, name, names);
    if (problem) {
      await this.#context.report.add(
        { ...problem, ino },
        this.#repairOfLinks(evidence, inode, names),
      );
    }
    return true;
  }

  /** The inode and those of its names that are there now, at one moment. */
  #readNow({ ino, names }: Suspect): Promise<{ value: Uint8Array | undefined; names: Entry[] }> {
    const { schema } = this.#context;
    return readOnly(this.#context, async (transaction) => {
      const [value, ...entries] = await Promise.all(
        [schema.inode(ino), ...names.map(({ parent, name }) => schema.child(parent, name))]
          .map((key) => transaction.get(key, { snapshot: true })),
      );
      const now = names.flatMap(({ parent, name }, index) => {
        const entry = entries[index];
        const found = entry &&
          entryOf(this.#context, { key: schema.child(parent, name), value: entry });
        return found && "entry" in found && found.entry.ino === ino ? [found.entry] : [];
      });
      return { value, names: now };
    });
  }

  async #addNamesWithoutInode(ino: number, names: readonly Entry[]): Promise<void> {
    if (ino === rootInode) {
      const message = "the root directory does not exist";
      const repair = "start an mds, which makes it, and check again";
      await this.#context.report.add({ kind: "entry-without-inode", ino, message }, repair);
    }
    const files = names.filter(({ type }) => type === "file");
    if (files.length > 0) this.#lostFiles.set(ino, files);
    for (const name of names) {
      if (name.type === "file") continue;
      const repair = name.type === "directory"
        ? () => remakeDirectory(this.#context, name)
        : () => removeEntry(this.#context, name);
      await this.#context.report.add({ ...entryProblem(name, undefined)!, ino }, repair);
    }
  }

  async #addEntryProblem(
    evidence: Evidence,
    inode: Inode,
    name: Entry,
    names: readonly Entry[],
  ): Promise<void> {
    const problem = entryProblem(name, inode);
    if (!problem) return;
    const repair = problem.kind === "entry-of-another-type"
      ? () => setEntryType(this.#context, name, inode)
      : this.#tree.unreadableEntries > 0
      ? namesUnknown
      : names.length === 1
      ? () => setParent(this.#context, evidence, inode, name)
      : "it has several names";
    await this.#context.report.add({ ...problem, ino: inode.ino }, repair);
  }

  #repairOfLinks(evidence: Evidence, inode: Inode, names: readonly Entry[]): Repair | string {
    if (this.#tree.unreadableEntries > 0) return namesUnknown;
    if (names.length === 0) return () => attachToLostAndFound(this.#context, evidence, inode);
    if (inode.type === "directory") return "nothing tells which of its names is right";
    return () => setLinks(this.#context, evidence, inode, names);
  }
}

/** Says which names lead to no file, and removes them where no object is left of the file either. */
export async function addLostFiles(
  context: CheckContext,
  lostFiles: LostFiles,
  objectsLeft: (ino: number) => boolean | undefined,
): Promise<void> {
  for (const [ino, names] of lostFiles) {
    const left = objectsLeft(ino);
    for (const name of names) {
      const repair = left === false
        ? () => removeEntry(context, name)
        : left
        ? "its objects are still there: restore its inode from a backup"
        : "its objects may still be there: not every OST could be asked";
      await context.report.add({ ...entryProblem(name, undefined)!, ino }, repair);
    }
  }
}

// ── directories and what is kept beside them ───────────────────────────────────────────────────

export async function checkSuspectDirectories(context: CheckContext, tree: Tree): Promise<void> {
  for (const ino of tree.suspectDirectories) {
    const isDirectory = await checkOwner(context, ino);
    if (isDirectory) await checkSubdirectoryCount(context, ino);
  }
}

/** What is kept of a directory's entries, at one moment. */
async function checkOwner(context: CheckContext, ino: number): Promise<boolean> {
  const { schema, report } = context;
  const now = await readOnly(context, async (transaction) => {
    const snapshot = { snapshot: true };
    const [value, links, times, children] = await Promise.all([
      transaction.get(schema.inode(ino), snapshot),
      transaction.get(schema.directoryLinks(ino), snapshot),
      transaction.get(schema.directoryTimes(ino), snapshot),
      transaction.getRange(schema.children(ino), { limit: 1, ...snapshot }),
    ]);
    return { value, hasCounters: Boolean(links ?? times), hasEntries: children.length > 0 };
  });
  const inode = inodeIn(now.value);
  // An inode that cannot be read is said already; it may be one.
  if (inode?.type === "directory" || (now.value && !inode)) return inode !== undefined;
  const what = `inode ${ino}, which ${inode ? `is a ${inode.type}` : "does not exist"}`;
  if (now.hasEntries) {
    const message = `there are entries in the directory ${what}`;
    const reason = "a directory that has a name is made again; check again if it was";
    await report.add({ kind: "entry-in-no-directory", ino, message }, reason);
  } else if (now.hasCounters) {
    const message = `there is a record of the directory ${what}`;
    const repair = () => forgetDirectory(context, ino);
    await report.add({ kind: "record-of-no-directory", ino, message }, repair);
  }
  return false;
}

async function checkSubdirectoryCount(context: CheckContext, ino: number): Promise<void> {
  const { schema } = context;
  const comparison = await compareCounter(context, {
    range: schema.children(ino),
    identityOf: (pair) => {
      const found = entryOf(context, pair);
      const isCounted = "entry" in found && found.entry.type === "directory";
      return isCounted ? `${pair.key}=${found.entry.ino}` : undefined;
    },
    counterKey: schema.directoryLinks(ino),
    witness: schema.directoryTimes(ino),
  });
  if (comparison === "undecided") return context.report.addUncompared();
  const { counter, counted } = comparison;
  if (counter === counted) return;
  const message = `directory ${ino} has ${counted} subdirectories, and its counter says ${counter}`;
  const repair = () => correctCounter(context, schema.directoryLinks(ino), comparison);
  await context.report.add({ kind: "wrong-subdirectory-count", ino, message }, repair);
}

/** Counts again only where the pass over the inodes does not say the same. */
export async function checkInodeCount(context: CheckContext, tree: Tree): Promise<void> {
  const { schema } = context;
  const [counter] = await valuesOf(context, [schema.inodeCount]);
  if (counterIn(counter) === tree.inodes && context.report.counts.repaired === 0) return;
  const comparison = await compareCounter(context, {
    range: schema.allOf("ino"),
    identityOf: ({ key }) => key,
    counterKey: schema.inodeCount,
  });
  if (comparison === "undecided") return context.report.addUncompared();
  if (comparison.counter === comparison.counted) return;
  const message = `there are ${comparison.counted} inodes, and their counter says ` +
    `${comparison.counter}`;
  const repair = () => correctCounter(context, schema.inodeCount, comparison);
  await context.report.add({ kind: "wrong-inode-count", message }, repair);
}
