// What clients of a file system do, in a form that a cluster, a model and a local directory can all
// carry out, with outcomes that can be compared; and random ones of it.

import * as fc from "fast-check";
import type { FileType } from "../../shared/model.ts";

/** Each is one transaction of an mds. `id` names the operation, and the inode that it makes. */
export type Operation =
  | {
    readonly op: "mkdir" | "create";
    readonly id: number;
    readonly path: string;
    readonly mode: number;
  }
  | { readonly op: "symlink"; readonly id: number; readonly target: string; readonly path: string }
  | { readonly op: "link" | "rename"; readonly from: string; readonly to: string }
  | { readonly op: "unlink" | "rmdir" | "readdir" | "readlink"; readonly path: string }
  | { readonly op: "stat"; readonly path: string; readonly follow: boolean }
  | { readonly op: "chmod"; readonly path: string; readonly mode: number }
  | { readonly op: "chown"; readonly path: string; readonly uid: number; readonly gid: number }
  | { readonly op: "truncate"; readonly path: string; readonly sizeBytes: number }
  | FileOperation;

/** What is done with a file in several steps. */
type FileOperation =
  | { readonly op: "open"; readonly path: string }
  /** A file that nobody sees before its commit. */
  | { readonly op: "begin"; readonly id: number; readonly path: string; readonly replace: boolean }
  | { readonly op: "commit"; readonly of: number; readonly sizeBytes: number }
  /** A file that is written in place, and how far it was. */
  | { readonly op: "openWrite"; readonly id: number; readonly path: string }
  | { readonly op: "commitWrite"; readonly of: number; readonly endBytes: number };

/** Those of one step, which no other operation refers to. */
export type SimpleOperation = WithoutId<Exclude<Operation, FileOperation>>;
type WithoutId<Each> = Each extends unknown ? Omit<Each, "id"> : never;

export interface Status {
  readonly type: FileType;
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  readonly links: number;
  readonly sizeBytes: number;
}

export type Outcome =
  | { readonly error: string }
  | { readonly status: Status }
  | { readonly names: readonly string[] }
  | { readonly target: string }
  | "done";

export interface Subject {
  perform(operation: SimpleOperation): Promise<Outcome>;
}

/** `escaping`: links may be absolute or hold "..", which a directory of a local tree cannot hold in. */
export function operations(options: { escaping: boolean }): fc.Arbitrary<SimpleOperation> {
  const name = fc.constantFrom("a", "b", "c", "ä ü");
  // Mostly short ones: what is deep is mostly in no directory.
  const pathUpTo = (maxLength: number) =>
    fc.array(name, { minLength: 1, maxLength, size: "max" }).map((names) => `/${names.join("/")}`);
  const path = fc.oneof(
    { weight: 3, arbitrary: pathUpTo(2) },
    { weight: 1, arbitrary: pathUpTo(4) },
  );
  const odd = fc.tuple(path, fc.constantFrom("", "", "/", "/.", "/..", "//b")).map(([start, end]) =>
    start + (end === "/.." && !options.escaping ? "" : end)
  );
  const relative = fc.array(name, { minLength: 1, maxLength: 2 }).map((names) => names.join("/"));
  const target = options.escaping
    ? fc.oneof(relative, path, relative.map((rest) => `../${rest}`), fc.constant("."))
    : relative;
  const mode = fc.constantFrom(0o755, 0o700, 0o644, 0o600, 0o000);
  const id = fc.constantFrom(0, 1, 1000);
  const sizeBytes = fc.constantFrom(0, 1, 1000, 70_000);
  const one = <Name extends SimpleOperation["op"]>(op: Name) => fc.constant(op);
  return fc.oneof(
    { weight: 4, arbitrary: fc.record({ op: one("mkdir"), path, mode }) },
    { weight: 4, arbitrary: fc.record({ op: one("create"), path, mode }) },
    { weight: 2, arbitrary: fc.record({ op: one("symlink"), target, path }) },
    { weight: 3, arbitrary: fc.record({ op: one("link"), from: path, to: path }) },
    { weight: 4, arbitrary: fc.record({ op: one("rename"), from: path, to: path }) },
    { weight: 3, arbitrary: fc.record({ op: one("unlink"), path }) },
    { weight: 3, arbitrary: fc.record({ op: one("rmdir"), path }) },
    { weight: 2, arbitrary: fc.record({ op: one("readdir"), path: odd }) },
    { weight: 1, arbitrary: fc.record({ op: one("readlink"), path }) },
    { weight: 4, arbitrary: fc.record({ op: one("stat"), path: odd, follow: fc.boolean() }) },
    { weight: 1, arbitrary: fc.record({ op: one("chmod"), path, mode }) },
    { weight: 1, arbitrary: fc.record({ op: one("chown"), path, uid: id, gid: id }) },
    { weight: 2, arbitrary: fc.record({ op: one("truncate"), path, sizeBytes }) },
  ) as fc.Arbitrary<SimpleOperation>;
}

/** A whole tree, walked with `readdir` and `stat`: what is where, and what it is like. */
export async function treeOf(subject: Subject, path = "/"): Promise<Record<string, Outcome>> {
  const tree: Record<string, Outcome> = {};
  const listing = await subject.perform({ op: "readdir", path });
  if (listing === "done" || !("names" in listing)) return { [path]: listing };
  for (const name of listing.names) {
    const child = path === "/" ? `/${name}` : `${path}/${name}`;
    const outcome = await subject.perform({ op: "stat", path: child, follow: false });
    tree[child] = outcome;
    if (outcome === "done" || !("status" in outcome)) continue;
    if (outcome.status.type === "directory") {
      tree[`${child}/..`] = await subject.perform({
        op: "stat",
        path: `${child}/..`,
        follow: true,
      });
      Object.assign(tree, await treeOf(subject, child));
    }
    if (outcome.status.type === "symlink") {
      tree[`${child} ->`] = await subject.perform({ op: "readlink", path: child });
    }
  }
  return tree;
}
