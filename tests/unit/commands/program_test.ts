import assert from "node:assert/strict";
import { commandTree } from "../../../commands/completion/command_tree.ts";
import type { ProgramContext } from "../../../commands/context.ts";
import { buildProgram } from "../../../commands/program.ts";

const newProgram = () => buildProgram({ output: undefined } as ProgramContext);

/** What `rustre ARGS` prints on standard output before it ends with exit status 0. */
function printedBy(args: readonly string[]): string {
  const program = newProgram();
  let printed = "";
  let command = program;
  for (const word of args) {
    command = command.commands.find((each) => each.name() === word) ?? command;
  }
  command.configureOutput({ writeOut: (text) => printed += text });
  assert.throws(() => program.parse(args, { from: "user" }), { exitCode: 0 });
  return printed;
}

Deno.test("every command has a help, on every level", () => {
  const tree = commandTree(newProgram());
  assert(tree.length > 30);
  for (const { path, flags } of tree) {
    const [, ...words] = path.split(" ");
    const help = printedBy([...words, "--help"]);
    assert(help.startsWith(`Usage: ${path} `), help);
    assert.match(help, /^\n?\S.*\n\n\S/m, "a description");
    assert(flags.every(({ description }) => description !== ""), path);
  }
});

Deno.test("help names the environment variables of flags", () => {
  const help = printedBy(["oss", "--help"]).replace(/\s+/g, " ");
  assert.match(help, /--dir <DIR> directory of the OST \(env: RUSTRE_DIR\)/);
  assert.match(help, /--listen .*\(default: 0\.0\.0\.0:9402\) \(env: RUSTRE_LISTEN\)/);
  const globals = printedBy(["--help"]).replace(/\s+/g, " ");
  assert.match(globals, /--log-level .*\(env: RUSTRE_LOG\)/);
  assert.match(globals, /--config .*\(env: RUSTRE_CONFIG\)/);
});
