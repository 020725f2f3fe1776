// The self-extracting executable: on a host with nothing, and with a cache directory that is empty,
// damaged, somebody else's, or has other versions; and on three hosts, from the release.

import assert from "node:assert/strict";
import * as fs from "node:fs";
import { dirname, join } from "node:path";
import { build } from "../../packaging/build.ts";
import { release } from "../../packaging/release.ts";
import { run } from "../../packaging/run.ts";
import { makeSelfExtracting } from "../../packaging/self_extracting.ts";
import { commitOf, stageSources } from "../../packaging/stage.ts";
import { version } from "../../shared/version.ts";
import { type EmptyRoot, makeEmptyRoot, obstacleToEmptyRoot } from "../support/empty_root.ts";
import { DocumentedCluster } from "../support/documented_cluster.ts";
import { digestsOf, makeTree, Servers } from "../support/executable_servers.ts";
import { obstacleToThreeHosts, ThreeHosts } from "../support/three_hosts.ts";
import { runRustre, spawnRustre, startRustre } from "../support/processes.ts";

const nobody = 65534;

const directory = await Deno.makeTempDir({ prefix: "rustre-executable-" });
addEventListener("unload", () => fs.rmSync(directory, { recursive: true, force: true }));
const executable = `${directory}/rustre`;
/** Made by the first test that asks for it. It has passed the smoke test, or this rejects. */
let built: Promise<unknown> | undefined;
const madeOnce = () => built ??= build(executable, "self-extracting executable");

const obstacle = await obstacleToEmptyRoot();
const needsRoot = (name: string) => ({
  name: obstacle === undefined ? name : `${name} (skipped: ${obstacle})`,
  ignore: obstacle !== undefined,
});

/** A cache directory from which it has started. */
let started: Promise<string> | undefined;
const startedOnce = () =>
  started ??= (async () => {
    await madeOnce();
    const cache = newCache();
    await assertStarts(cache);
    return cache;
  })();

/** The path of a release with it. */
let released: Promise<string> | undefined;
const releasedOnce = () =>
  released ??= (async () => {
    const cache = await startedOnce();
    return await release(await Deno.makeTempDir({ dir: directory }), executable, cache);
  })();

let caches = 0;
/** A cache directory that is not there yet. */
const newCache = () => `${directory}/cache${caches++}`;

const showVersion = (cache: string, file = executable) =>
  runRustre(["--version", "--cache-dir", cache], { executable: file, prefix: ["env", "-i"] });

/** Starts without unpacking, of which the directory would tell. */
async function assertStartsAtOnce(cache: string, variables: readonly string[] = []): Promise<void> {
  const { mtimeMs } = fs.statSync(cache);
  await assertStarts(cache, variables);
  assert.equal(fs.statSync(cache).mtimeMs, mtimeMs);
}

async function assertStarts(cache: string, variables: readonly string[] = []): Promise<void> {
  const prefix = ["env", "-i", ...variables];
  const args = ["--version", "--cache-dir", cache];
  const { code, stdout, stderr } = await runRustre(args, { executable, prefix });
  assert.deepEqual({ code, stderr }, { code: 0, stderr: "" });
  assert.match(stdout, new RegExp(`^rustre ${version}, commit .*, self-extracting executable\n$`));
}

/** The name of the one version in a cache directory that has nothing else but its lock. */
function onlyVersion(cache: string): string {
  const [name, ...others] = fs.readdirSync(cache).sort();
  assert.match(name!, /^[0-9a-f]{16}$/);
  assert.deepEqual(others, ["lock"]);
  return name!;
}

// ── hosts with nothing ─────────────────────────────────────────────────────────────────────────

/** With the executable as its `/rustre`. */
let madeRoot: Promise<EmptyRoot> | undefined;
const emptyRoot = () =>
  madeRoot ??= (async () => {
    await madeOnce();
    const root = await makeEmptyRoot(await Deno.makeTempDir({ dir: directory }));
    fs.copyFileSync(executable, `${root.directory}/rustre`);
    return root;
  })();

Deno.test(
  needsRoot("a cluster of four processes runs from the executable in an empty root"),
  async () => {
    const { directory, prefix } = await emptyRoot();
    const small = "/data/tree/inner/small";
    const digests = makeTree(`${directory}/tree`);
    await using servers = new Servers(prefix());
    await servers.startAll();
    await servers.run("client", "mkdir", "/data");
    await servers.run("client", "setstripe", "-c", "2", "/data");
    await servers.run("client", "put", "-r", "/tree", "/data/");
    await servers.kill("oss1");
    await servers.startOss(1);
    await servers.run("client", "get", "-r", "/data/tree", "/again");
    assert.deepEqual(digestsOf(`${directory}/again`), digests);
    assert.equal(await servers.run("client", "find", "/data", "-name", "sm*"), `${small}\n`);
    assert.match(await servers.run("status"), /^ost 1 /m);
    await servers.run("admin", "scrub");
    onlyVersion(`${directory}/var/cache/rustre`);
  },
);

Deno.test(
  needsRoot("the executable runs for a user with a home that cannot be written"),
  async () => {
    const root = await emptyRoot();
    const prefix = root.prefix({ user: nobody, environment: { HOME: "/home" } });
    const help = await runRustre(["client", "put", "--help"], { executable: "/rustre", prefix });
    assert.deepEqual([help.code, help.stderr], [0, ""]);
    assert.match(help.stdout, /^Usage: rustre client put/);
    assert.deepEqual(fs.readdirSync(`${root.directory}/home`), []);
    onlyVersion(`${root.directory}/tmp/rustre-${nobody}`);
  },
);

Deno.test(
  needsRoot("what root has unpacked runs for others if they may read it"),
  async () => {
    const root = await emptyRoot();
    const environment = { RUSTRE_CACHE_DIR: "/var/cache/rustre" };
    const show = (user: number) => {
      const prefix = root.prefix({ user, environment });
      return runRustre(["--version"], { executable: "/rustre", prefix });
    };
    const first = await show(0);
    assert.deepEqual([first.code, first.stderr], [0, ""]);
    const refused = await show(nobody);
    assert.deepEqual([refused.code, refused.stdout], [2, ""]);
    fs.chmodSync(root.directory + environment.RUSTRE_CACHE_DIR, 0o755);
    assert.deepEqual(await show(nobody), first);
  },
);

const noHosts = await obstacleToThreeHosts();
const onThreeHosts = "the documentation leads from a release to a cluster on three hosts" +
  (noHosts === undefined ? "" : ` (skipped: ${noHosts})`);

Deno.test({ name: onThreeHosts, ignore: noHosts !== undefined }, async () => {
  const archive = await releasedOnce();
  await using hosts = await ThreeHosts.make(await Deno.makeTempDir({ dir: directory }));
  await using cluster = new DocumentedCluster(hosts);
  await cluster.install(archive);
  await cluster.start(1);
  await Promise.all([cluster.start(2), cluster.start(3)]);
  assert.match(await cluster.use(2), / {2}tree$/m);
  await Promise.all([1, 2, 3].map((host) => cluster.get(host, "/data/etc/tree")));

  await cluster.kill(3);
  await cluster.shows(2, "down");
  await cluster.get(2, "/data/etc/tree");
  await cluster.put(1, "/data/without3");
  await cluster.start(3);
  await cluster.get(3, "/data/without3");

  await hosts.setConnected(2, false);
  assert.match((await cluster.run(2, "status")).stderr, /Cannot reach an mgs/);
  await cluster.shows(1, "down");
  await cluster.get(3, "/data/without3");
  await cluster.put(3, "/data/without2");
  await hosts.setConnected(2, true);
  await cluster.shows(1, "up");
  await cluster.get(2, "/data/without2");
});

// ── the cache directory ────────────────────────────────────────────────────────────────────────

Deno.test("many first starts at once leave one copy, and no version that nobody runs", async () => {
  await madeOnce();
  const cache = newCache();
  const [unused, used] = ["00000000000000aa", "00000000000000bb"];
  for (const name of [unused, used, "old.1.x", "unrelated"]) {
    fs.mkdirSync(`${cache}/${name}/state`, { recursive: true });
    fs.writeFileSync(`${cache}/${name}/state/in_use`, "");
  }
  fs.chmodSync(cache, 0o700);
  using file = Deno.openSync(`${cache}/${used}/state/in_use`);
  file.lockSync(false);
  await Promise.all(Array.from({ length: 3 }, () => assertStarts(cache)));
  const left = fs.readdirSync(cache).sort();
  const [version] = left.splice(1, 1);
  assert.deepEqual(left, [used, "lock", "unrelated"]);
  assert.match(version!, /^[0-9a-f]{16}$/);
  await assertStartsAtOnce(cache);
});

Deno.test("the executable replaces a copy that was damaged", async (test) => {
  const cache = await startedOnce();
  const copy = `${cache}/${onlyVersion(cache)}`;
  const damages: Record<string, () => void> = {
    "a file is cut off": () => fs.truncateSync(`${copy}/rustre`, 1_000_000),
    "a file was written, and is as long as before": () => {
      const text = fs.readFileSync(`${copy}/rustre.js`, "utf8");
      fs.chmodSync(`${copy}/rustre.js`, 0o644);
      fs.writeFileSync(`${copy}/rustre.js`, text.replace("await main", "await niam"));
      fs.chmodSync(`${copy}/rustre.js`, 0o444);
    },
    "a file is gone, another is new": () => fs.renameSync(`${copy}/worker.js`, `${copy}/new.js`),
  };
  for (const [name, damage] of Object.entries(damages)) {
    await test.step(name, async () => {
      const { ino } = fs.statSync(copy);
      damage();
      await assertStarts(cache);
      assert.notEqual(fs.statSync(`${cache}/${onlyVersion(cache)}`).ino, ino);
    });
  }
});

Deno.test("an executable that was damaged or cut off says so and leaves nothing", async () => {
  await madeOnce();
  const bytes = fs.readFileSync(executable);
  const damaged = `${directory}/damaged`;
  for (const position of [66_000, 200_000, bytes.length / 2]) {
    const cache = newCache();
    const copy = Uint8Array.from(bytes);
    copy[Math.floor(position)]! ^= 4;
    fs.writeFileSync(damaged, copy, { mode: 0o755 });
    const { code, stderr } = await showVersion(cache, damaged);
    assert.deepEqual([code, fs.readdirSync(cache)], [1, []], `byte ${position}: ${stderr}`);
    assert.match(stderr, /^rustre: Cannot start: /);
  }
});

Deno.test("a server keeps its version from being cleaned away", async () => {
  const cache = await startedOnce();
  const args = ["mgs", "--listen=127.0.0.1:0", `--store=sqlite:${cache}.db`];
  await using _server = await startRustre(args, {
    executable,
    prefix: ["env", "-i", `RUSTRE_CACHE_DIR=${cache}`],
  });
  using file = Deno.openSync(`${cache}/${onlyVersion(cache)}/state/in_use`, { write: true });
  assert.equal(file.tryLockSync(true), false);
});

Deno.test("what is unpacked is for nobody else to write, with whatever umask and path", async () => {
  await madeOnce();
  // A name that `ls` shows as two lines.
  const cache = `${newCache()}\nand more`;
  const script = 'umask 000 && exec "$0" --version --cache-dir "$1"';
  await run("env", ["-i", "sh", "-c", script, executable, cache]);
  const copy = `${cache}/${onlyVersion(cache)}`;
  for (const path of [cache, copy, `${copy}/state`, `${copy}/state/in_use`]) {
    assert.equal(fs.statSync(path).mode & 0o022, 0, path);
  }
  // The engine makes more in there, with the modes that the umask gives.
  assert.equal(fs.statSync(`${copy}/state/deno`).mode & 0o777, 0o700);
  await assertStartsAtOnce(cache);
});

Deno.test("the executable knows its copy whatever a user has set for ls and for Deno", async () => {
  const cache = await startedOnce();
  const variables = ["TIME_STYLE=long-iso", "BLOCK_SIZE=human-readable", "LS_BLOCK_SIZE=M"];
  variables.push("QUOTING_STYLE=c", "DENO_V8_FLAGS=--none", "LC_ALL=C.UTF-8", "TZ=Asia/Kolkata");
  await assertStartsAtOnce(cache, variables);
});

Deno.test("what was left by a first start that was killed goes with the next one", async () => {
  await madeOnce();
  const cache = newCache();
  fs.mkdirSync(cache, { mode: 0o700 });
  // Of another host that uses the same directory.
  const other = "new.00000000-0000-0000-0000-000000000000.1.99999999.0";
  fs.mkdirSync(`${cache}/${other}`);
  const watcher = Deno.watchFs(cache);
  // A group of its own, all of which is killed.
  const child = spawnRustre(["--version", "--cache-dir", cache], {
    executable,
    prefix: ["env", "-i", "setsid"],
    stdout: "null",
  });
  for await (const { kind } of watcher) if (kind === "create") break;
  Deno.kill(-child.pid, "SIGKILL");
  await child.status;
  assert.equal(fs.readdirSync(cache).length, 2);
  await assertStarts(cache);
  fs.rmdirSync(`${cache}/${other}`);
  onlyVersion(cache);
});

Deno.test("the executable refuses a cache directory that others can write", async () => {
  await madeOnce();
  const cache = newCache();
  fs.mkdirSync(cache);
  for (const mode of [0o770, 0o702, 0o777]) {
    fs.chmodSync(cache, mode);
    const { code, stderr } = await showVersion(cache);
    assert.equal(code, 2);
    assert.match(stderr, /Cannot start: the cache directory ".*" is not a directory that only /);
    assert.deepEqual(fs.readdirSync(cache), []);
  }
  const link = newCache();
  fs.chmodSync(cache, 0o700);
  fs.symlinkSync(cache, link);
  assert.equal((await showVersion(link)).code, 2);
});

Deno.test(needsRoot("the executable refuses a cache directory of somebody else"), async () => {
  await madeOnce();
  const cache = newCache();
  fs.mkdirSync(cache, { mode: 0o700 });
  fs.chownSync(cache, nobody, nobody);
  const { code, stderr } = await showVersion(cache);
  assert.equal(code, 2, stderr);
  assert.deepEqual(fs.readdirSync(cache), []);
});

Deno.test(needsRoot("the executable refuses one that somebody else could replace"), async () => {
  await madeOnce();
  const above = newCache();
  const cache = `${above}/between/cache`;
  fs.mkdirSync(`${above}/between`, { recursive: true });
  const become = (mode: number, owner: number, group: number) => {
    fs.chownSync(above, owner, group);
    fs.chmodSync(above, mode);
  };
  for (const [mode, owner, group] of [[0o775, 0, 0], [0o1777, 0, nobody]] as const) {
    become(mode, owner, group);
    await assertStarts(cache);
  }
  const unsafe = [[0o755, nobody, 0], [0o1777, nobody, 0], [0o777, 0, 0], [0o775, 0, nobody]];
  for (const [mode, owner, group] of unsafe) {
    become(mode!, owner!, group!);
    const { code, stderr } = await showVersion(cache);
    assert.match(stderr, /others than this user and root can replace the cache directory "/);
    assert.equal(code, 2);
  }
});

// ── reproducible ───────────────────────────────────────────────────────────────────────────────

Deno.test("the same sources give the same executable and the same release", async () => {
  const cache = await startedOnce();
  const staged = await Deno.makeTempDir({ dir: directory, prefix: "elsewhere-" });
  const commit = await commitOf();
  await stageSources(staged, { kind: "self-extracting executable", commit });
  await makeSelfExtracting(staged, `${directory}/again`);
  assert.ok(fs.readFileSync(executable).equals(fs.readFileSync(`${directory}/again`)));
  const elsewhere = await Deno.makeTempDir({ dir: directory });
  const again = await release(elsewhere, `${directory}/again`, cache);
  assert.ok(fs.readFileSync(await releasedOnce()).equals(fs.readFileSync(again)));
  const unpacked = await Deno.makeTempDir({ dir: directory });
  await run("tar", ["-xzf", again, "--strip-components=1", "-C", unpacked]);
  await run("sha256sum", ["--check", "--strict", "SHA256SUMS"], { cwd: unpacked });
  for (const name of fs.readdirSync(unpacked, { recursive: true, encoding: "utf8" })) {
    if (!name.endsWith(".md")) continue;
    const text = fs.readFileSync(`${unpacked}/${name}`, "utf8");
    for (const [, link] of text.matchAll(/\]\((?!https?:|#)([^)#\s]+)/g)) {
      assert(fs.existsSync(join(unpacked, dirname(name), link!)), `${name}: ${link}`);
    }
  }
  const licences = fs.readFileSync(`${unpacked}/LICENCES.txt`, "utf8");
  for (const name of ["rustre", "Deno", "V8", "Libraries", "commander", "@node-rs/crc32-"]) {
    assert.match(licences, new RegExp(`^${name}.*\n=+$`, "m"));
  }
  // Two that Deno cannot be without.
  for (const crate of ["serde", "tokio"]) {
    assert.match(licences, new RegExp(`^  ${crate} \\d+\\.\\d+\\.\\d+$`, "m"));
  }
});
