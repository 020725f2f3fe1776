// The other ends of an operation: a cluster through its client library, and a directory of the
// local file system.

import * as fs from "node:fs";
import { type FileSystem, isRustreError } from "../../client/mod.ts";
import type { Attributes } from "../../shared/model.ts";
import type { Outcome, SimpleOperation, Status, Subject } from "./operations.ts";

export class ClusterSubject implements Subject {
  readonly #fileSystem: FileSystem;

  constructor(fileSystem: FileSystem) {
    this.#fileSystem = fileSystem;
  }

  async perform(operation: SimpleOperation): Promise<Outcome> {
    try {
      return await this.#perform(operation);
    } catch (error) {
      if (isRustreError(error)) return { error: error.code };
      throw error;
    }
  }

  async #perform(operation: SimpleOperation): Promise<Outcome> {
    const fileSystem = this.#fileSystem;
    switch (operation.op) {
      case "mkdir":
        await fileSystem.mkdir(operation.path, { mode: operation.mode });
        return "done";
      case "create":
        await fileSystem.createEmpty(operation.path, { mode: operation.mode });
        return "done";
      case "symlink":
        await fileSystem.symlink(operation.target, operation.path);
        return "done";
      case "link":
        return withStatus(await fileSystem.link(operation.from, operation.to));
      case "rename":
        await fileSystem.rename(operation.from, operation.to);
        return "done";
      case "unlink":
        await fileSystem.unlink(operation.path);
        return "done";
      case "rmdir":
        await fileSystem.rmdir(operation.path);
        return "done";
      case "readdir": {
        const entries = await Array.fromAsync(fileSystem.readdir(operation.path));
        return { names: entries.map(({ name }) => name) };
      }
      case "readlink":
        return { target: await fileSystem.readlink(operation.path) };
      case "stat": {
        const { path, follow } = operation;
        return withStatus(await fileSystem.stat(path, { follow }));
      }
      case "chmod":
      case "chown":
      case "truncate": {
        const { op: _, path, ...changes } = operation;
        return withStatus(await fileSystem.setAttributes(path, changes));
      }
    }
  }
}

/** What the model has of an inode's attributes. */
export function withStatus(attributes: Attributes): { readonly status: Status } {
  const { type, mode, uid, gid, links, sizeBytes } = attributes;
  return { status: { type, mode, uid, gid, links, sizeBytes } };
}

export class LocalSubject implements Subject {
  readonly #root: string;

  constructor(root: string) {
    this.#root = root;
  }

  perform(operation: SimpleOperation): Promise<Outcome> {
    try {
      return Promise.resolve(this.#perform(operation));
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      if (typeof code === "string") return Promise.resolve({ error: code });
      throw error;
    }
  }

  #perform(operation: SimpleOperation): Outcome {
    const at = (path: string) => this.#root + path;
    switch (operation.op) {
      case "mkdir":
        fs.mkdirSync(at(operation.path));
        fs.chmodSync(at(operation.path), operation.mode);
        return "done";
      case "create":
        fs.closeSync(fs.openSync(at(operation.path), "wx"));
        fs.chmodSync(at(operation.path), operation.mode);
        return "done";
      case "symlink":
        fs.symlinkSync(operation.target, at(operation.path));
        return "done";
      case "link":
        fs.linkSync(at(operation.from), at(operation.to));
        return { status: this.#stat(at(operation.to), false) };
      case "rename":
        fs.renameSync(at(operation.from), at(operation.to));
        return "done";
      case "unlink":
        // Deno's unlink and rmdir remove either; the kernel's own do not.
        if (fs.lstatSync(at(operation.path)).isDirectory()) return { error: "EISDIR" };
        fs.unlinkSync(at(operation.path));
        return "done";
      case "rmdir":
        if (!fs.lstatSync(at(operation.path)).isDirectory()) return { error: "ENOTDIR" };
        fs.rmdirSync(at(operation.path));
        return "done";
      case "readdir":
        return { names: fs.readdirSync(at(operation.path)).sort() };
      case "readlink":
        return { target: fs.readlinkSync(at(operation.path)) };
      case "stat":
        return { status: this.#stat(at(operation.path), operation.follow) };
      case "chmod":
        fs.chmodSync(at(operation.path), operation.mode);
        return { status: this.#stat(at(operation.path), true) };
      case "chown":
        fs.chownSync(at(operation.path), operation.uid, operation.gid);
        return { status: this.#stat(at(operation.path), true) };
      case "truncate":
        fs.truncateSync(at(operation.path), operation.sizeBytes);
        return { status: this.#stat(at(operation.path), true) };
    }
  }

  #stat(path: string, follow: boolean): Status {
    const found = follow ? fs.statSync(path) : fs.lstatSync(path);
    const type = found.isDirectory() ? "directory" : found.isSymbolicLink() ? "symlink" : "file";
    return {
      type,
      mode: found.mode & 0o7777,
      uid: found.uid,
      gid: found.gid,
      links: found.nlink,
      sizeBytes: type === "directory" ? 0 : found.size,
    };
  }
}
