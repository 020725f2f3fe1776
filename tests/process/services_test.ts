// Servers as a service manager runs them: told when they are ready, stopped, with logs that are
// rotated, and configured by variables and a file.

import assert from "node:assert/strict";
import { inDirectory } from "../support/directory.ts";
import { runRustre, type RustreProcess, spawnRustre, startRustre } from "../support/processes.ts";

/** The socket of a service manager, and the states that it is told. */
function serviceManager(path: string) {
  const socket = Deno.listenDatagram({ transport: "unixpacket", path });
  const next = async () => {
    const [bytes] = await socket.receive();
    return new TextDecoder().decode(bytes);
  };
  return { next, [Symbol.dispose]: () => socket.close() };
}

const mgs = ["mgs", "-l", "127.0.0.1:0", "--store", "memory:"];
const linuxOnly = { ignore: Deno.build.os !== "linux" };

Deno.test("a server tells systemd when it is ready and when it stops", linuxOnly, async () => {
  await inDirectory(async (directory) => {
    using manager = serviceManager(`${directory}/notify`);
    const env = { NOTIFY_SOCKET: `${directory}/notify` };
    const server = await startRustre(mgs, { env });
    assert.match(await manager.next(), /^STATUS=Starting/);
    assert.equal(await manager.next(), `READY=1\nSTATUS=Serving ${server.ready}`);
    server.kill("SIGTERM");
    assert.equal(await manager.next(), "STOPPING=1\nSTATUS=Stopping");
    assert.equal((await server.status).code, 0);
    await server.stop();
  });
});

Deno.test("a server that cannot start is never ready", linuxOnly, async () => {
  await inDirectory(async (directory) => {
    using manager = serviceManager(`${directory}/notify`);
    const env = { NOTIFY_SOCKET: `${directory}/notify` };
    const { code } = await runRustre(["mgs", "--store", "sqlite:/none/x.db"], { env });
    assert.equal(code, 2);
    assert.match(await manager.next(), /^STATUS=Starting/);
    // The next one is of this test.
    const last = new TextEncoder().encode("last");
    const own = Deno.listenDatagram({ transport: "unixpacket", path: `${directory}/own` });
    await own.send(last, { transport: "unixpacket", path: `${directory}/notify` });
    assert.equal(await manager.next(), "last");
    own.close();
  });
});

Deno.test("a service manager that does not listen is logged, and the server serves", async () => {
  const env = { NOTIFY_SOCKET: "/none/notify" };
  await using server = await startRustre(mgs, { env });
  assert.match(server.ready, /^mgs=/);
  await server.stop();
  assert.match(
    server.output(),
    /WARN +process +Cannot tell the service manager path=\/none\/notify/,
  );
});

/** Resolves when the file is there and its text matches. */
async function fileMatches(path: string, pattern: RegExp): Promise<string> {
  for (;;) {
    const text = await Deno.readTextFile(path).catch(() => "");
    if (pattern.test(text)) return text;
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

for (const workers of ["1", "2"]) {
  Deno.test(`SIGHUP moves the log of ${workers} workers to a new file, and loses no line`, async () => {
    await inDirectory(async (directory) => {
      const flags = ["--store", `sqlite:${directory}/db`, "--workers", workers];
      const log = `${directory}/logs/mgs.log`;
      const server = await startRustre([
        ...["mgs", "-l", "127.0.0.1:0", ...flags, "--log-dir", `${directory}/logs`],
      ]);
      await fileMatches(log, /Serving/);
      await Deno.rename(log, `${log}.1`);
      server.kill("SIGHUP");
      await fileMatches(log, /A log file is opened again/);
      assert.equal((await server.stop()).code, 0);
      const before = await Deno.readTextFile(`${log}.1`);
      const after = await Deno.readTextFile(log);
      assert.match(after, /Stopped/);
      assert.doesNotMatch(before, /opened again|Stopped/);
      const printed = server.output().split("\n").filter((line) => !line.startsWith("ready "));
      assert.equal(before + after, printed.join("\n"));
    });
  });
}

Deno.test("SIGHUP with a log directory that is gone keeps the log that is open", async () => {
  await inDirectory(async (directory) => {
    const server = await startRustre([...mgs, "--log-dir", `${directory}/logs`]);
    await fileMatches(`${directory}/logs/mgs.log`, /Serving/);
    await Deno.rename(`${directory}/logs`, `${directory}/moved`);
    server.kill("SIGHUP");
    const log = `${directory}/moved/mgs.log`;
    await fileMatches(log, /ERROR process +Cannot open a log file again .*no such file/);
    await server.stop();
    assert.match(await Deno.readTextFile(log), /Stopped/);
  });
});

Deno.test("SIGHUP without log files changes nothing", async () => {
  await using server = await startRustre(mgs);
  server.kill("SIGHUP");
  const status = await runRustre(["-m", server.ready.replace("mgs=", ""), "status"]);
  assert.equal(status.code, 0);
});

// ── configuration ──────────────────────────────────────────────────────────────────────────────

Deno.test("a host's servers and clients run from one configuration file", async () => {
  await inDirectory(async (directory) => {
    const path = `${directory}/rustre.toml`;
    const write = (common: string) =>
      Deno.writeTextFile(
        path,
        `[common]
${common}
cluster-name = "filed"

[mgs]
listen = "127.0.0.1:0"
store = "sqlite:${directory}/meta.db"
workers = 1

[mds]
listen = "127.0.0.1:0"
store = "sqlite:${directory}/meta.db"
workers = 1

[oss]
listen = "127.0.0.1:0"
workers = 1

[oss.0]
dir = "${directory}/ost0"

[oss.1]
dir = "${directory}/ost1"
`,
      );
    await write("");
    const env = { RUSTRE_CONFIG: path };
    await using stack = new AsyncDisposableStack();
    const start = async (...args: string[]): Promise<RustreProcess> =>
      stack.use(await startRustre(args, { env }));
    const server = await start("mgs");
    await write(`mgs = ["${server.ready.replace("mgs=", "")}"]`);
    await Promise.all([start("mds"), start("oss"), start("oss", "--index", "1")]);
    const shown = await runRustre(["--config", path, "status", "--json"]);
    assert.equal(shown.stderr, "");
    const status = JSON.parse(shown.stdout);
    assert.deepEqual([status.clusterName, status.allUp], ["filed", true]);
    assert.deepEqual(status.osts.map(({ index }: { index: number }) => index), [0, 1]);
    const asked = await runRustre(["status"], { env: { ...env, RUSTRE_JSON: "1" } });
    assert.equal(JSON.parse(asked.stdout).clusterId, status.clusterId);
    assert((await Deno.stat(`${directory}/ost1/rustre-ost.json`)).isFile);
  });
});

Deno.test("rustre config show says what is in force and where it comes from", async () => {
  await inDirectory(async (directory) => {
    const path = `${directory}/rustre.toml`;
    await Deno.writeTextFile(path, '[mds]\nstore = "memory:"\n\n[oss.3]\ndir = "/disk3"\n');
    const env = { RUSTRE_CONFIG: path, RUSTRE_WORKERS: "2" };
    const { code, stdout, stderr } = await runRustre(["config", "show"], { env });
    assert.deepEqual([code, stderr], [0, ""]);
    const rows = stdout.trimEnd().split("\n").map((line) => line.split(/ {2,}/));
    assert.deepEqual(rows.slice(0, 2), [
      [`configuration file: ${path}`],
      ["SECTION", "KEY", "VALUE", "FROM"],
    ]);
    const row = (section: string, key: string) =>
      rows.find((each) => each[0] === section && each[1] === key)?.slice(2);
    assert.deepEqual(row("mds", "store"), ["memory:", `${path}:2`]);
    assert.deepEqual(row("mds", "workers"), ["2", "RUSTRE_WORKERS"]);
    assert.deepEqual(row("mgs", "store"), ["-", "default"]);
    assert.deepEqual(row("oss.3", "dir"), ["/disk3", `${path}:5`]);
    assert.deepEqual(row("client", "log-level"), ["warn", "default"]);

    const json = await runRustre(["config", "show", "oss", "--index", "3", "--json"], { env });
    const { file, settings } = JSON.parse(json.stdout);
    assert.equal(file, path);
    const of = (key: string) => settings.find((each: { key: string }) => each.key === key);
    assert.deepEqual(of("dir"), {
      ...{ section: "oss.3", key: "dir", variable: "RUSTRE_DIR", value: "/disk3" },
      ...{ source: "file", from: path, line: 5 },
    });
    assert.deepEqual(of("json"), {
      ...{ section: "oss.3", key: "json", variable: "RUSTRE_JSON", value: "true", source: "flag" },
    });
  });
});

Deno.test("mistakes in the configuration end every command with 2, and help without", async () => {
  await inDirectory(async (directory) => {
    const path = `${directory}/rustre.toml`;
    await Deno.writeTextFile(path, "[mds]\nstroe = 'memory:'\n");
    const env = { RUSTRE_CONFIG: path };
    for (const args of [["mds"], ["client", "ls"], ["config", "show"]]) {
      const { code, stdout, stderr } = await runRustre(args, { env });
      const start = `rustre: Cannot use the key "stroe" at ${path}:2: [mds] has no such key`;
      assert(stderr.startsWith(`${start}; did you mean "store"?`), stderr);
      assert.deepEqual([code, stdout], [2, ""]);
    }
    for (const args of [["--help"], ["--version"], ["mds", "--help"]]) {
      assert.equal((await runRustre(args, { env })).code, 0);
    }
  });
});

Deno.test("what no setting says is asked for with all the ways to say it", async () => {
  const { code, stderr } = await runRustre(["oss"], { env: { RUSTRE_CONFIG: "/dev/null" } });
  assert.equal(
    stderr,
    "rustre: required option '-d, --dir <DIR>' not specified: give the flag, set RUSTRE_DIR, " +
      "or write dir in [oss] of the configuration file\n",
  );
  assert.equal(code, 2);
});

Deno.test("a client that is hung up on ends, as other programs do", linuxOnly, async () => {
  await using server = await startRustre(mgs);
  const address = server.ready.replace("mgs=", "");
  const child = spawnRustre(["-m", address, "status", "--watch"], {
    stdout: "piped",
    stderr: "null",
  });
  const reader = child.stdout.getReader();
  await reader.read();
  child.kill("SIGHUP");
  while (!(await reader.read()).done);
  assert.equal((await child.status).signal, "SIGHUP");
});
