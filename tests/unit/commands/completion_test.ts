// Completion scripts, run by the shells that they are for.

import assert from "node:assert/strict";
import type { Command } from "commander";
import { commandTree } from "../../../commands/completion/command_tree.ts";
import { completionScript } from "../../../commands/completion.ts";
import type { ProgramContext } from "../../../commands/context.ts";
import { type Shell, shells } from "../../../commands/host_commands.ts";
import { buildProgram } from "../../../commands/program.ts";

const program = buildProgram({ output: undefined } as ProgramContext);

/** Words of a command line, the last one begun, and what may stand in its place. */
const examples: [string[], string[]][] = [
  [["client", "pu"], ["put"]],
  [["he"], ["help"]],
  [["completion", ""], [...shells].sort()],
  [["config", "sh"], ["show"]],
  [["config", "show", "o"], ["oss"]],
  [["client", "put", "--re"], ["--recursive", "--replicas"]],
  [["client", "put", "a", "--rec"], ["--recursive"]],
  [["--log-format", "j"], ["json"]],
  [["--log-level", "error", "sta"], ["status"]],
  [["mds", "--data-path", "s"], ["streaming"]],
  [["client", "ls", "--log-le"], ["--log-level"]],
  [["oss", "--in"], ["--index"]],
];

async function run(program: string, ...args: string[]): Promise<string> {
  const command = new Deno.Command(program, { args, env: { LC_ALL: "C.UTF-8", TERM: "dumb" } });
  const { stdout, stderr } = await command.output();
  assert.equal(new TextDecoder().decode(stderr), "");
  return new TextDecoder().decode(stdout);
}

function isInstalled(program: string): boolean {
  const { success } = new Deno.Command("sh", { args: ["-c", `command -v ${program}`] })
    .outputSync();
  return success;
}

async function withScript(shell: Shell, test: (path: string) => Promise<void>): Promise<void> {
  const directory = await Deno.makeTempDir({ prefix: "rustre-" });
  try {
    await Deno.writeTextFile(`${directory}/_rustre`, completionScript(shell, program));
    await test(`${directory}/_rustre`);
  } finally {
    await Deno.remove(directory, { recursive: true });
  }
}

const sorted = (output: string) => output.split("\n").filter((line) => line !== "").sort();

Deno.test("commandTree() has every command with all flags that it takes", () => {
  const tree = commandTree(program);
  const check = (command: Command, path: string) => {
    const found = tree.find((each) => each.path === path);
    assert(found, path);
    const names = found.flags.flatMap((flag) => flag.names);
    for (const { long } of command.options) assert(names.includes(long ?? ""), `${path} ${long}`);
    assert(names.includes("--help"), path);
    assert(names.includes("--mgs"), path);
    for (const each of command.commands) check(each, `${path} ${each.name()}`);
  };
  check(program, "rustre");
  assert.equal(new Set(tree.map(({ path }) => path)).size, tree.length);
});

/** Bash, as it is when the user types them: "=" is a word of its own, and parts at ":" are. */
async function completeInBash(path: string, words: readonly string[]): Promise<string[]> {
  const script = `source "$1"; shift
    complete -p rustre | grep -q -- "-F _rustre rustre" || echo "not registered" >&2
    COMP_WORDS=(rustre "$@"); COMP_CWORD=$#
    _rustre; printf '%s\\n' "\${COMPREPLY[@]}"`;
  return sorted(await run("bash", "-c", script, "bash", path, ...words));
}

Deno.test({ name: "bash completes rustre", ignore: !isInstalled("bash") }, async () => {
  await withScript("bash", async (path) => {
    for (const [words, expected] of examples) {
      assert.deepEqual(await completeInBash(path, words), expected, words.join(" "));
    }
    const levels = ["debug", "error", "info", "trace", "warn"];
    assert.deepEqual(await completeInBash(path, ["--log-level", "=", ""]), levels);
    assert.deepEqual(await completeInBash(path, ["--log-level", "="]), levels);
    const behindAddress = ["--mgs", "mds", ":", "9400", "client", "pu"];
    assert.deepEqual(await completeInBash(path, behindAddress), ["put"]);
    // Files, which bash itself completes.
    assert.deepEqual(await completeInBash(path, ["client", "put", "x"]), []);
    assert.deepEqual(await completeInBash(path, ["--log-dir", ""]), []);
  });
});

Deno.test({ name: "fish completes rustre", ignore: !isInstalled("fish") }, async () => {
  await withScript("fish", async (path) => {
    for (const [words, expected] of examples) {
      const line = ["rustre", ...words].join(" ");
      const command = `source ${path}; complete -C '${line}'`;
      const output = sorted(await run("fish", "--no-config", "-c", command));
      assert.deepEqual(output.map((each) => each.split("\t")[0]), expected, line);
    }
  });
});

/** Outside of its line editor zsh lacks what shows candidates: these print all of them instead. */
const zshStubs = `
  compdef() { [[ "$*" == "_rustre rustre" ]] || print -u2 "not registered" }
  compset() { PREFIX=\${PREFIX#*=} }
  compadd() { print -rl -- "\${(@P)argv[-1]}" }
  _describe() { print -rl -- "\${(@)\${(@P)argv[-1]}%%:*}" }
  _files() { print -r -- "(files)" }
  source $1; shift
  words=(rustre "$@"); CURRENT=$#words; PREFIX=$words[CURRENT]
  _rustre
`;

async function completeInZsh(path: string, words: readonly string[]): Promise<string[]> {
  const candidates = sorted(await run("zsh", "-f", "-c", zshStubs, "zsh", path, ...words));
  const begun = words.at(-1)!.replace(/^--[^=]*=/, "");
  return candidates.filter((each) => each.startsWith(begun) || each === "(files)");
}

Deno.test({ name: "zsh completes rustre", ignore: !isInstalled("zsh") }, async () => {
  await withScript("zsh", async (path) => {
    for (const [words, expected] of examples) {
      assert.deepEqual(await completeInZsh(path, words), expected, words.join(" "));
    }
    assert.deepEqual(await completeInZsh(path, ["--log-format=j"]), ["json"]);
    assert.deepEqual(await completeInZsh(path, ["client", "put", "x"]), ["(files)"]);
    assert.deepEqual(await completeInZsh(path, ["--log-dir", ""]), ["(files)"]);
  });
});
