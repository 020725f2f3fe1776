// find: the paths below a directory that meet all conditions. Its conditions have one dash, as those
// of its namesake, so they are read here and not by the parser of flags.

import picomatch from "picomatch";
import { UsageError } from "../../shared/command_line.ts";
import type { FileType } from "../../shared/model.ts";
import { type WalkedEntry, walkTree } from "../transfer/walk_tree.ts";
import { parseBytes, remotePaths } from "./arguments.ts";
import { describeAttributes } from "./format.ts";
import type { Job } from "./session.ts";

interface Condition {
  readonly needsAttributes: boolean;
  holds(entry: WalkedEntry): boolean;
}

export function find(operands: readonly string[]): Job {
  const { paths, conditions } = parseOperands(operands);
  return {
    async run(session) {
      const { fileSystem, signal, json, output, failed } = session;
      const withAttributes = json || conditions.some((each) => each.needsAttributes);
      const options = { signal, withAttributes, onFailure: failed };
      await session.each(paths, async (path) => {
        for await (const entry of walkTree(fileSystem, path, options)) {
          if (!conditions.every((condition) => condition.holds(entry))) continue;
          if (json) await output.json(describeEntry(entry));
          else await output.line(output.name(entry.path));
        }
      });
    },
  };
}

function describeEntry({ path, name, attributes }: WalkedEntry) {
  return { path, name, ...(attributes ? describeAttributes(attributes) : {}) };
}

export function parseOperands(
  operands: readonly string[],
): { paths: string[]; conditions: Condition[] } {
  const paths: string[] = [];
  const conditions: Condition[] = [];
  for (let index = 0; index < operands.length; index++) {
    const operand = operands[index] ?? "";
    const match = /^--?([a-z]+)(?:=(.*))?$/s.exec(operand);
    if (!match) {
      paths.push(operand);
      continue;
    }
    const [, name = "", inline] = match;
    const value = inline ?? operands[++index];
    conditions.push(parseCondition(name, value));
  }
  if (paths.length === 0) throw new UsageError("Cannot search: a PATH is needed");
  return { paths: remotePaths(paths), conditions };
}

function parseCondition(name: string, value: string | undefined): Condition {
  const parse = { name: nameCondition, type: typeCondition, size: sizeCondition }[name];
  if (!parse) {
    throw new UsageError(`Cannot use "-${name}": find knows -name, -type and -size`);
  }
  if (value === undefined) throw new UsageError(`Cannot use "-${name}": it needs a value`);
  return parse(value);
}

/** A glob as find has it: *, ?, [...] and \ are special; braces and ! are not. */
function nameCondition(glob: string): Condition {
  const plain = glob.replace(
    /\\.|\*+|[|]/gs,
    (found) => found.startsWith("*") ? "*" : found === "|" ? "\\|" : found,
  );
  const options = {
    dot: true,
    nobrace: true,
    noextglob: true,
    noglobstar: true,
    nonegate: true,
    posix: true,
    flags: "su",
  };
  try {
    const matches = picomatch(plain, options);
    return { needsAttributes: false, holds: ({ name }) => matches(name) };
  } catch {
    throw new UsageError(`Cannot use "${glob}" with -name: not a pattern`);
  }
}

const typesByLetter = new Map<string, FileType>([
  ["f", "file"],
  ["d", "directory"],
  ["l", "symlink"],
]);

function typeCondition(letter: string): Condition {
  const wanted = typesByLetter.get(letter);
  if (wanted) return { needsAttributes: false, holds: ({ type }) => type === wanted };
  throw new UsageError(`Cannot use "${letter}" with -type: it must be f, d or l`);
}

/** Files of more than, less than or exactly so many bytes. */
function sizeCondition(text: string): Condition {
  const sign = /^[+-]/.exec(text)?.[0] ?? "";
  const bytes = parseBytes(text.slice(sign.length));
  if (bytes === undefined) {
    throw new UsageError(`Cannot use "${text}" with -size: it must be like 10, +64K or -1M`);
  }
  const compare = (sizeBytes: number) =>
    sign === "+" ? sizeBytes > bytes : sign === "-" ? sizeBytes < bytes : sizeBytes === bytes;
  return {
    needsAttributes: true,
    holds: ({ type, attributes }) =>
      type === "file" && attributes !== undefined && compare(attributes.sizeBytes),
  };
}
