// The command line itself: flags in every place, exit status, messages, logs, `up`.

import assert from "node:assert/strict";
import { inDirectory } from "../support/directory.ts";
import { runRustre, startRustre } from "../support/processes.ts";
import { describeVersion } from "../../commands/version.ts";
import { version } from "../../shared/version.ts";
import configuration from "../../deno.json" with { type: "json" };

/** Nobody listens there. */
const nowhere = "127.0.0.1:1";

const wrongUsage: { args: string[]; message: RegExp; env?: Record<string, string> }[] = [
  { args: [], message: /^Usage: rustre/ },
  { args: ["client"], message: /^Usage: rustre client/ },
  { args: ["bogus"], message: /^rustre: unknown command 'bogus'/ },
  { args: ["client", "bogus"], message: /^rustre: unknown command 'bogus'/ },
  { args: ["help", "bogus"], message: /^rustre: unknown command 'bogus'/ },
  { args: ["help", "client", "pu"], message: /^rustre: unknown command 'pu'\n.*put/ },
  { args: ["--bogus", "status"], message: /^rustre: unknown option '--bogus'/ },
  { args: ["status", "--bogus"], message: /^rustre: unknown option '--bogus'/ },
  { args: ["status", "extra"], message: /^rustre: too many arguments/ },
  { args: ["mgs"], message: /'--store <URL>' not specified/ },
  { args: ["up"], message: /'-d, --dir <DIR>' not specified/ },
  { args: ["oss"], message: /'-d, --dir <DIR>' not specified/ },
  { args: ["-m", "host", "status"], message: /--mgs.*"host" as an address: it has no port/ },
  { args: ["status", "-m", "host:x"], message: /--mgs.*the port is not a number/ },
  { args: ["status"], env: { RUSTRE_MGS: "x" }, message: /"x" from RUSTRE_MGS as mgs: .*"x"/ },
  { args: ["status", "--config", "/none"], message: /configuration "\/none": no such file/ },
  { args: ["status"], env: { RUSTRE_CONFIG: "/none" }, message: /configuration "\/none"/ },
  { args: ["config", "show", "ost"], message: /'section'.*up, mgs, mds, oss, client/ },
  { args: ["config", "show", "mds", "--index", "1"], message: /--index is for oss/ },
  { args: ["completion", "tcsh"], message: /'shell'.*bash, zsh, fish/ },
  { args: ["status", "--log-level", "loud"], message: /--log-level.*error, warn, info/ },
  {
    args: ["status"],
    env: { RUSTRE_LOG: "loud" },
    message: /"loud" from RUSTRE_LOG as log-level: .*warn/,
  },
  { args: ["status", "--log-format", "xml"], message: /--log-format.*text, json/ },
  { args: ["status", "--data-path", "slow"], message: /--data-path.*auto, streaming/ },
  { args: ["mgs", "--store", "memory:", "-c", "a/b"], message: /--cluster-name.*letters, digits/ },
  { args: ["mgs", "--store", "memory:", "-l", "9400"], message: /--listen.*"9400"/ },
  { args: ["mgs", "--store", "memory:", "--advertise", "a:b"], message: /--advertise.*"a:b"/ },
  { args: ["mgs", "--store", "memory:", "--advertise", "a:0"], message: /--advertise.*port 0/ },
  { args: ["mgs", "-l", "127.0.0.1:0", "--store", "bogus:x"], message: /^rustre: .*'bogus:x'/ },
  { args: ["mgs", "--store", "sqlite:/proc"], message: /store "\/proc": it is a directory\n$/ },
  { args: ["mgs", "--store", "sqlite:/none/x.db"], message: /"\/none" does not exist; make it/ },
  {
    args: ["oss", "-d", "/proc/none"],
    message: /^rustre: .*"\/proc\/none".*: it cannot be made: no such file or directory\n$/,
  },
  { args: ["oss", "-d", "/proc/version"], message: /"\/proc\/version".*: not a directory\n$/ },
  { args: ["oss", "-d", "/proc/self"], message: /"\/proc\/self".*: it holds "[^"]+" and no/ },
  { args: ["oss", "-d", "x", "-i", "-1"], message: /--index.*number from 0 to 65535/ },
  { args: ["oss", "-d", "x", "-i", "65536"], message: /--index.*number from 0 to 65535/ },
  { args: ["up", "--dir", "x", "--osts", "0"], message: /--osts.*number from 1/ },
  { args: ["up", "--dir", "x", "--osts", "many"], message: /--osts.*number from 1/ },
  {
    args: ["up", "--dir", "/proc/none"],
    message: /^rustre: .*"\/proc\/none": it cannot be made: no such file or directory\n$/,
  },
  {
    args: ["up", "--dir", "/proc/version"],
    message: /"\/proc\/version": it is not a directory\n$/,
  },
  { args: ["status", "--log-dir", "/proc/none"], message: /^rustre: .*"\/proc\/none/ },
  { args: ["status", "--log-dir", "/proc/version"], message: /version\/.*": not a directory\n$/ },
  { args: ["client", "put"], message: /^rustre: missing .*\n\(rustre client put --help says more/ },
  { args: ["client", "put", "README.md", "/x", "-R", "9"], message: /'9'.*number from 1 to 8/ },
  {
    args: ["client", "put", "README.md", "/x", "-S", "65537"],
    message: /multiple of 64K, up to 6/,
  },
  { args: ["client", "put", "README.md"], message: /SRC and DST are needed\n$/ },
  { args: ["client", "cat", "x"], message: /"x" as a remote path: it does not start with/ },
  { args: ["client", "truncate", "/x", "-s", "1Q"], message: /'1Q' is invalid.*such as 10M/ },
  { args: ["client", "setstripe", "/"], message: /at least one of -c, -S and -R is needed\n$/ },
  { args: ["client", "find", "/", "-type", "z"], message: /"z" with -type: it must be f, d or l/ },
  { args: ["client", "cp", "a", "/x"], message: /as HOST:PORT:\/path\n$/ },
  { args: ["admin", "install-units", "--root", ""], message: /--root.*must be a path/ },
  {
    args: ["admin", "install-units", "--exec", "rel"],
    message: /"rel".* must be an absolute path/,
  },
  { args: ["admin", "fsck"], message: /'--store <URL>' not specified/ },
  { args: ["admin", "fsck", "--store", "sqlite:/none"], message: /"sqlite:\/none": there is no/ },
  { args: ["admin", "fsck", "--store", "sqlite:/proc"], message: /"\/proc": it is a directory\n$/ },
  { args: ["admin", "fsck", "--store", "sqlite:LICENSE"], message: /is not an SQLite database\n$/ },
  { args: ["admin", "fsck", "--store", "fdb:/none"], message: /cannot be read: no such file or/ },
  { args: ["admin", "store", "copy", "sqlite:/none", "memory:"], message: /there is no such file/ },
];
for (const { args, message, env } of wrongUsage) {
  const given = Object.entries(env ?? {}).map(([name, value]) => `${name}=${value} `).join("");
  Deno.test(`${given}rustre ${args.join(" ")}: exits 2 and says why`, async () => {
    const { code, stdout, stderr } = await runRustre(args, env ? { env } : {});
    assert.match(stderr, message);
    assert.doesNotMatch(stderr, /^ +at /m, "no stack");
    assert.equal(code, 2);
    assert.equal(stdout, "");
  });
}

Deno.test("rustre --help and --version exit 0 and print on standard output", async () => {
  const shown = await runRustre(["--version"]);
  assert.deepEqual(shown, { code: 0, stdout: `${describeVersion()}\n`, stderr: "" });
  assert.equal(version, configuration.version);
  for (
    const args of [["--help"], ["mgs", "--help"], ["client", "--help"], ["help", "client", "put"]]
  ) {
    const { code, stdout, stderr } = await runRustre(args);
    assert.deepEqual([code, stderr], [0, ""], args.join(" "));
    assert.match(stdout, /^Usage: rustre/);
  }
});

Deno.test("rustre status without an mgs exits 1 and names what it tried", async () => {
  const { code, stdout, stderr } = await runRustre(["--mgs", nowhere, "status"]);
  assert.match(
    stderr,
    /^rustre: Cannot reach an mgs: .*"127\.0\.0\.1:1": Connection refused; start one .*\n$/,
  );
  assert.deepEqual([code, stdout], [1, ""]);
});

Deno.test("rustre status that is interrupted exits 130", async () => {
  await using mgs = await startRustre(["mgs", "-l", "127.0.0.1:0", "--store", "memory:"]);
  const address = mgs.ready.replace("mgs=", "");
  mgs.kill("SIGSTOP");
  const child = new Deno.Command(Deno.execPath(), {
    args: ["run", "--quiet", "--no-check", "-A", "main.ts", "status", "-m", address],
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  try {
    // It has begun to wait when it has its connection: Linux lists it as established.
    const port = Number(address.split(":")[1]).toString(16).toUpperCase().padStart(4, "0");
    const isConnected = async () =>
      (await Deno.readTextFile("/proc/net/tcp")).includes(`:${port} 01 `);
    while (!(await isConnected())) await new Promise((resolve) => setTimeout(resolve, 10));
    child.kill("SIGINT");
    const { code } = await child.output();
    assert.equal(code, 130);
  } finally {
    mgs.kill("SIGCONT");
  }
});

Deno.test("global flags hold before and behind the command, and behind wins", async () => {
  await using mgs = await startRustre(["mgs", "-l", "127.0.0.1:0", "--store", "memory:"]);
  const address = mgs.ready.replace("mgs=", "");
  for (
    const args of [
      ["-m", address, "--json", "status"],
      ["status", "--json", "--mgs", address],
      ["-m", nowhere, "status", `--mgs=${address}`, "--json"],
    ]
  ) {
    const env = { RUSTRE_MGS: nowhere };
    const { code, stdout, stderr } = await runRustre(args, { env });
    assert.deepEqual([code, stderr], [0, ""], args.join(" "));
    const document = JSON.parse(stdout);
    assert.equal(document.mgs[0].address, address);
    assert.equal(document.allUp, true);
  }
  const fromEnvironment = await runRustre(["status"], { env: { RUSTRE_MGS: address } });
  assert.equal(fromEnvironment.code, 0);
  assert.match(fromEnvironment.stdout, /^cluster rustre \([0-9a-f]{32}\), map epoch \d+\nSERVER +/);
});

Deno.test("output that cannot be written is a failure with a reason, of a server's start too", async () => {
  const intoFull = ["sh", "-c", 'exec "$@" > /dev/full', "sh"];
  const failed = 'rustre: Cannot write "standard output": no space left\n';
  const server = ["mgs", "-l", "127.0.0.1:0", "--store", "memory:"];
  const started = await runRustre(server, { prefix: intoFull });
  assert.deepEqual([started.code, started.stderr], [1, failed]);

  await using mgs = await startRustre(server);
  const flags = ["-m", mgs.ready.replace("mgs=", "")];
  for (const args of [["status"], ["status", "--json"]]) {
    const shown = await runRustre([...flags, ...args], { prefix: intoFull });
    assert.deepEqual([shown.code, shown.stderr], [1, failed], args.join(" "));
  }
});

Deno.test("a log file that is a pipe is refused, and not waited for", async () => {
  await inDirectory(async (directory) => {
    const made = await new Deno.Command("mkfifo", { args: [`${directory}/mgs.log`] }).output();
    assert(made.success);
    const server = ["mgs", "-l", "127.0.0.1:0", "--store", "memory:"];
    const { code, stderr } = await runRustre([...server, "--log-dir", directory]);
    assert.match(stderr, /^rustre: Cannot log to ".*\/mgs\.log": it is a pipe; name another /);
    assert.equal(code, 2);
  });
});

Deno.test("a second server on one address exits 1 and names it", async () => {
  await using mgs = await startRustre(["mgs", "-l", "127.0.0.1:0", "--store", "memory:"]);
  const address = mgs.ready.replace("mgs=", "");
  const { code, stderr } = await runRustre(["mgs", "-l", address, "--store", "memory:"]);
  assert.equal(stderr, `rustre: Cannot listen on "${address}": Address already in use\n`);
  assert.equal(code, 1);
});

Deno.test("a server on an address that its host has not, or not yet, exits 1", async () => {
  const { code, stderr } = await runRustre(["mgs", "-l", "192.0.2.9:0", "--store", "memory:"]);
  assert.match(stderr, /^rustre: Cannot listen on "192\.0\.2\.9:0": Cannot assign /);
  assert.equal(code, 1);
});

Deno.test("an mds with a store of its own is refused", async () => {
  await using mgs = await startRustre(["mgs", "-l", "127.0.0.1:0", "--store", "memory:"]);
  const flags = ["--mgs", mgs.ready.replace("mgs=", "")];
  const { code, stderr } = await runRustre([
    ...flags,
    "mds",
    "-l",
    "127.0.0.1:0",
    "--store",
    "memory:",
  ]);
  assert.match(stderr, /^rustre: Cannot start an mds on the store "memory:": .*another store\n$/);
  assert.equal(code, 2);
  const other = await runRustre([...flags, "-c", "other", "mds", "--store", "memory:"]);
  assert.match(other.stderr, /^rustre: Cannot start an mds of cluster "other"/);
  assert.equal(other.code, 2);
});

Deno.test("a server that waits for its mgs stops with exit status 0", async () => {
  await inDirectory(async (directory) => {
    const child = new Deno.Command(Deno.execPath(), {
      args: ["run", "-q", "--no-check", "-A", "main.ts", "-m", nowhere, "oss", "-d", directory],
      stdout: "piped",
      stderr: "piped",
    }).spawn();
    const reader = child.stdout.pipeThrough(new TextDecoderStream()).getReader();
    let log = "";
    while (!log.includes("No mgs answers")) log += (await reader.read()).value ?? "";
    child.kill("SIGTERM");
    while (!(await reader.read()).done);
    assert.equal((await child.status).code, 0);
    assert.equal(await new Response(child.stderr).text(), "");
  });
});

Deno.test("servers log to standard output and DIR/ROLE.log, as text or JSON", async () => {
  await inDirectory(async (directory) => {
    const flags = ["--log-dir", directory, "--log-format", "json"];
    const mgs = await startRustre(["mgs", "-l", "127.0.0.1:0", "--store", "memory:", ...flags]);
    assert.deepEqual((await mgs.stop()).code, 0);
    assert.equal(mgs.errors(), "");
    const file = await Deno.readTextFile(`${directory}/mgs.log`);
    const messages = file.trimEnd().split("\n").map((line) => JSON.parse(line));
    assert(messages.every((each) => each.role === "mgs" && each.level === "info"));
    assert(messages.some((each) => each.message === "Serving" && each.fields.store === "memory:"));
    assert.equal(messages.at(-1).message, "Stopped", "no line is lost at the end");
    const printed = mgs.output().trimEnd().split("\n");
    assert.deepEqual(
      printed.filter((line) => !line.startsWith("ready ")),
      file.trimEnd().split("\n"),
    );
  });
});

Deno.test("rustre up keeps its cluster over restarts, and takes more OSTs but not fewer", async () => {
  await inDirectory(async (directory) => {
    const up = (
      ...flags: string[]
    ) => ["up", "--dir", directory, "--listen", "127.0.0.1:0", ...flags];
    const statusOf = async (ready: string) => {
      const address = /mgs=(\S+)/.exec(ready)![1]!;
      return JSON.parse((await runRustre(["-m", address, "status", "--json"])).stdout);
    };
    const first = await startRustre(up("--osts", "2"));
    assert.match(first.ready, /^mgs=127\.0\.0\.1:\d+ mds=1 osts=2$/);
    const before = await statusOf(first.ready);
    assert.equal(before.allUp, true);
    const second = await runRustre(up());
    assert.equal(second.stderr, `rustre: Cannot serve "${directory}": another rustre serves it\n`);
    assert.equal(second.code, 1);
    assert.equal((await first.stop()).code, 0);

    const fewer = await runRustre(up("--osts", "1"));
    assert.match(fewer.stderr, /^rustre: Cannot serve .* the files on OST 1 would be missing\n$/);
    assert.equal(fewer.code, 2);

    await using more = await startRustre(up("--osts", "3"));
    assert.match(more.ready, /osts=3$/);
    const after = await statusOf(more.ready);
    assert.equal(after.clusterId, before.clusterId);
    assert.equal(after.allUp, true);
    assert.deepEqual(
      after.osts.slice(0, 2).map((ost: { nodeId: string }) => ost.nodeId),
      before.osts.map((ost: { nodeId: string }) => ost.nodeId),
    );
    assert.deepEqual([after.mgs.length, after.mds.length, after.osts.length], [1, 1, 3]);
    // As after a crash: nobody said goodbye.
    more.kill("SIGKILL");
    await more.status;
    await using again = await startRustre(up());
    assert.match(again.ready, /osts=3$/);
    assert.equal((await statusOf(again.ready)).allUp, true);
  });
});

Deno.test("an OST sends files as --data-path says, and rustre status shows which way", async () => {
  await inDirectory(async (directory) => {
    const zeroCopy = Deno.build.os === "linux" ? "zero-copy" : "streaming";
    for (const [flags, dataPath] of [[[], zeroCopy], [["--data-path", "streaming"], "streaming"]]) {
      const up = ["up", "--dir", directory, "--listen", "127.0.0.1:0", "--osts", "1"];
      await using running = await startRustre([...up, ...flags as string[]]);
      const address = /mgs=(\S+)/.exec(running.ready)![1]!;
      assert.match(running.output(), new RegExp(`Serving .*dataPath=${dataPath}`));
      const shown = await runRustre(["-m", address, "status"]);
      assert.match(shown.stdout, new RegExp(`^ost 0 .* up .* ${dataPath} `, "m"));
      const { osts } = JSON.parse((await runRustre(["-m", address, "status", "--json"])).stdout);
      assert.equal(osts[0].dataPath, dataPath);
    }
  });
});
