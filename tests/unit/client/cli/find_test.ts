import assert from "node:assert/strict";
import { parseOperands } from "../../../../client/cli/find.ts";
import { UsageError } from "../../../../shared/command_line.ts";

function matches(glob: string, name: string): boolean {
  const { conditions } = parseOperands(["/", "-name", glob]);
  return conditions.every(({ holds }) => holds({ path: `/${name}`, name, type: "file" }));
}

Deno.test("find -name takes the globs of find", () => {
  const holds = [
    ["*", ".hidden"],
    ["*", "a\nb"],
    ["**", "a"],
    ["*.ts", "a.b.ts"],
    ["a?c", "abc"],
    ["a?c", "aéc"],
    ["[ab]*", "bcd"],
    ["[!ab]*", "cd"],
    ["[a-c]", "b"],
    ["\\*", "*"],
    ["a.b", "a.b"],
    ["(a)", "(a)"],
    ["a{b,c}", "a{b,c}"],
    ["!a", "!a"],
    ["a|b", "a|b"],
    ["+(a)", "+(a)"],
    ["$x^", "$x^"],
  ] as const;
  for (const [glob, name] of holds) assert.equal(matches(glob, name), true, `${glob} ${name}`);
  const holdsNot = [
    ["a", "A"],
    ["*.ts", "a.tsx"],
    ["a?c", "ac"],
    ["a.b", "axb"],
    ["[!ab]*", "bc"],
    ["a{b,c}", "ab"],
    ["a|b", "a"],
    ["!a", "b"],
  ] as const;
  for (const [glob, name] of holdsNot) assert.equal(matches(glob, name), false, `${glob} ${name}`);
});

Deno.test("find takes paths and conditions in any order, and with two dashes", () => {
  const { paths, conditions } = parseOperands(["/a", "--name=x", "/b", "-type", "f"]);
  assert.deepEqual(paths, ["/a", "/b"]);
  const entry = { path: "/a/x", name: "x" };
  assert.equal(conditions.every(({ holds }) => holds({ ...entry, type: "file" })), true);
  assert.equal(conditions.every(({ holds }) => holds({ ...entry, type: "symlink" })), false);
});

Deno.test("find says what is wrong with its conditions", () => {
  for (
    const operands of [
      [],
      ["-name", "x"],
      ["/", "-name"],
      ["/", "-size", "x"],
      ["/", "-type", "q"],
      [
        "/",
        "-exec",
        "x",
      ],
    ]
  ) {
    assert.throws(() => parseOperands(operands), UsageError, operands.join(" "));
  }
});
