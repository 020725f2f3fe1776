// The check of the tree, in two passes over sorted keys: all entries, then all inodes. What does not
// fit on the way is only suspected, for the tree changes meanwhile; suspects.ts looks again.

import { limits } from "../../shared/limits.ts";
import { rootInode } from "../../shared/model.ts";
import { type Key, keyToText, type KeyValue } from "../../shared/store/store.ts";
import { readOnly } from "../../shared/store/transact.ts";
import {
  type Child,
  decodeChild,
  decodeDirectoryTimes,
  decodeInode,
  type Inode,
} from "../values.ts";
import { LinkTable } from "./link_table.ts";
import {
  type CheckContext,
  counterIn,
  inodeIn,
  nextInoIn,
  pagesOf,
  parseIno,
  tryDecode,
  valuesOf,
} from "./reading.ts";
import { liesBelow, raiseNextIno } from "./repairs.ts";
import { type Entry, inodeProblem, isEntry, linksProblem } from "./rules.ts";

/** What the two passes leave to be looked into, and what they have counted. */
export class Tree {
  readonly links = new LinkTable();
  /** Inodes that do not have the entries that they should have, as far as the passes saw. */
  readonly #suspectInodes = new Set<number>();
  /** Directories whose counters, or whose existence, do not fit to their entries. */
  readonly #suspectDirectories = new Set<number>();
  inodes = 0;
  entries = 0;
  /** Entries that nobody can read: which inodes they lead to is not known. */
  unreadableEntries = 0;
  /** Suspects that there was no room for; another check finds them when these are repaired. */
  suspectsLeftOut = 0;

  get suspectInodes(): ReadonlySet<number> {
    return this.#suspectInodes;
  }

  get suspectDirectories(): ReadonlySet<number> {
    return this.#suspectDirectories;
  }

  addSuspectInode(ino: number): void {
    this.#add(this.#suspectInodes, ino);
  }

  addSuspectDirectory(ino: number): void {
    this.#add(this.#suspectDirectories, ino);
  }

  #add(suspects: Set<number>, ino: number): void {
    if (suspects.size < limits.checkAllSuspectsMax) suspects.add(ino);
    else if (!suspects.has(ino)) this.suspectsLeftOut++;
  }
}

export type InodeVisitor = (inode: Inode, value: Uint8Array) => Promise<void>;

// ── entries ────────────────────────────────────────────────────────────────────────────────────

export async function readEntries(context: CheckContext, tree: Tree): Promise<void> {
  await new EntryPass(context, tree).run();
  await readOwners(context, tree);
}

/** An entry of a key and value, or what is wrong with them. */
export function entryOf(
  { schema }: CheckContext,
  { key, value }: KeyValue,
): { entry: Entry } | { parent: number | undefined; problem: string } {
  const rest = key.slice(schema.allOf("children").begin.length);
  const parent = parseIno(rest.slice(0, 16));
  const name = nameOf(rest.slice(17));
  const isKey = parent !== undefined && rest[16] === "/" && name !== undefined;
  if (!isKey || !isEntry({ parent, name })) return { parent, problem: "no entry has such a key" };
  const decoded = tryDecode(decodeChild, value);
  if ("problem" in decoded) return { parent, problem: decoded.problem };
  const { ino, type }: Child = decoded.content;
  if (!Number.isSafeInteger(ino) || ino < 1) return { parent, problem: `it leads to inode ${ino}` };
  return { entry: { parent, name, ino, type } };
}

function nameOf(key: Key): string | undefined {
  try {
    return keyToText(key);
  } catch {
    // Not UTF-8: no mds has written it.
    return undefined;
  }
}

class EntryPass {
  readonly #context: CheckContext;
  readonly #tree: Tree;
  readonly #counters: AsyncIterator<{ ino: number; count: number }>;
  #counter: { ino: number; count: number } | undefined;
  /** The directory whose entries are being read; undefined of `subdirectories`: cannot be known. */
  #directory: { ino: number; subdirectories: number | undefined } | undefined;

  constructor(context: CheckContext, tree: Tree) {
    this.#context = context;
    this.#tree = tree;
    this.#counters = readCounters(context);
  }

  async run(): Promise<void> {
    const { schema, onProgress } = this.#context;
    await this.#nextCounter();
    for await (const page of pagesOf(this.#context, schema.allOf("children"))) {
      const toLookUp = new Map<number, Entry | undefined>();
      for (const pair of page) await this.#addPair(pair, toLookUp);
      await this.#lookUp(toLookUp);
      onProgress({ stage: "entries", done: this.#tree.entries });
    }
    await this.#endDirectory();
    while (this.#counter) await this.#takeCounter(0);
  }

  async #addPair(pair: KeyValue, toLookUp: Map<number, Entry | undefined>): Promise<void> {
    const found = entryOf(this.#context, pair);
    const parent = "entry" in found ? found.entry.parent : found.parent;
    if (parent !== undefined && parent !== this.#directory?.ino) {
      await this.#endDirectory();
      this.#directory = { ino: parent, subdirectories: 0 };
      if (!toLookUp.has(parent)) toLookUp.set(parent, undefined);
    }
    if ("problem" in found) return await this.#addUnreadable(pair.key, found.problem);
    const { entry } = found;
    this.#tree.entries++;
    this.#tree.links.addEntry(entry.ino, entry.type);
    if (entry.type !== "directory") return;
    if (this.#directory?.subdirectories !== undefined) this.#directory.subdirectories++;
    toLookUp.set(entry.ino, entry);
  }

  async #addUnreadable(key: Key, problem: string): Promise<void> {
    if (this.#directory) this.#directory.subdirectories = undefined;
    if (await isGone(this.#context, key)) return;
    this.#tree.unreadableEntries++;
    await addUnreadable(this.#context, "a directory entry", key, problem);
  }

  /** Whether those are directories, and where their entries are. */
  async #lookUp(toLookUp: ReadonlyMap<number, Entry | undefined>): Promise<void> {
    const { schema } = this.#context;
    const inos = [...toLookUp.keys()];
    const values = await valuesOf(this.#context, inos.map((ino) => schema.inode(ino)));
    for (const [index, ino] of inos.entries()) {
      const inode = inodeIn(values[index]);
      const entry = toLookUp.get(ino);
      if (inode?.type !== "directory") this.#tree.addSuspectDirectory(ino);
      if (entry && inode?.parent !== entry.parent) this.#tree.addSuspectInode(ino);
    }
  }

  async #endDirectory(): Promise<void> {
    const directory = this.#directory;
    if (!directory) return;
    this.#directory = undefined;
    while (this.#counter && this.#counter.ino < directory.ino) await this.#takeCounter(0);
    const { ino, subdirectories } = directory;
    if (this.#counter?.ino === ino) return await this.#takeCounter(subdirectories);
    if (subdirectories !== undefined && subdirectories > 0) {
      this.#tree.addSuspectDirectory(ino);
    }
  }

  /** The next counter is of a directory with so many subdirectories. */
  async #takeCounter(subdirectories: number | undefined): Promise<void> {
    const { ino, count } = this.#counter!;
    const fits = subdirectories === undefined || count === subdirectories;
    if (!fits) this.#tree.addSuspectDirectory(ino);
    await this.#nextCounter();
  }

  async #nextCounter(): Promise<void> {
    const { done, value } = await this.#counters.next();
    this.#counter = done ? undefined : value;
  }
}

/** The counters of subdirectories, by inode number. */
async function* readCounters(
  context: CheckContext,
): AsyncGenerator<{ ino: number; count: number }, undefined> {
  const range = context.schema.allOf("dir_links");
  for await (const page of pagesOf(context, range)) {
    for (const { key, value } of page) {
      const ino = parseIno(key.slice(range.begin.length));
      if (ino !== undefined) yield { ino, count: counterIn(value) };
    }
  }
  return undefined;
}

/** What is kept beside directories must belong to one. */
async function readOwners(context: CheckContext, tree: Tree): Promise<void> {
  const { schema } = context;
  for (const kind of ["dir_links", "dir_times"] as const) {
    const range = schema.allOf(kind);
    for await (const page of pagesOf(context, range)) {
      const inos = page.map(({ key }) => parseIno(key.slice(range.begin.length)));
      const keys = inos.map((ino) => schema.inode(ino ?? 0));
      for (const [index, value] of (await valuesOf(context, keys)).entries()) {
        const ino = inos[index];
        const pair = page[index]!;
        const problem = ownedProblem(kind, ino, pair.value);
        if (problem) await addUnreadable(context, "what a directory has", pair.key, problem);
        else if (inodeIn(value)?.type !== "directory") tree.addSuspectDirectory(ino!);
      }
    }
  }
}

function ownedProblem(
  kind: "dir_links" | "dir_times",
  ino: number | undefined,
  value: Uint8Array,
): string | undefined {
  if (ino === undefined) return "no directory has such a key";
  if (kind === "dir_links") return value.length === 8 ? undefined : "no counter has such a length";
  const decoded = tryDecode(decodeDirectoryTimes, value);
  return "problem" in decoded ? decoded.problem : undefined;
}

// ── inodes ─────────────────────────────────────────────────────────────────────────────────────

/** `visit`: called with every file that can be read. */
export async function readInodes(
  context: CheckContext,
  tree: Tree,
  visit: InodeVisitor,
): Promise<void> {
  const { schema, onProgress } = context;
  const range = schema.allOf("ino");
  for await (const page of pagesOf(context, range)) {
    // A number is handed out before it is used, so this is not older than the page.
    const nextIno = await readNextIno(context);
    for (const { key, value } of page) {
      const ino = parseIno(key.slice(range.begin.length));
      const decoded = tryDecode(decodeInode, value);
      tree.inodes++;
      if (ino !== undefined) tree.links.addInode(ino);
      if (ino === undefined || "problem" in decoded) {
        const problem = "problem" in decoded ? decoded.problem : "no inode has such a key";
        await addUnreadable(context, "an inode", key, problem);
        continue;
      }
      await addInode(context, tree, { ino, value, inode: decoded.content, nextIno }, visit);
    }
    onProgress({ stage: "inodes", done: tree.inodes, expected: await readInodeCount(context) });
  }
  const [root] = await valuesOf(context, [schema.inode(rootInode)]);
  if (!root) tree.addSuspectInode(rootInode);
  for (const ino of tree.links.namedOnly()) tree.addSuspectInode(ino);
}

interface ReadInode {
  readonly ino: number;
  readonly value: Uint8Array;
  readonly inode: Inode;
  readonly nextIno: number;
}

async function addInode(
  context: CheckContext,
  tree: Tree,
  { ino, value, inode, nextIno }: ReadInode,
  visit: InodeVisitor,
): Promise<void> {
  const problem = inodeProblem(ino, inode);
  if (problem) {
    const message = `inode ${ino} cannot be right: ${problem}`;
    await context.report.add({ kind: "bad-inode", ino, message }, "nothing tells what is right");
    return;
  }
  if (ino !== rootInode && ino >= nextIno) {
    const message = `inode ${ino} has a number that was never handed out: the next one is ` +
      `${nextIno}`;
    const repair = () => raiseNextIno(context, ino);
    await context.report.add({ kind: "number-not-handed-out", ino, message }, repair);
  }
  const problemOfLinks = linksProblem(inode, tree.links.entriesOf(ino));
  if (problemOfLinks || tree.links.hasOtherType(ino, inode.type)) tree.addSuspectInode(ino);
  if (inode.type === "directory") await checkLoop(context, inode);
  if (inode.type === "file") await visit(inode, value);
}

export async function readNextIno(context: CheckContext): Promise<number> {
  const [value] = await valuesOf(context, [context.schema.nextIno]);
  return nextInoIn(value);
}

async function readInodeCount(context: CheckContext): Promise<number> {
  const [value] = await valuesOf(context, [context.schema.inodeCount]);
  return counterIn(value);
}

// ── loops ──────────────────────────────────────────────────────────────────────────────────────

/**
 * Whether a directory lies below itself. Where each has one name, that is the one way not to be
 * reached from the root. In every loop one directory is in one with a higher number, so only those
 * are followed up: directories that were moved.
 */
async function checkLoop(context: CheckContext, { ino, parent }: Inode): Promise<void> {
  if (ino === rootInode || parent === undefined || parent < ino) return;
  const isLoop = await readOnly(
    context,
    (transaction) => liesBelow(transaction, context, parent, ino),
  );
  if (!isLoop) return;
  const message = `directory ${ino} is in directory ${parent}, which lies below it: no path ` +
    "leads there";
  await context.report.add({ kind: "directory-loop", ino, message }, "nothing tells where it was");
}

// ── records ────────────────────────────────────────────────────────────────────────────────────

export async function addUnreadable(
  context: CheckContext,
  what: string,
  key: Key,
  problem: string,
): Promise<void> {
  const message = `${what} under ${JSON.stringify(key)} cannot be read: ${problem}`;
  await context.report.add({ kind: "unreadable-record", message }, "restore it from a backup");
}

async function isGone(context: CheckContext, key: Key): Promise<boolean> {
  const [value] = await valuesOf(context, [key]);
  return value === undefined;
}
