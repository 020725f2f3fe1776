// The commands of `rustre client` that change attributes and striping, and as whom they do it.

import assert from "node:assert/strict";
import { ClientCommands, type ClientOptions } from "../support/client_commands.ts";

let client: ClientCommands;
Deno.test.beforeAll(async () => {
  client = await ClientCommands.start();
});
Deno.test.afterAll(async () => {
  await client[Symbol.asyncDispose]();
});

Deno.test("the first file of a cluster that is ready is striped over all its OSTs", async () => {
  await client.ok("touch", "/first");
  assert.equal((await client.json("getstripe", "/first")).stripeCount, 4);
});

// ── attributes ─────────────────────────────────────────────────────────────────────────────────

Deno.test("client touch makes files, and sets times to now", async () => {
  const startMs = Date.now() - 1;
  await client.ok("touch", "/touched");
  const made = await client.stat("/touched");
  assert.equal(made.mode, (0o666 & ~Deno.umask()).toString(8).padStart(4, "0"));
  assert.ok(made.mtimeMs >= startMs && made.mtimeMs <= Date.now() + 1);
  await client.putText("/touched", "content");
  const before = await client.stat("/touched");
  await client.ok("touch", "/touched");
  const after = await client.stat("/touched");
  assert.ok(after.mtimeMs > before.mtimeMs && after.atimeMs > before.atimeMs);
  assert.equal(await client.ok("cat", "/touched"), "content");
  await client.fails(1, /no such file/, "touch", "/none/x");
  await client.fails(1, /"\/none\/"/, "touch", "/none/");
  assert.equal((await client.json("touch", "/touched")).path, "/touched");
});

Deno.test("client truncate cuts, grows and makes files", async () => {
  await client.putText("/cut", "0123456789");
  await client.ok("truncate", "-s", "4", "/cut");
  assert.equal(await client.ok("cat", "/cut"), "0123");
  await client.ok("truncate", "-s", "+3", "/cut");
  assert.equal(await client.ok("cat", "/cut"), "0123\0\0\0");
  await client.ok("truncate", "-s", "-5", "/cut");
  assert.equal(await client.ok("cat", "/cut"), "01");
  await client.ok("truncate", "--size", "-5", "/cut");
  assert.equal(await client.ok("cat", "/cut"), "");
  assert.equal((await client.json("truncate", "-s", "1T", "/huge")).sizeBytes, 2 ** 40);
  assert.equal(await client.ok("cat", "--offset", "1023G", "--length", "3", "/huge"), "\0\0\0");
  await client.ok("rm", "/huge");
  await client.ok("mkdir", "/cut-dir");
  await client.fails(1, /is a directory/, "truncate", "-s", "0", "/cut-dir");
  await client.fails(2, /--size/, "truncate", "/cut");
  await client.fails(2, /'ten'/, "truncate", "-s", "ten", "/cut");
});

Deno.test("client chmod changes modes, octal and symbolic, of trees too", async () => {
  await client.ok("mkdir", "-p", "/ch/dir");
  await client.ok("touch", "/ch/dir/file");
  await client.ok("ln", "-s", "none", "/ch/link");
  const modes = async () => [
    (await client.stat("/ch/dir")).mode,
    (await client.stat("/ch/dir/file")).mode,
  ];
  await client.ok("chmod", "640", "/ch/dir/file");
  await client.ok("chmod", "u+x,go-r", "/ch/dir/file");
  assert.equal((await client.stat("/ch/dir/file")).mode, "0700");
  await client.ok("chmod", "-x", "/ch/dir/file");
  await client.ok("chmod", "-R", "a=rX,u+w", "/ch");
  assert.deepEqual(await modes(), ["0755", "0644"]);
  await client.ok("chmod", "6711", "/ch/dir/file");
  assert.equal((await client.json("chmod", "g-s", "/ch/dir/file")).mode, "4711");
  await client.fails(1, /"\/none"/, "chmod", "600", "/none");
  await client.fails(2, /"rwx"/, "chmod", "rwx", "/ch");
  await client.fails(2, /'path'/, "chmod", "600");
});

Deno.test("client chown changes owner and group by name and number", {
  ignore: Deno.uid() !== 0,
}, async () => {
  await client.ok("mkdir", "/own");
  await client.ok("touch", "/own/file");
  const owner = async (path: string) => {
    const { uid, gid } = await client.stat(path);
    return [uid, gid];
  };
  await client.ok("chown", "12:34", "/own/file");
  assert.deepEqual(await owner("/own/file"), [12, 34]);
  await client.ok("chown", ":56", "/own/file");
  await client.ok("chown", "root", "/own/file");
  assert.deepEqual(await owner("/own/file"), [0, 56]);
  await client.ok("chown", "-R", "7:8", "/own");
  assert.deepEqual([await owner("/own"), await owner("/own/file")], [[7, 8], [7, 8]]);
  await client.fails(2, /"no-such-user"/, "chown", "no-such-user", "/own");
  await client.fails(2, /"7:"/, "chown", "7:", "/own");
  await client.fails(1, /"\/none"/, "chown", "0", "/none");
});

/** Runs commands as a user who may read the program's files, and has a module cache of its own. */
class OtherUser implements AsyncDisposable {
  readonly options: ClientOptions;
  readonly #cache: string;

  private constructor(cache: string, options: ClientOptions) {
    this.#cache = cache;
    this.options = options;
  }

  static async create(ids: { uid: number; gid: number; group: number }): Promise<OtherUser> {
    const cache = await Deno.makeTempDir({ prefix: "rustre-cache-" });
    const info = await new Deno.Command(Deno.execPath(), { args: ["info", "--json"] }).output();
    const { npmCache } = JSON.parse(new TextDecoder().decode(info.stdout));
    const { uid, gid, group } = ids;
    const script = 'cp -r "$1" "$2/npm" && chown -R "$3" "$2"';
    const args = ["-c", script, "sh", npmCache, cache, `${uid}:${gid}`];
    assert.equal((await new Deno.Command("sh", { args }).output()).code, 0);
    const may = ["--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"];
    const prefix = ["setpriv", `--reuid=${uid}`, `--regid=${gid}`, `--groups=${group}`, ...may];
    return new OtherUser(cache, { prefix, env: { DENO_DIR: cache } });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Deno.remove(this.#cache, { recursive: true });
  }
}

Deno.test("the client acts as its user, group and supplementary groups", {
  ignore: Deno.uid() !== 0,
}, async () => {
  await using user = await OtherUser.create({ uid: 4321, gid: 4322, group: 4323 });
  const asUser = (...args: string[]) => client.run(args, user.options);
  await client.ok("mkdir", "-m", "777", "/user");
  await client.ok("mkdir", "-m", "770", "/user/group", "/user/others");
  await client.ok("chown", ":4323", "/user/group");
  assert.equal((await asUser("touch", "/user/group/file")).code, 0);
  const { uid, gid } = await client.stat("/user/group/file");
  assert.deepEqual([uid, gid], [4321, 4322]);
  const refused = await asUser("touch", "/user/others/file");
  assert.deepEqual([refused.code, refused.stderr], [
    1,
    'rustre: Cannot change "/user/others/file": permission denied\n',
  ]);
  assert.match((await asUser("chown", "0", "/user/group/file")).stderr, /only root/);
  assert.match((await asUser("chmod", "777", "/user")).stderr, /only the owner/);
});

// ── striping ───────────────────────────────────────────────────────────────────────────────────

Deno.test("client setstripe sets what new files below get, getstripe shows it", async () => {
  await client.ok("mkdir", "/st");
  assert.deepEqual(await client.json("getstripe", "/st"), {
    path: "/st",
    type: "directory",
    stripeCount: 0,
    stripeBytes: 1_048_576,
    replicas: 1,
  });
  await client.ok("setstripe", "-c", "2", "-S", "128K", "/st");
  await client.ok("setstripe", "-R", "2", "/st");
  await client.ok("mkdir", "/st/below");
  await client.ok("touch", "/st/below/file");
  const striping = await client.json("getstripe", "/st/below/file");
  assert.deepEqual([striping.stripeCount, striping.stripeBytes, striping.replicas], [
    2,
    131_072,
    2,
  ]);
  assert.equal(striping.osts.length, 2);
  const { code } = await client.run(["put", "-c", "1", "-", "/st/one"], { stdin: "x" });
  assert.equal(code, 0);
  assert.match(
    await client.ok("getstripe", "/st/one"),
    /^path +\/st\/one\nstripes +1\nstripe size +128K\nreplicas +2\nposition 0 +OST \d, \d\n$/,
  );
  assert.match(await client.ok("getstripe", "/st"), /^stripes of new files +2$/m);
  await client.fails(1, /not a directory/, "setstripe", "-c", "1", "/st/one");
  await client.fails(2, /at least one/, "setstripe", "/st");
  await client.fails(2, /'257'/, "setstripe", "-c", "257", "/st");
  await client.fails(2, /'1K'/, "setstripe", "-S", "1K", "/st");
  await client.fails(2, /'9'/, "setstripe", "-R", "9", "/st");
});

Deno.test("more replicas or stripes than there are OSTs are refused", async () => {
  await client.fails(1, /"\/five".*OST/, "put", "-R", "5", "/etc/hostname", "/five");
  await client.fails(1, /"\/five".*OST/, "put", "-c", "5", "/etc/hostname", "/five");
});
