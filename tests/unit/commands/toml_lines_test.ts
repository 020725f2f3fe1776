import assert from "node:assert/strict";
import * as fc from "fast-check";
import { parse } from "smol-toml";
import { TomlLines } from "../../../commands/toml_lines.ts";
import { checkProperty } from "../../support/seed.ts";

function linesOf(text: string, paths: readonly string[][]): number[] {
  parse(text);
  const lines = new TomlLines(text);
  return paths.map((path) => lines.lineOf(path));
}

Deno.test("TomlLines finds keys in tables, behind dots, in quotes and in braces", () => {
  const text = `top = 1

[a] # [b]
x = 1
"y z" = 2
d.e = 3
d.f = 4

[a.0]
x = { p = 1, q.r = 2 }
  [ "b" . 'c' ]
  x = "[d]"
`;
  const paths = ["top", "a", "a/x", "a/y z", "a/d", "a/d/e", "a/d/f", "a/0", "a/0/x", "a/0/x/p"];
  assert.deepEqual(
    linesOf(text, paths.map((path) => path.split("/"))),
    [1, 3, 4, 5, 6, 6, 7, 9, 10, 10],
  );
  const more = ["a/0/x/q/r", "b", "b/c", "b/c/x"].map((path) => path.split("/"));
  assert.deepEqual(linesOf(text, more), [10, 11, 11, 12]);
});

Deno.test("TomlLines is not misled by what strings and lists have in their lines", () => {
  const text = `[a]
x = """
[b]
y = 1
"""
list = [
  "x", # y = 2
  '''
[c]
''',
]\r
y = 3
[b]
y = 4`;
  const paths = [["a", "x"], ["a", "list"], ["a", "y"], ["b"], ["b", "y"]];
  assert.deepEqual(linesOf(text, paths), [2, 6, 12, 13, 14]);
});

Deno.test("TomlLines takes a statement of very many lines, and names the first for the rest", () => {
  const text = `[a]\nx = 1\nlist = [\n${"1,\n".repeat(20_000)}]\ny = 2\n[b]\n`;
  const paths = [["a", "x"], ["a", "list"], ["a", "y"], ["b"]];
  assert.deepEqual(linesOf(text, paths), [2, 3, 3, 3]);
});

Deno.test("TomlLines takes a key of very many parts", () => {
  const path = Array.from({ length: 30_000 }, () => "a");
  assert.deepEqual(linesOf(`\n${path.join(".")} = 1\n`, [path, ["a"]]), [2, 2]);
});

/** Statements of one table each, with how many lines they take. */
const statement = fc.constantFrom<[string, number]>(
  ["", 1],
  ["# k0 = 1", 1],
  ["= 1", 1],
  ['= """a\nk1 = 2\n[t1]\n"""', 4],
  ["= [\n  1,\n\n  [2]\n]", 5],
  ["= { a = 1 } # }", 1],
  ["= 'x' ", 1],
);

Deno.test("TomlLines finds every key of documents that are made at random", async () => {
  const document = fc.array(fc.tuple(fc.boolean(), statement), { maxLength: 30 });
  const property = fc.property(document, (statements) => {
    const expected: [string[], number][] = [];
    let text = "";
    let line = 1;
    let table: string[] = [];
    for (const [index, [isHeader, [rest, lines]]] of statements.entries()) {
      if (isHeader) {
        table = [`t${index}`, "0"];
        text += `[t${index}.0]\n`;
        expected.push([table, line++]);
      }
      const key = `k${index}`;
      text += rest.startsWith("=") ? `${key} ${rest}\n` : `${rest}\n`;
      if (rest.startsWith("=")) expected.push([[...table, key], line]);
      line += lines;
    }
    assert.deepEqual(linesOf(text, expected.map(([path]) => path)), expected.map(([, at]) => at));
  });
  await checkProperty(property, { runs: 200 });
});
