// A file system in its plainest form, as values that never change: what an operation gives, and what
// the file system is then. Root's, without numbers: an inode is named by the operation that made it.
// Slow, without concurrency or failures; what it says is what every other one should say.

import type { FileType } from "../../shared/model.ts";
import type { Operation, Outcome, SimpleOperation, Status, Subject } from "./operations.ts";

interface Node {
  readonly id: number;
  readonly type: FileType;
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  readonly sizeBytes: number;
  readonly target: string;
  /** Names of what is no directory. */
  readonly names: number;
  readonly parent: number;
  readonly children: ReadonlyMap<string, number>;
}

/** What was begun or opened: the directory and name, or the inode. */
interface Handle {
  readonly node: number;
  readonly name: string;
  readonly replace: boolean;
}

export interface State {
  readonly nodes: ReadonlyMap<number, Node>;
  readonly handles: ReadonlyMap<number, Handle>;
}

export interface Step {
  readonly outcome: Outcome;
  /** The same where nothing changed. */
  readonly state: State;
}

const root = 0;
export const newFileMode = 0o644;

export const emptyState: State = {
  nodes: new Map([[root, newNode(root, "directory", 0o755, { parent: root })]]),
  handles: new Map(),
};

function newNode(id: number, type: FileType, mode: number, fields: Partial<Node> = {}): Node {
  const owner = { uid: 0, gid: 0 };
  const empty = { sizeBytes: 0, target: "", names: 0, parent: root, children: new Map() };
  return { ...owner, ...empty, id, type, mode, ...fields };
}

const nodeKeys = new WeakMap<Node, string>();

/** The same for states that are the same. */
export function keyOf(state: State): string {
  const nodes = [...state.nodes.values()].sort((a, b) => a.id - b.id).map(nodeKeyOf);
  const handles = [...state.handles].map(([id, { node, name }]) => `${id}:${node}:${name}`).sort();
  return `${nodes.join(";")}|${handles.join(";")}`;
}

/** Most nodes of a state are those of the states before it. */
function nodeKeyOf(node: Node): string {
  const known = nodeKeys.get(node);
  if (known !== undefined) return known;
  const children = [...node.children].sort(([a], [b]) => a < b ? -1 : 1);
  const { id, mode, uid, gid, sizeBytes, names, parent } = node;
  const key = `${id}:${mode}:${uid}:${gid}:${sizeBytes}:${names}:${parent}:${children}`;
  nodeKeys.set(node, key);
  return key;
}

/** No Error: nobody reads its stack, which costs more than the operation. */
class Refusal {
  constructor(readonly code: string) {}
}

function refuse(code: string): never {
  throw new Refusal(code);
}

export function perform(state: State, operation: Operation): Step {
  const draft = new Draft(state);
  try {
    return { outcome: draft.perform(operation), state: draft.end() };
  } catch (error) {
    if (error instanceof Refusal) return { outcome: { error: error.code }, state };
    throw error;
  }
}

/** The state when nobody will refer any more to what that operation began or opened. */
export function withoutHandle(state: State, id: number): State {
  if (!state.handles.has(id)) return state;
  const handles = new Map(state.handles);
  handles.delete(id);
  return { nodes: state.nodes, handles };
}

/** A state that is being changed. */
class Draft {
  readonly #state: State;
  #changedNodes: Map<number, Node> | undefined;
  #changedHandles: Map<number, Handle> | undefined;

  constructor(state: State) {
    this.#state = state;
  }

  end(): State {
    if (!this.#changedNodes && !this.#changedHandles) return this.#state;
    return { nodes: this.#nodes, handles: this.#handles };
  }

  get #nodes(): ReadonlyMap<number, Node> {
    return this.#changedNodes ?? this.#state.nodes;
  }

  get #handles(): ReadonlyMap<number, Handle> {
    return this.#changedHandles ?? this.#state.handles;
  }

  perform(operation: Operation): Outcome {
    switch (operation.op) {
      case "mkdir":
        return this.#make(operation.path, newNode(operation.id, "directory", operation.mode));
      case "create":
        return this.#make(operation.path, newNode(operation.id, "file", operation.mode));
      case "symlink": {
        const { id, target, path } = operation;
        const sizeBytes = new TextEncoder().encode(target).length;
        return this.#make(path, newNode(id, "symlink", 0o777, { target, sizeBytes }));
      }
      case "link":
        return this.#link(operation.from, operation.to);
      case "rename":
        return this.#rename(operation.from, operation.to);
      case "unlink":
        return this.#unlink(operation.path);
      case "rmdir":
        return this.#rmdir(operation.path);
      case "readdir":
        return this.#readdir(operation.path);
      case "readlink":
        return this.#readlink(operation.path);
      case "stat":
        return { status: this.#statusOf(this.#walk(operation.path, operation.follow)) };
      case "open":
        return { status: this.#statusOf(this.#file(operation.path)) };
      case "chmod":
        return this.#change(this.#walk(operation.path, true), { mode: operation.mode });
      case "chown": {
        const { uid, gid } = operation;
        return this.#change(this.#walk(operation.path, true), { uid, gid });
      }
      case "truncate":
        return this.#change(this.#file(operation.path), { sizeBytes: operation.sizeBytes });
      case "begin":
        return this.#begin(operation.id, operation.path, operation.replace);
      case "commit":
        return this.#commit(operation.of, operation.sizeBytes);
      case "openWrite":
        return this.#openWrite(operation.id, operation.path);
      case "commitWrite":
        return this.#commitWrite(operation.of, operation.endBytes);
    }
  }

  // ── operations ───────────────────────────────────────────────────────────────────────────────

  #make(path: string, node: Node): Outcome {
    const { directory, name } = this.#place(path);
    if (directory.children.has(name)) refuse("EEXIST");
    this.#put(node);
    this.#attach(directory.id, name, node.id);
    return "done";
  }

  #link(from: string, to: string): Outcome {
    const node = this.#walk(from, false);
    const { directory, name } = this.#place(to);
    if (directory.children.has(name)) refuse("EEXIST");
    if (node.type === "directory") refuse("EPERM");
    this.#attach(directory.id, name, node.id);
    return { status: this.#statusOf(this.#node(node.id)) };
  }

  #rename(from: string, to: string): Outcome {
    const old = this.#place(from);
    const target = this.#place(to);
    const moved = this.#node(old.directory.children.get(old.name) ?? refuse("ENOENT"));
    const replacedId = target.directory.children.get(target.name);
    if (replacedId === moved.id) return "done";
    for (let above = target.directory; above.id !== root; above = this.#node(above.parent)) {
      if (above.id === moved.id) refuse("EINVAL");
    }
    if (replacedId !== undefined) this.#checkReplaced(moved, this.#node(replacedId));
    if (replacedId !== undefined) this.#detach(target.directory.id, target.name);
    this.#detach(old.directory.id, old.name, { keep: true });
    this.#attach(target.directory.id, target.name, moved.id);
    return "done";
  }

  #checkReplaced(moved: Node, replaced: Node): void {
    if (replaced.type === "directory") {
      if (moved.type !== "directory") refuse("EISDIR");
      if (replaced.children.size > 0) refuse("ENOTEMPTY");
    } else if (moved.type === "directory") refuse("ENOTDIR");
  }

  #unlink(path: string): Outcome {
    const { directory, name } = this.#place(path);
    const node = this.#node(directory.children.get(name) ?? refuse("ENOENT"));
    if (node.type === "directory") refuse("EISDIR");
    this.#detach(directory.id, name);
    return "done";
  }

  #rmdir(path: string): Outcome {
    const { directory, name } = this.#place(path);
    const node = this.#node(directory.children.get(name) ?? refuse("ENOENT"));
    if (node.type !== "directory") refuse("ENOTDIR");
    if (node.children.size > 0) refuse("ENOTEMPTY");
    this.#detach(directory.id, name);
    return "done";
  }

  #readdir(path: string): Outcome {
    const node = this.#walk(path, true);
    if (node.type !== "directory") refuse("ENOTDIR");
    return { names: [...node.children.keys()].sort() };
  }

  #readlink(path: string): Outcome {
    const node = this.#walk(path, false);
    if (node.type !== "symlink") refuse("EINVAL");
    return { target: node.target };
  }

  #change(node: Node, changes: Partial<Node>): Outcome {
    const changed = { ...node, ...changes };
    this.#put(changed);
    return { status: this.#statusOf(changed) };
  }

  #begin(id: number, path: string, replace: boolean): Outcome {
    const { directory, name } = this.#place(path);
    this.#checkName(directory, name, replace);
    this.#putHandle(id, { node: directory.id, name, replace });
    return "done";
  }

  #commit(of: number, sizeBytes: number): Outcome {
    const { node, name, replace } = this.#handles.get(of) ?? refuse("ENOENT");
    const directory = this.#nodes.get(node) ?? refuse("ENOENT");
    this.#checkName(directory, name, replace);
    if (directory.children.has(name)) this.#detach(directory.id, name);
    this.#put(newNode(of, "file", newFileMode, { sizeBytes }));
    this.#attach(directory.id, name, of);
    this.#handlesToChange().delete(of);
    return { status: this.#statusOf(this.#node(of)) };
  }

  #checkName(directory: Node, name: string, replace: boolean): void {
    const found = directory.children.get(name);
    if (found === undefined) return;
    if (this.#node(found).type === "directory") refuse(replace ? "EISDIR" : "EEXIST");
    if (!replace) refuse("EEXIST");
  }

  #openWrite(id: number, path: string): Outcome {
    const { id: node } = this.#file(path);
    this.#putHandle(id, { node, name: "", replace: false });
    return "done";
  }

  #commitWrite(of: number, endBytes: number): Outcome {
    const { node } = this.#handles.get(of) ?? refuse("EBADF");
    const file = this.#nodes.get(node) ?? refuse("ENOENT");
    return this.#change(file, { sizeBytes: Math.max(file.sizeBytes, endBytes) });
  }

  // ── parts ────────────────────────────────────────────────────────────────────────────────────

  #place(path: string): { directory: Node; name: string } {
    const slash = path.lastIndexOf("/");
    const directory = this.#walk(path.slice(0, slash + 1), true);
    if (directory.type !== "directory") refuse("ENOTDIR");
    return { directory, name: path.slice(slash + 1) };
  }

  /** A file that is opened or cut. */
  #file(path: string): Node {
    const node = this.#walk(path, true);
    if (node.type === "directory") refuse("EISDIR");
    return node;
  }

  #walk(path: string, follow: boolean): Node {
    const names = path.split("/");
    let current = this.#node(root);
    let followed = 0;
    for (let name = names.shift(); name !== undefined; name = names.shift()) {
      if (current.type !== "directory") refuse("ENOTDIR");
      if (name === "" || name === ".") continue;
      const id = name === ".." ? current.parent : current.children.get(name);
      const next = this.#node(id ?? refuse("ENOENT"));
      if (next.type !== "symlink" || (names.length === 0 && !follow)) {
        current = next;
        continue;
      }
      if (++followed > 40) refuse("ELOOP");
      names.unshift(...next.target.split("/"));
      if (next.target.startsWith("/")) current = this.#node(root);
    }
    return current;
  }

  #statusOf({ type, mode, uid, gid, names, sizeBytes, children }: Node): Status {
    const of = { type, mode, uid, gid };
    if (type !== "directory") return { ...of, links: names, sizeBytes };
    const inside = [...children.values()].filter((id) => this.#node(id).type === "directory");
    return { ...of, links: 2 + inside.length, sizeBytes: 0 };
  }

  #node(id: number): Node {
    return this.#nodes.get(id)!;
  }

  #attach(directory: number, name: string, id: number): void {
    const above = this.#node(directory);
    this.#put({ ...above, children: new Map(above.children).set(name, id) });
    const node = this.#node(id);
    if (node.type === "directory") this.#put({ ...node, parent: directory });
    else this.#put({ ...node, names: node.names + 1 });
  }

  /** Removes a name, and with the last one what it led to, unless that is to be kept. */
  #detach(directory: number, name: string, { keep = false } = {}): void {
    const above = this.#node(directory);
    const children = new Map(above.children);
    const node = this.#node(children.get(name)!);
    children.delete(name);
    this.#put({ ...above, children });
    if (node.type !== "directory") this.#put({ ...node, names: node.names - 1 });
    if (!keep && node.names <= 1) this.#nodesToChange().delete(node.id);
  }

  #put(node: Node): void {
    this.#nodesToChange().set(node.id, node);
  }

  #putHandle(id: number, handle: Handle): void {
    this.#handlesToChange().set(id, handle);
  }

  #nodesToChange(): Map<number, Node> {
    return this.#changedNodes ??= new Map(this.#state.nodes);
  }

  #handlesToChange(): Map<number, Handle> {
    return this.#changedHandles ??= new Map(this.#state.handles);
  }
}

/** One that is what its operations have made of it. */
export class ModelFileSystem implements Subject {
  #state = emptyState;
  #nextId = 1;

  perform(operation: SimpleOperation): Promise<Outcome> {
    const named = { id: this.#nextId++, ...operation } as Operation;
    const { outcome, state } = perform(this.#state, named);
    this.#state = state;
    return Promise.resolve(outcome);
  }
}
