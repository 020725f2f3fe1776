import assert from "node:assert/strict";
import type { Command } from "commander";
import { commandTree } from "../../../commands/completion/command_tree.ts";
import type { ProgramContext } from "../../../commands/context.ts";
import { buildProgram } from "../../../commands/program.ts";

const newProgram = () => buildProgram({ output: undefined } as ProgramContext);

/** What `rustre ARGS` prints on standard output before it ends with this exit status. */
async function printedBy(args: readonly string[], exitCode = 0): Promise<string> {
  const program = newProgram();
  let printed = "";
  forEach(program, (command) => {
    command.configureOutput({
      writeOut: (text) => printed += text,
      writeErr: (text) => printed += text,
    });
  });
  await assert.rejects(program.parseAsync(args, { from: "user" }), { exitCode });
  return printed;
}

function forEach(command: Command, act: (command: Command) => void): void {
  act(command);
  for (const each of command.commands) forEach(each, act);
}

Deno.test("every command has a help, on every level, which `rustre help` shows too", async () => {
  const tree = commandTree(newProgram());
  assert(tree.length > 30);
  for (const { path, flags } of tree) {
    const [, ...words] = path.split(" ");
    const help = await printedBy([...words, "--help"]);
    assert(help.startsWith(`Usage: ${path} `), help);
    assert.match(help, /^\n?\S.*\n\n\S/m, "a description");
    assert(flags.every(({ description }) => description !== ""), path);
    assert.equal(await printedBy(["help", ...words]), help);
  }
});

Deno.test("help is below every group too, and needs no configuration that is right", async () => {
  const help = await printedBy(["admin", "store", "copy", "--help"]);
  assert.equal(await printedBy(["admin", "help", "store", "copy"]), help);
  assert.equal(await printedBy(["admin", "store", "help", "copy"]), help);
  assert.equal(await printedBy(["--config", "/none", "help", "admin", "store", "copy"]), help);
});

Deno.test("help of a command that is not there says so, and which is", async () => {
  const unknown = async (...words: string[]) => await printedBy(["help", ...words], 1);
  assert.match(await unknown("nothing"), /^rustre: unknown command 'nothing'\n/);
  assert.match(await unknown("client", "pu"), /unknown command 'pu'\n\(Did you mean put\?\)\n/);
  assert.match(await unknown("mgs", "more"), /unknown command 'more'\n/);
});

Deno.test("help names the environment variables of flags", async () => {
  const help = (await printedBy(["oss", "--help"])).replace(/\s+/g, " ");
  assert.match(help, /--dir <DIR> directory of the OST \(env: RUSTRE_DIR\)/);
  assert.match(help, /--listen .*\(default: 0\.0\.0\.0:9402\) \(env: RUSTRE_LISTEN\)/);
  const globals = (await printedBy(["--help"])).replace(/\s+/g, " ");
  assert.match(globals, /--log-level .*\(env: RUSTRE_LOG\)/);
  assert.match(globals, /--config .*\(env: RUSTRE_CONFIG\)/);
});
