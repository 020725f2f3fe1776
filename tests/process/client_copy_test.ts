// put, get, cp and cat, end to end.

import assert from "node:assert/strict";
import fs from "node:fs";
import { ClientCommands, patternBytes } from "../support/client_commands.ts";

let client: ClientCommands;
Deno.test.beforeAll(async () => {
  client = await ClientCommands.start();
});
Deno.test.afterAll(async () => {
  await client[Symbol.asyncDispose]();
});

const stripeBytes = 65_536;

async function shell(script: string): Promise<string> {
  const command = new Deno.Command("bash", { args: ["-ec", script], cwd: client.directory });
  const { code, stdout, stderr } = await command.output();
  assert.equal(code, 0, new TextDecoder().decode(stderr));
  return new TextDecoder().decode(stdout);
}

async function write(name: string, bytes: Uint8Array | string): Promise<void> {
  if (typeof bytes === "string") await Deno.writeTextFile(client.local(name), bytes);
  else await Deno.writeFile(client.local(name), bytes);
}

function localNames(directory: string): string[] {
  return [...Deno.readDirSync(client.local(directory))].map(({ name }) => name).sort();
}

/** One line for each entry of a local tree: what a copy must keep. */
function listTree(directory: string, path = "."): string[] {
  const at = `${directory}/${path}`;
  const { mode } = fs.lstatSync(at);
  if (fs.lstatSync(at).isSymbolicLink()) return [`${path} -> ${fs.readlinkSync(at)}`];
  const own = `${path} ${(mode & 0o7777).toString(8)}`;
  if (!fs.lstatSync(at).isDirectory()) return [`${own} ${fs.statSync(at).size}`];
  const names = fs.readdirSync(at).sort();
  return [own, ...names.flatMap((name) => listTree(directory, `${path}/${name}`))];
}

Deno.test("files of every size come back as they went, over 1 to 4 stripes and 1 to 2 replicas", async () => {
  const MiB = 1024 * 1024;
  const sizes = [0, 1, stripeBytes - 1, stripeBytes, stripeBytes + 1, 5 * stripeBytes + 7];
  sizes.push(MiB - 1, MiB, MiB + 1, 3 * MiB, 5 * MiB + 4321);
  await Deno.mkdir(client.local("sizes"));
  for (const size of sizes) await write(`sizes/${size}`, patternBytes(size, size + 1));
  for (const stripes of [1, 2, 3, 4]) {
    for (const replicas of [1, 2]) {
      const name = `sizes-${stripes}-${replicas}`;
      const striping = ["-c", `${stripes}`, "-R", `${replicas}`, "-S", `${stripeBytes}`];
      await client.ok("mkdir", `/${name}`);
      await client.ok("put", ...striping, ...sizes.map((size) => `sizes/${size}`), `/${name}/`);
      await client.ok("get", "-r", `/${name}`, name);
      await shell(`diff -r sizes ${name}; rm -r ${name}`);
    }
  }
  const { layout } = await client.stat(`/sizes-3-2/${MiB}`);
  assert.deepEqual([layout.stripeCount, layout.replicas, layout.stripeBytes], [3, 2, stripeBytes]);
});

Deno.test("trees keep names, modes, times and links", async () => {
  await shell(`
    mkdir -p "tree/two words/déjà vu" tree/empty tree/closed
    echo a > "tree/two words/file"; echo b > tree/$'new\\nline'; echo c > tree/-dash
    head -c 300000 /dev/urandom > "tree/two words/déjà vu/💾"
    echo d > tree/closed/inside; touch tree/${"n".repeat(255)}
    ln -s "two words/file" tree/link; ln -s /none tree/dangling; ln -s tree tree/to-dir
    ln tree/-dash tree/hard
    chmod 4751 tree/-dash; chmod 2770 tree/empty; chmod 1777 "tree/two words"
    chmod 400 tree/closed/inside
    touch -d '2001-02-03 04:05:06.123456789 UTC' tree/-dash
    touch -h -d '1969-12-31 23:59:58.5 UTC' tree/dangling
    chmod 555 tree/closed; touch -d '1999-01-01 UTC' tree/closed tree
  `);
  const summary = await client.json("put", "-r", "tree", "/");
  assert.deepEqual([summary.files, summary.directories, summary.symlinks], [7, 5, 3]);
  await client.ok("get", "-r", "/tree", "tree-back");
  assert.deepEqual(listTree(client.local("tree-back")), listTree(client.local("tree")));
  const times = "find . -printf '%p %T@\\n' | sort";
  assert.equal(await shell(`cd tree-back; ${times}`), await shell(`cd tree; ${times}`));
  assert.equal(await shell("diff -r --no-dereference tree tree-back"), "");
  const { atimeMs, mtimeMs, mode } = await client.stat("/tree/-dash");
  assert.deepEqual([atimeMs, mtimeMs], [981_173_106_123.4568, 981_173_106_123.4568]);
  assert.equal(mode, "4751");
  assert.equal((await client.stat("/tree/dangling")).mtimeMs, -1500);
});

Deno.test("put -r merges into directories that are there, and replaces files only with -f", async () => {
  await shell("mkdir -p merge/sub; echo 1 > merge/a; echo 2 > merge/sub/b; ln -s a merge/link");
  await client.ok("put", "-r", "merge", "/merge");
  await shell("echo changed > merge/a; echo new > merge/sub/new; ln -sf b merge/link");
  // "." stands for its contents.
  const { stderr } = await client.fails(
    1,
    /"\/merge\/a": already/,
    "put",
    "-r",
    "merge/.",
    "/merge",
  );
  assert.equal(stderr.trim().split("\n").length, 3, stderr);
  assert.equal(await client.ok("cat", "/merge/a"), "1\n");
  assert.equal(await client.ok("cat", "/merge/sub/new"), "new\n");
  await client.ok("put", "-rf", "merge/.", "/merge");
  assert.equal(await client.ok("cat", "/merge/a"), "changed\n");
  assert.equal(await client.ok("readlink", "/merge/link"), "b\n");
  assert.deepEqual(await client.names("/merge"), ["a", "link", "sub"]);
  const { mode, mtimeMs } = await client.stat("/merge/sub");
  await shell("chmod 700 merge/sub; touch -d '2001-02-03 UTC' merge/sub; mkdir merge/empty");
  await client.ok("put", "-rf", "merge/.", "/merge");
  const sub = await client.stat("/merge/sub");
  assert.equal(sub.mode, mode, "what was there keeps its mode");
  assert.ok(sub.mtimeMs >= mtimeMs, "and its times are its own");
  // And the same back.
  await shell("mkdir back; echo old > back/a; mkdir back/link");
  await client.fails(1, /"back\/a": already exists; -f/, "get", "-r", "/merge/.", "back");
  assert.equal(await Deno.readTextFile(client.local("back/a")), "old\n");
  await client.fails(1, /"back\/link": is a directory/, "get", "-rf", "/merge/.", "back");
  await shell("rmdir back/link");
  await client.ok("get", "-rf", "/merge/.", "back");
  await shell("diff -r --no-dereference merge back");
  await shell("chmod 711 back/sub; touch -d '2005-06-07 UTC' back/empty");
  const dates = "stat -c '%a %Y' back/empty; stat -c %a back back/sub";
  const before = await shell(dates);
  await client.ok("get", "-rf", "/merge/.", "back");
  assert.equal(await shell(dates), before);
});

Deno.test("put and get go into directories, and to names", async () => {
  await write("one", "1");
  await write("two", "2");
  await client.ok("mkdir", "/into");
  await client.ok("put", "one", "/into");
  await client.ok("put", "one", "two", "/into/", "-f");
  await client.ok("put", "one", "/into/renamed");
  assert.deepEqual(await client.names("/into"), ["one", "renamed", "two"]);
  await Deno.mkdir(client.local("into"));
  await client.ok("get", "/into/one", "/into/two", "into");
  await client.ok("get", "/into/one", "into/three");
  assert.deepEqual(localNames("into"), ["one", "three", "two"]);
  await client.fails(1, /already exists; -f replaces files/, "put", "one", "/into");
  await client.fails(1, /already exists; -f replaces files/, "get", "/into/one", "into");
  await client.fails(1, /not a directory/, "put", "one", "/into/none/");
  await client.fails(1, /no such file/, "put", "one", "/none/x");
  await client.fails(1, /no such/, "get", "/into/one", "none/x");
  await client.fails(1, /no such directory/, "put", "one", "two", "/none");
  await client.fails(1, /not a directory/, "get", "/into/one", "/into/two", "one");
  await client.fails(1, /is a directory, which only -r/, "put", "into", "/");
  await client.fails(1, /is a directory, which only -r/, "get", "/into", ".");
  await client.fails(2, /DST/, "put", "one");
  await client.fails(2, /DST/, "get", "/into/one");
  await client.fails(2, /remote path/, "put", "one", "two");
  await client.fails(2, /remote path/, "get", "one", "two");
});

Deno.test("put reports what it cannot take and takes the rest", async () => {
  await shell(`
    mkdir odd; mkfifo odd/fifo; echo x > odd/file; touch odd/$'bad\\xff'
    ln -s $'bad\\xff' odd/link
  `);
  const { stderr } = await client.fails(
    1,
    /odd\/fifo": neither a file/,
    "put",
    "-r",
    "odd",
    "/odd",
  );
  assert.match(stderr, /odd\/bad\uFFFD": its name is not valid UTF-8/);
  assert.match(stderr, /odd\/link": its target is not valid UTF-8/);
  assert.deepEqual(await client.names("/odd"), ["file"]);
  await client.fails(1, /neither a file/, "put", "odd/fifo", "/fifo");
  const after = await client.fails(
    1,
    /"none": no such file/,
    "put",
    "none",
    "odd/file",
    "/odd",
    "-f",
  );
  assert.equal(after.stdout, "");
  await client.fails(1, /over 255 bytes/, "put", "odd/file", `/${"x".repeat(256)}`);
});

Deno.test("put and get follow a link that is named, and keep it with -r", async () => {
  await shell("echo content > target; ln -s target link");
  await client.ok("put", "link", "/followed");
  assert.equal(await client.ok("cat", "/followed"), "content\n");
  await client.ok("put", "-r", "link", "/kept-link");
  assert.equal(await client.ok("readlink", "/kept-link"), "target\n");
  await client.ok("ln", "-s", "followed", "/remote-link");
  await client.ok("get", "/remote-link", "got-file");
  assert.equal((await Deno.lstat(client.local("got-file"))).isFile, true);
  await client.ok("get", "-r", "/remote-link", "got-link");
  assert.equal(await Deno.readLink(client.local("got-link")), "followed");
});

Deno.test("put -f replaces a file at once, with mode, times and layout of the new one", async () => {
  await write("old", patternBytes(500_000));
  await write("new", "short");
  await Deno.chmod(client.local("new"), 0o600);
  await client.ok("put", "-R", "2", "old", "/replaced");
  const before = await client.stat("/replaced");
  await client.ok("put", "-f", "-c", "1", "new", "/replaced");
  const after = await client.stat("/replaced");
  assert.notEqual(after.ino, before.ino);
  assert.deepEqual([after.mode, after.sizeBytes], ["0600", 5]);
  assert.deepEqual([after.layout.stripeCount, after.layout.replicas], [1, 1]);
  await client.ok("mkdir", "-p", "/directory/new");
  await client.fails(1, /is a directory/, "put", "-f", "new", "/directory");
  await client.ok("get", "-f", "/replaced", "old");
  assert.equal(await Deno.readTextFile(client.local("old")), "short");
});

Deno.test("get makes local files only under their names, and never through planted links", async () => {
  await client.ok("mkdir", "-p", "/plant/sub");
  const { code } = await client.run(["put", "-", "/plant/sub/file"], { stdin: "theirs" });
  assert.equal(code, 0);
  await shell("mkdir outside; mkdir -p planted/plant; ln -s ../../outside planted/plant/sub");
  await client.fails(1, /"planted\/plant\/sub": something else/, "get", "-r", "/plant", "planted");
  assert.deepEqual(localNames("outside"), []);
  await client.fails(1, /not a regular file/, "get", "-f", "/plant/sub/file", "/dev/null");
  assert.equal((await Deno.stat("/dev/null")).isCharDevice, true);
});

Deno.test("standard input and output stand for files", async () => {
  const bytes = patternBytes(3_000_001);
  assert.equal((await client.run(["put", "-", "/stream"], { stdin: bytes })).code, 0);
  assert.deepEqual((await client.run(["get", "/stream", "-"])).bytes, bytes);
  assert.deepEqual((await client.run(["cat", "/stream", "/stream"])).bytes.length, 6_000_002);
  assert.equal((await client.run(["put", "-", "/empty"], { stdin: "" })).code, 0);
  assert.equal((await client.stat("/empty")).sizeBytes, 0);
  await client.fails(2, /more than once/, "put", "-", "-", "/x");
  await client.fails(1, /name the file/, "put", "-", "/");
  await client.fails(1, /is a directory/, "get", "/", "-");
});

Deno.test("cat gives files and ranges of them", async () => {
  const bytes = patternBytes(2 * stripeBytes + 10);
  assert.equal((await client.run(["put", "-S", "64K", "-", "/cat"], { stdin: bytes })).code, 0);
  const range = async (...args: string[]) => (await client.run(["cat", "/cat", ...args])).bytes;
  assert.deepEqual(await range(), bytes);
  assert.deepEqual(await range("--offset", "64K"), bytes.slice(65_536));
  assert.deepEqual(await range("--offset", "65535", "--length", "2"), bytes.slice(65_535, 65_537));
  assert.deepEqual(await range("--length", "0"), new Uint8Array(0));
  assert.deepEqual(await range("--offset", "1M"), new Uint8Array(0));
  await client.fails(1, /"\/none"/, "cat", "/none");
  await client.fails(1, /is a directory/, "cat", "/");
  await client.fails(2, /'-1'/, "cat", "/cat", "--offset", "-1");
  await client.fails(2, /more than one PATH/, "cat", "/cat", "/cat", "--length", "1");
  const { stdout } = await client.fails(1, /"\/none"/, "cat", "/none", "/empty-or-not", "/cat");
  assert.ok(stdout.length > 0);
});

Deno.test("a reader that has read enough ends cat quietly", async () => {
  assert.equal(
    (await client.run(["put", "-", "/long"], { stdin: patternBytes(8_000_000) })).code,
    0,
  );
  const child = client.spawn(["cat", "/long"]);
  const reader = child.stdout.getReader();
  await reader.read();
  await reader.cancel();
  const errors = await new Response(child.stderr).text();
  const { code } = await child.status;
  assert.deepEqual([code, errors], [1, ""]);
});

Deno.test("a sparse file takes no space and little time either way", async () => {
  await client.ok("truncate", "-s", "100G", "/sparse");
  await client.ok("get", "/sparse", "sparse");
  const { size, blocks } = await Deno.stat(client.local("sparse"));
  assert.equal(size, 100 * 2 ** 30);
  assert.ok((blocks ?? 0) * 512 < 1_000_000, `${blocks} blocks`);
  await Deno.remove(client.local("sparse"));
});

Deno.test("cp is put and get with the cluster in the path", async () => {
  await write("cp-source", "content");
  await client.ok("mkdir", "/cp");
  await client.ok("cp", "-c", "1", "cp-source", `${client.mgs}:/cp`);
  assert.equal((await client.stat("/cp/cp-source")).layout.stripeCount, 1);
  await client.ok("cp", `${client.mgs}:/cp/cp-source`, "cp-back");
  assert.equal(await Deno.readTextFile(client.local("cp-back")), "content");
  await client.ok("cp", "-r", `${client.mgs}:/cp`, "cp-tree");
  assert.deepEqual(localNames("cp-tree"), ["cp-source"]);
  // The cluster in the path counts, not the one of the flag.
  const flag = ["--mgs", "127.0.0.1:1"];
  await client.ok("cp", ...flag, "-f", "cp-source", `${client.mgs}:/cp/`);
  await client.fails(1, /"127\.0\.0\.1:1"/, "cp", "cp-source", "127.0.0.1:1:/x");
  await client.fails(2, /HOST:PORT/, "cp", "cp-source", "cp-other");
  await client.fails(2, /HOST:PORT/, "cp", `${client.mgs}:/a`, `${client.mgs}:/b`);
  await client.fails(2, /HOST:PORT/, "cp", "cp-source", "host:/x");
  await client.fails(2, /several clusters/, "cp", `${client.mgs}:/a`, "127.0.0.1:1:/b", ".");
  await client.fails(2, /-c, -S and -R/, "cp", "-c", "1", `${client.mgs}:/cp/cp-source`, "x");
});

Deno.test("put refuses a file that changes its size while it is read", async () => {
  // So large that it grows many times while it is read, however busy the machine is.
  await write("growing", new Uint8Array(0));
  await Deno.truncate(client.local("growing"), 256 * 1024 * 1024);
  const file = await Deno.open(client.local("growing"), { append: true });
  let growing = true;
  const grow = (async () => {
    while (growing) {
      await file.write(new Uint8Array(10_000));
      await new Promise((resolve) => setTimeout(resolve, 1));
    }
  })();
  try {
    await client.fails(1, /"growing": its size changed/, "put", "growing", "/growing");
  } finally {
    growing = false;
    await grow;
    file.close();
  }
  await client.fails(1, /no such file/, "stat", "/growing");
});

Deno.test("put takes files whose size is not known before, as those of /proc", async () => {
  await client.ok("put", "/proc/self/limits", "/limits");
  assert.match(await client.ok("cat", "/limits"), /^Limit +Soft Limit/);
});

Deno.test("a transfer shows its progress on a terminal, and nothing in a pipe", async () => {
  // Longer than limits.progressDelayMs, with something to tell after it.
  const slow = "(head -c 2M /dev/zero; sleep 1.2; head -c 2M /dev/zero)";
  const put = (path: string) => `${slow} | ${client.commandLine(["put", "-", path])}`;
  const [shown, silent] = await Promise.all([
    shell(`script --quiet --return --command '${put("/shown")}' /dev/null < /dev/null`),
    shell(`(${put("/silent")}) 2>&1`),
  ]);
  assert.match(shown, /\d+% +[0-9.]+M of [0-9.]+M +[0-9.]+[KM]\/s +\d+ s left/);
  assert.equal(silent, "");
  assert.equal((await client.stat("/shown")).sizeBytes, 4 * 1024 * 1024);
});
