// What may be a name in a directory, and how paths fall into names.

import { RustreError } from "../shared/errors.ts";
import { limits } from "../shared/limits.ts";

const encoder = new TextEncoder();

/** UTF-8 length without encoding where the bound decides. */
function utf8Bytes(text: string, bound: number): number {
  if (text.length > bound) return text.length;
  return text.length * 3 <= bound ? text.length : encoder.encode(text).length;
}

/** Whether an entry of a directory may be called so. */
export function mayBeName(name: string): boolean {
  return name !== "" && name !== "." && name !== ".." && !name.includes("/") &&
    utf8Bytes(name, limits.nameBytesMax) <= limits.nameBytesMax;
}

/** Refuses what no entry of a directory may be called. */
export function checkName(name: string): void {
  if (name === "") throw new RustreError("ENOENT", "an empty name");
  if (name === "." || name === "..") {
    throw new RustreError("EINVAL", `"${name}" is not a name that can be made, moved or removed`);
  }
  checkNameBytes(name);
}

function checkNameBytes(name: string): void {
  if (utf8Bytes(name, limits.nameBytesMax) > limits.nameBytesMax) {
    throw new RustreError("ENAMETOOLONG", `a name is over ${limits.nameBytesMax} bytes`);
  }
  if (name.includes("/")) throw new RustreError("EINVAL", `a name holds "/"`);
  if (name.includes("\0")) throw new RustreError("EINVAL", "a name holds a NUL byte");
  if (!name.isWellFormed()) throw new RustreError("EINVAL", "a name is not valid Unicode");
}

/**
 * The names of a path, first to last, each checked; "", "." and ".." among them. A path that ends in
 * "/" has an empty last name, and so must lead to a directory.
 */
export function namesOf(path: string): string[] {
  if (path === "") return [];
  if (utf8Bytes(path, limits.pathBytesMax) > limits.pathBytesMax) {
    throw new RustreError("ENAMETOOLONG", `the path is over ${limits.pathBytesMax} bytes`);
  }
  const names = path.split("/");
  for (const name of names) checkNameBytes(name);
  return names;
}

/** Refuses what no symbolic link may hold. */
export function checkSymlinkTarget(target: string): void {
  if (target === "") throw new RustreError("ENOENT", "a symbolic link to nothing");
  if (utf8Bytes(target, limits.symlinkBytesMax) > limits.symlinkBytesMax) {
    throw new RustreError(
      "ENAMETOOLONG",
      `a symbolic link's target is over ${limits.symlinkBytesMax} bytes`,
    );
  }
  if (target.includes("\0") || !target.isWellFormed()) {
    throw new RustreError(
      "EINVAL",
      "a symbolic link's target holds a NUL byte or no valid Unicode",
    );
  }
}

/** The length of a symbolic link, as stat shows it. */
export function symlinkBytes(target: string): number {
  return encoder.encode(target).length;
}
