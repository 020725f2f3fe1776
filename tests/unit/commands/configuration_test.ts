// Where settings come from, and what is said of mistakes in them.

import assert from "node:assert/strict";
import type { Command } from "commander";
import { Configuration, type Effective } from "../../../commands/configuration.ts";
import { parseConfiguration } from "../../../commands/configuration_file.ts";
import type { ProgramContext } from "../../../commands/context.ts";
import { globalsOf } from "../../../commands/globals.ts";
import { buildProgram } from "../../../commands/program.ts";
import { type RoleSection, roleSections, settingsOf } from "../../../commands/settings.ts";
import { limits } from "../../../shared/limits.ts";
import { inDirectory } from "../../support/directory.ts";

function newProgram(): Command {
  return buildProgram({ output: undefined, globalsOf } as unknown as ProgramContext);
}

async function withFile<T>(text: string, test: (path: string) => Promise<T>): Promise<T> {
  const path = await Deno.makeTempFile({ prefix: "rustre-", suffix: ".toml" });
  try {
    await Deno.writeTextFile(path, text);
    return await test(path);
  } finally {
    await Deno.remove(path);
  }
}

interface Given {
  /** Words of a command line; its command is not run. */
  readonly args?: readonly string[];
  readonly variables?: Readonly<Record<string, string>>;
  readonly text?: string;
}

/** Of the command that `args` name, which has their flags and is not run. */
async function configurationOf({ args = ["status"], variables = {}, text = "" }: Given) {
  const program = newProgram();
  const at = args.findIndex((word) => program.commands.some((each) => each.name() === word));
  const command = program.commands.find((each) => each.name() === args[at]);
  assert(command);
  program.parseOptions(args.slice(0, at));
  command.parseOptions(args.slice(at + 1));
  return await withFile(text, (path) => {
    return Configuration.read(command, { variable: (name) => variables[name], defaultPath: path });
  });
}

function find(settings: readonly Effective[], key: string): Effective {
  const found = settings.find(({ setting }) => setting.key === key);
  assert(found, key);
  return found;
}

/** `TEXT from ORIGIN` */
function shown({ text, origin }: Effective): string {
  const from = origin.kind === "file"
    ? `line ${origin.line}`
    : origin.kind === "environment"
    ? origin.variable
    : origin.kind;
  return `${text} from ${from}`;
}

async function effective(given: Given, section: RoleSection, key: string, index?: number) {
  return shown(find((await configurationOf(given)).effective(section, index), key));
}

Deno.test("a flag wins over the environment, that over the file, and that over the default", async () => {
  const text = '[common]\nlog-level = "error"\n';
  const variables = { RUSTRE_LOG: "debug" };
  const args = ["--log-level", "trace", "status"];
  const behind = ["status", "--log-level", "trace"];
  const of = (given: Given) => effective(given, "client", "log-level");
  assert.equal(await of({}), "warn from default");
  assert.equal(await of({ text }), "error from line 2");
  assert.equal(await of({ text, variables }), "debug from RUSTRE_LOG");
  assert.equal(await of({ text, variables, args }), "trace from flag");
  assert.equal(await of({ text, variables, args: behind }), "trace from flag");
  assert.equal(await of({ text, variables: { RUSTRE_LOG: "" } }), "error from line 2", "empty");
});

Deno.test("the section of an OST wins over that of all, and that over the common one", async () => {
  const text = `[oss.1]
dir = "/one"
workers = 3

[common]
mgs = ["a:1", "b:2"]
log-level = "error"

[oss]
log-level = "info"
workers = 2
dir = "/all"
`;
  const of = (key: string, index: number) => effective({ text }, "oss", key, index);
  assert.equal(await of("dir", 0), "/all from line 12");
  assert.equal(await of("dir", 1), "/one from line 2");
  assert.equal(await of("workers", 0), "2 from line 11");
  assert.equal(await of("workers", 1), "3 from line 3");
  assert.equal(await of("log-level", 1), "info from line 10");
  assert.equal(await of("mgs", 1), "a:1,b:2 from line 6");
  assert.equal(await effective({ text }, "mds", "log-level"), "error from line 7");
  assert.equal(
    await effective({ text }, "mds", "workers"),
    "one for each core, at most 8 from default",
  );
});

Deno.test("log-dir in [common] is of servers alone, and clients have their own", async () => {
  const text = '[common]\nlog-dir = "/servers"\n';
  for (const section of roleSections) {
    const expected = section === "client" ? "undefined from default" : "/servers from line 2";
    assert.equal(await effective({ text }, section, "log-dir"), expected, section);
  }
  const own = `${text}[client]\nlog-dir = "/own"\n`;
  assert.equal(await effective({ text: own }, "client", "log-dir"), "/own from line 4");
  assert.equal(await effective({ text: own }, "mds", "log-dir"), "/servers from line 2");
  const variables = { RUSTRE_LOG_DIR: "/said" };
  assert.equal(
    await effective({ text, variables }, "client", "log-dir"),
    "/said from RUSTRE_LOG_DIR",
  );
});

Deno.test("which OST's section holds is decided by the flag, the variable and [oss] index", async () => {
  const text = '[oss]\nindex = 3\n[oss.1]\ndir = "/1"\n[oss.2]\ndir = "/2"\n[oss.3]\ndir = "/3"\n';
  const of = (given: Given) => effective({ text, ...given }, "oss", "dir");
  assert.equal(await of({ args: ["oss"] }), "/3 from line 8");
  assert.equal(await of({ args: ["oss"], variables: { RUSTRE_INDEX: "2" } }), "/2 from line 6");
  const args = ["oss", "--index", "1"];
  assert.equal(await of({ args, variables: { RUSTRE_INDEX: "2" } }), "/1 from line 4");
});

Deno.test("flags of a server hold for that server alone", async () => {
  const configuration = await configurationOf({ args: ["mgs", "--store", "memory:"] });
  assert.equal(shown(find(configuration.effective("mgs"), "store")), "memory: from flag");
  assert.equal(shown(find(configuration.effective("mds"), "store")), "undefined from default");
});

Deno.test("every setting is taken from its variable, and from its key in every section", async () => {
  const program = newProgram();
  const samples: Record<string, [string, string]> = {
    "advertise": ["10.0.0.1", '"10.0.0.1"'],
    "cluster-name": ["a", '"a"'],
    "data-path": ["streaming", '"streaming"'],
    "dir": ["/x", '"/x"'],
    "index": ["7", "7"],
    "json": ["true", "true"],
    "listen": ["[::1]:1", '"[::1]:1"'],
    "log-dir": ["/x", '"/x"'],
    "log-format": ["json", '"json"'],
    "log-level": ["trace", '"trace"'],
    "mgs": ["h:1,i:2", '"h:1,i:2"'],
    "osts": ["5", '"5"'],
    "store": ["memory:", "'memory:'"],
    "workers": ["3", "3"],
  };
  for (const section of roleSections) {
    for (const { key, variable } of settingsOf(program, section)) {
      const [text, toml] = samples[key] ?? assert.fail(`no sample of ${key}`);
      const variables = { [variable]: text };
      assert.equal(await effective({ variables }, section, key), `${text} from ${variable}`);
      const file = `[${section}]\n${key} = ${toml}\n`;
      assert.equal(await effective({ text: file }, section, key), `${text} from line 2`);
    }
  }
});

Deno.test("no two flags share a variable, and none is of a kind that has none", () => {
  const program = newProgram();
  for (const section of roleSections) {
    const variables = settingsOf(program, section).map(({ variable }) => variable);
    assert.equal(new Set(variables).size, variables.length);
  }
});

const mistakes: [string, RegExp | string][] = [
  ["[common]\nmgs = [\n", /^Cannot read the configuration at F:3: /],
  ["[common]\nmgs = 'a:1'\nmgs = 'b:1'\n", /^Cannot read the configuration at F:3: .*redefine/],
  [
    "\nlog-level = 'info'\n",
    /key "log-level" at F:2: it must stand in a section, such as \[common\]/,
  ],
  ["[osss]\n", /section "osss" at F:1: there is no such section; did you mean "oss"\? allowed are/],
  ["[common]\n\nlog_level = 'info'", /key "log_level" at F:3: \[common\] has .*mean "log-level"\?/],
  ["[mds]\nindex = 1\n", /key "index" at F:2: \[mds\] has no such key; allowed are advertise, cl/],
  ["[client]\nworkers = 1\n", /key "workers" at F:2: \[client\] has no such key; allowed are/],
  ["[oss.0]\nindex = 1\n", /key "index" at F:2: \[oss\.0\] has no such key/],
  ["[oss.00]\n", /section "oss\.00" at F:1: \[oss\.INDEX\] has an index from 0 to 65535/],
  ["[oss.65536]\n", /section "oss\.65536" at F:1/],
  ["[oss.a]\ndir = '/x'\n", /section "oss\.a" at F:1/],
  ["[mds.0]\nstore = 'memory:'\n", /key "0" at F:1: \[mds\] has no such key/],
  ["[[oss]]\nindex = 1\n", /key "oss" at F:1: it is a section, written \[oss\]/],
  ["common = 1\n", /key "common" at F:1: it is a section, written \[common\]/],
  [
    "[common]\nlog-level = 'loud'\n",
    'Cannot use "loud" from F:2 as log-level: allowed choices are error, warn, info, debug, trace',
  ],
  [
    "[common]\nmgs = 'host'\n",
    /"host" from F:2 as mgs: cannot use "host" as an address: it has no p/,
  ],
  [
    "[mgs]\nworkers = 65\n",
    'Cannot use "65" from F:2 as workers: it must be a number from 1 to 64',
  ],
  ["[mgs]\nworkers = 1.5\n", /Cannot use "1\.5" from F:2 as workers/],
  ["[mgs]\nworkers = nan\n", /Cannot use "NaN" from F:2 as workers: it must be a number from/],
  ["[mgs]\nworkers = true\n", /value of "workers" at F:2: it must be a number$/],
  ["[mgs]\nstore = ['a']\n", /value of "store" at F:2: it must be a string$/],
  ["[mgs]\nstore = 5\n", /value of "store" at F:2: it must be a string$/],
  [
    "[mgs]\nstore = ''\n",
    /Cannot use "" from F:2 as store: it must be memory:, sqlite:PATH or fdb:/,
  ],
  ["[up]\nstore = 'sql:x'\n", /Cannot use "sql:x" from F:2 as store: it must be memory:/],
  ["[oss.1]\ndir = ''\n", /Cannot use "" from F:2 as dir: it must be a path/],
  ["[client]\nlog-dir = ''\n", /Cannot use "" from F:2 as log-dir: it must be a path/],
  ["[mgs]\nstore = 1979-05-27\n", /value of "store" at F:2/],
  ["[common]\nmgs = [1]\n", /value of "mgs" at F:2: it must be a string, or a list of strings/],
  ["[common]\njson = 'true'\n", /value of "json" at F:2: it must be true or false/],
  ["[common]\nmgs = [\n 'a:1',\n 'b'\n]\n", /"a:1,b" from F:2 as mgs: .*"b"/],
  ["common.mgs = 'a:1'\ncommon.colour = 1\n", /key "colour" at F:2/],
];
for (const [text, message] of mistakes) {
  Deno.test(`a configuration of ${JSON.stringify(text)} is refused`, () => {
    assert.throws(() => parseConfiguration("F", text, newProgram()), {
      name: "UsageError",
      message,
    });
  });
}

Deno.test("a variable with a wrong value is refused by its name", async () => {
  const refused = async (variables: Record<string, string>, message: RegExp) => {
    const configuration = await configurationOf({ variables });
    assert.throws(() => configuration.effective("mgs"), { name: "UsageError", message });
  };
  await refused({ RUSTRE_LOG: "loud" }, /^Cannot use "loud" from RUSTRE_LOG as log-level: allowed/);
  await refused({ RUSTRE_JSON: "maybe" }, /"maybe" from RUSTRE_JSON as json: it must be true or f/);
  await refused({ RUSTRE_WORKERS: "-1" }, /"-1" from RUSTRE_WORKERS as workers/);
});

Deno.test("a configuration that cannot be read is refused, unless it is the default and missing", async () => {
  const read = (path: string, variables: Record<string, string> = {}) =>
    configurationOf({ args: ["--config", path, "status"], variables });
  const refuses = (path: string, reason: RegExp) =>
    assert.rejects(read(path), { name: "UsageError", message: reason });
  await refuses("/none", /^Cannot read the configuration "\/none": no such file or directory$/);
  await refuses("/tmp", /^Cannot read the configuration "\/tmp": it is a directory; name a file$/);
  await refuses("/dev/zero", new RegExp(`has more than ${limits.configurationBytesMax} bytes`));
  assert.equal((await read("/dev/null")).file?.path, "/dev/null");
  assert.equal((await read("/dev/null", { RUSTRE_CONFIG: "/none" })).file?.path, "/dev/null");
  await assert.rejects(configurationOf({ variables: { RUSTRE_CONFIG: "/none" } }), /"\/none"/);
  const missing = await Configuration.read(newProgram(), {
    variable: () => undefined,
    defaultPath: "/none/rustre.toml",
  });
  assert.equal(missing.file, undefined);
  const path = await Deno.makeTempFile();
  await Deno.writeFile(path, Uint8Array.of(0xff));
  await refuses(path, /it is not UTF-8$/);
  await Deno.remove(path);
});

Deno.test({
  name: "a configuration that is a pipe or a socket is refused before it is opened",
  ignore: Deno.build.os === "windows",
}, async () => {
  const refuses = (path: string, reason: RegExp) =>
    assert.rejects(configurationOf({ args: ["--config", path, "mds"] }), {
      name: "UsageError",
      message: reason,
    });
  await inDirectory(async (directory) => {
    assert((await new Deno.Command("mkfifo", { args: [`${directory}/fifo`] }).output()).success);
    // Nobody writes to it: opening it would wait for ever.
    await refuses(`${directory}/fifo`, /^Cannot read the .*fifo": it is a pipe; name a file$/);
    await Deno.symlink("fifo", `${directory}/link`);
    await refuses(`${directory}/link`, /^Cannot read the .*link": it is a pipe; name a file$/);
    using _listener = Deno.listen({ transport: "unix", path: `${directory}/socket` });
    await refuses(`${directory}/socket`, /socket": it is a socket; name a file$/);
  });
});
