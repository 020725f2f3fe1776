// A file system in its plainest form, as root sees one: objects that hold each other. Slow, without
// concurrency, failures or numbers; what it says is what every other one should say.

import type { FileType } from "../../shared/model.ts";
import type { Operation, Outcome, Status, Subject } from "./operations.ts";

interface Node {
  readonly type: FileType;
  mode: number;
  uid: number;
  gid: number;
  /** Names of a file or symbolic link. */
  names: number;
  sizeBytes: number;
  readonly target: string;
  readonly children: Map<string, Node>;
  parent: Node | undefined;
}

class Refusal extends Error {}

function refuse(code: string): never {
  throw new Refusal(code);
}

function newNode(type: FileType, mode: number, target = ""): Node {
  return {
    type,
    mode,
    uid: 0,
    gid: 0,
    names: 0,
    sizeBytes: new TextEncoder().encode(target).length,
    target,
    children: new Map(),
    parent: undefined,
  };
}

export class ModelFileSystem implements Subject {
  readonly #root = newNode("directory", 0o755);

  perform(operation: Operation): Promise<Outcome> {
    try {
      return Promise.resolve(this.#perform(operation));
    } catch (error) {
      if (error instanceof Refusal) return Promise.resolve({ error: error.message });
      throw error;
    }
  }

  #perform(operation: Operation): Outcome {
    switch (operation.op) {
      case "mkdir":
        return this.#add(operation.path, newNode("directory", operation.mode));
      case "create":
        return this.#add(operation.path, newNode("file", operation.mode));
      case "symlink":
        return this.#add(operation.path, newNode("symlink", 0o777, operation.target));
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
        return { status: statusOf(this.#walk(operation.path, operation.follow)) };
      case "chmod":
        this.#walk(operation.path).mode = operation.mode;
        return "done";
      case "chown":
        return this.#chown(operation.path, operation.uid, operation.gid);
      case "truncate":
        return this.#truncate(operation.path, operation.sizeBytes);
    }
  }

  #add(path: string, node: Node): Outcome {
    const { directory, name } = this.#place(path);
    if (directory.children.has(name)) refuse("EEXIST");
    attach(directory, name, node);
    return "done";
  }

  #link(from: string, to: string): Outcome {
    const node = this.#walk(from, false);
    const { directory, name } = this.#place(to);
    if (directory.children.has(name)) refuse("EEXIST");
    if (node.type === "directory") refuse("EPERM");
    attach(directory, name, node);
    return "done";
  }

  #rename(from: string, to: string): Outcome {
    const old = this.#place(from);
    const target = this.#place(to);
    const node = old.directory.children.get(old.name) ?? refuse("ENOENT");
    const replaced = target.directory.children.get(target.name);
    if (replaced === node) return "done";
    for (let above: Node | undefined = target.directory; above; above = above.parent) {
      if (above === node) refuse("EINVAL");
    }
    if (replaced?.type === "directory") {
      if (node.type !== "directory") refuse("EISDIR");
      if (replaced.children.size > 0) refuse("ENOTEMPTY");
    } else if (replaced && node.type === "directory") refuse("ENOTDIR");
    if (replaced) detach(target.directory, target.name);
    detach(old.directory, old.name);
    attach(target.directory, target.name, node);
    return "done";
  }

  #unlink(path: string): Outcome {
    const { directory, name } = this.#place(path);
    const node = directory.children.get(name) ?? refuse("ENOENT");
    if (node.type === "directory") refuse("EISDIR");
    detach(directory, name);
    return "done";
  }

  #rmdir(path: string): Outcome {
    const { directory, name } = this.#place(path);
    const node = directory.children.get(name) ?? refuse("ENOENT");
    if (node.type !== "directory") refuse("ENOTDIR");
    if (node.children.size > 0) refuse("ENOTEMPTY");
    detach(directory, name);
    return "done";
  }

  #readdir(path: string): Outcome {
    const node = this.#walk(path);
    if (node.type !== "directory") refuse("ENOTDIR");
    return { names: [...node.children.keys()].sort() };
  }

  #readlink(path: string): Outcome {
    const node = this.#walk(path, false);
    if (node.type !== "symlink") refuse("EINVAL");
    return { target: node.target };
  }

  #chown(path: string, uid: number, gid: number): Outcome {
    const node = this.#walk(path);
    Object.assign(node, { uid, gid });
    return "done";
  }

  #truncate(path: string, sizeBytes: number): Outcome {
    const node = this.#walk(path);
    if (node.type === "directory") refuse("EISDIR");
    node.sizeBytes = sizeBytes;
    return "done";
  }

  #place(path: string): { directory: Node; name: string } {
    const slash = path.lastIndexOf("/");
    const directory = this.#walk(path.slice(0, slash + 1));
    if (directory.type !== "directory") refuse("ENOTDIR");
    return { directory, name: path.slice(slash + 1) };
  }

  #walk(path: string, follow = true): Node {
    const names = path.split("/");
    let current = this.#root;
    let followed = 0;
    for (let name = names.shift(); name !== undefined; name = names.shift()) {
      if (current.type !== "directory") refuse("ENOTDIR");
      if (name === "" || name === ".") continue;
      const next = name === ".."
        ? current.parent ?? this.#root
        : current.children.get(name) ?? refuse("ENOENT");
      if (next.type !== "symlink" || (names.length === 0 && !follow)) {
        current = next;
        continue;
      }
      if (++followed > 40) refuse("ELOOP");
      names.unshift(...next.target.split("/"));
      if (next.target.startsWith("/")) current = this.#root;
    }
    return current;
  }
}

function attach(directory: Node, name: string, node: Node): void {
  directory.children.set(name, node);
  node.names++;
  if (node.type === "directory") node.parent = directory;
}

function detach(directory: Node, name: string): void {
  const node = directory.children.get(name)!;
  directory.children.delete(name);
  node.names--;
}

function statusOf({ type, mode, uid, gid, names, sizeBytes, children }: Node): Status {
  const inside = [...children.values()].filter((child) => child.type === "directory").length;
  const links = type === "directory" ? 2 + inside : names;
  return { type, mode, uid, gid, links, sizeBytes: type === "directory" ? 0 : sizeBytes };
}
