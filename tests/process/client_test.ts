// The commands of `rustre client` that read or change the tree, end to end. Attributes are in
// client_attributes_test.ts, transfers in client_copy_test.ts, interruptions in
// client_interrupt_test.ts.

import assert from "node:assert/strict";
import { ClientCommands, type Document } from "../support/client_commands.ts";

let client: ClientCommands;
Deno.test.beforeAll(async () => {
  client = await ClientCommands.start();
});
Deno.test.afterAll(async () => {
  await client[Symbol.asyncDispose]();
});

// ── listing ────────────────────────────────────────────────────────────────────────────────────

Deno.test("client ls lists names, hidden ones with -a, and trees with -R", async () => {
  await client.ok("mkdir", "-p", "/ls/b/c", "/ls/.h");
  await client.ok("touch", "/ls/a", "/ls/b/x y", "/ls/b/ünï", "/ls/.h/z");
  assert.equal(await client.ok("ls", "/ls"), "a\nb\n");
  assert.equal(await client.ok("ls", "-a", "/ls"), ".h\na\nb\n");
  assert.equal(await client.ok("ls", "/ls/a"), "/ls/a\n");
  assert.equal(
    await client.ok("ls", "-R", "/ls"),
    "/ls:\na\nb\n\n/ls/b:\nc\nx y\nünï\n\n/ls/b/c:\n",
  );
  assert.equal(await client.ok("ls", "/ls/b", "/ls/a"), "/ls/a\n\n/ls/b:\nc\nx y\nünï\n");
  assert.match(await client.ok("ls"), /^ls$/m);
});

Deno.test("client ls -l shows mode, links, owner, size, time, stripes and targets", async () => {
  await client.ok("mkdir", "-m", "1777", "/long");
  await client.putText("/long/file", "12345");
  await client.ok("chmod", "4751", "/long/file");
  await client.ok("ln", "/long/file", "/long/second");
  await client.ok("ln", "-s", "file", "/long/link");
  const time = String.raw`\d{4}-\d\d-\d\d \d\d:\d\d`;
  const lines = (await client.ok("ls", "-l", "/long")).split("\n");
  assert.match(lines[0]!, new RegExp(`^-rwsr-x--x +2 +\\S+ +\\S+ +5 +${time} +4x1 +file$`));
  assert.match(lines[1]!, new RegExp(`^lrwxrwxrwx +1 .* +4 +${time} +- +link -> file$`));
  assert.match(lines[2]!, / 4x1 +second$/);
  assert.match(await client.ok("ls", "-l", "/"), /^drwxrwxrwt .* - +long$/m);
  // In detail a link itself, otherwise what it leads to.
  await client.ok("ln", "-s", "/long", "/to-long");
  assert.match(await client.ok("ls", "-l", "/to-long"), /\/to-long -> \/long\n$/);
  assert.equal(await client.ok("ls", "/to-long"), "file\nlink\nsecond\n");
});

Deno.test("client ls --json prints one document for each entry", async () => {
  await client.ok("mkdir", "/json");
  await client.ok("touch", "/json/a\nb");
  await client.ok("ln", "-s", "there", "/json/link");
  const [file, link, ...more] = await client.jsonLines("ls", "/json");
  assert.equal(more.length, 0);
  assert.equal(file?.name, "a\nb");
  assert.equal(file?.path, "/json/a\nb");
  assert.match(file?.ino, /^[0-9]+$/);
  assert.equal(typeof file?.mtimeMs, "number");
  assert.equal(file?.layout.stripeCount, 4);
  assert.deepEqual([link?.type, link?.target, link?.sizeBytes], ["symlink", "there", 5]);
});

Deno.test("client ls lists what it can, and fails for what it cannot", async () => {
  await client.ok("mkdir", "/some");
  const { stdout } = await client.fails(1, /Cannot stat "\/none"/, "ls", "/none", "/some");
  assert.equal(stdout, "/some:\n");
  await client.fails(2, /"relative"/, "ls", "relative");
});

Deno.test("client ls lists directories of several pages completely", async () => {
  await client.ok("mkdir", "/pages");
  await Deno.mkdir(client.local("pages"));
  const names = Array.from({ length: 1203 }, (_, index) => `file-${index}`).sort();
  for (const name of names) await Deno.writeTextFile(client.local(`pages/${name}`), "");
  await client.ok("put", "-r", "pages/.", "/pages");
  assert.equal(await client.ok("ls", "/pages"), names.join("\n") + "\n");
  assert.equal((await client.ok("ls", "-l", "/pages")).split("\n").length, names.length + 1);
  assert.deepEqual(await client.json("rm", "-r", "/pages"), { path: "/pages", removed: 1204 });
});

Deno.test("client find meets conditions", async () => {
  await client.ok("mkdir", "-p", "/find/dir/deep");
  await client.putText("/find/small.txt", "x".repeat(100));
  await client.putText("/find/dir/large.txt", "x".repeat(2000));
  await client.putText("/find/dir/deep/large.bin", "x".repeat(2000));
  await client.ok("ln", "-s", "small.txt", "/find/link.txt");
  const found = async (...args: string[]) =>
    (await client.ok("find", ...args)).split("\n").filter((line) => line !== "");
  assert.deepEqual(await found("/find/dir"), [
    "/find/dir",
    "/find/dir/deep",
    "/find/dir/deep/large.bin",
    "/find/dir/large.txt",
  ]);
  assert.deepEqual(await found("/find", "-name", "*.txt", "-type", "f"), [
    "/find/dir/large.txt",
    "/find/small.txt",
  ]);
  assert.deepEqual(await found("/find", "-type", "l"), ["/find/link.txt"]);
  assert.deepEqual(await found("/find", "-type", "d", "-name", "d*p"), ["/find/dir/deep"]);
  assert.deepEqual(await found("/find", "-size", "+1K", "-name", "large*"), [
    "/find/dir/deep/large.bin",
    "/find/dir/large.txt",
  ]);
  assert.deepEqual(await found("/find", "-size", "-1K"), ["/find/small.txt"]);
  assert.deepEqual(await found("/find", "-size", "100"), ["/find/small.txt"]);
  const [document] = await client.jsonLines("find", "/find", "-name", "small.txt");
  assert.deepEqual([document?.path, document?.sizeBytes], ["/find/small.txt", 100]);
  await client.fails(1, /"\/none"/, "find", "/none");
  await client.fails(2, /"-bogus"/, "find", "/", "-bogus", "1");
  await client.fails(2, /"-name"/, "find", "/", "-name");
  await client.fails(2, /"q"/, "find", "/", "-type", "q");
  await client.fails(2, /argument 'path'/, "find");
});

Deno.test("client du sums up trees, df the cluster", async () => {
  await client.ok("mkdir", "-p", "/du/sub");
  await client.putText("/du/a", "x".repeat(1000));
  await client.putText("/du/sub/b", "x".repeat(500));
  await client.ok("ln", "/du/a", "/du/sub/a");
  assert.match(await client.ok("du", "-s", "/du"), /^1500\t\/du\n$/);
  assert.match(
    await client.ok("du", "/du"),
    /^1500\t\/du\/sub\n1500\t\/du\n$|\/du\/sub\n1500\t\/du\n$/,
  );
  assert.deepEqual(await client.json("du", "-s", "/du"), { path: "/du", bytes: 1500, files: 2 });
  await client.fails(1, /"\/none"/, "du", "/none");
  const { osts, total } = await client.json("df");
  assert.deepEqual(osts.map(({ index, state }: Document) => [index, state]), [
    [0, "up"],
    [1, "up"],
    [2, "up"],
    [3, "up"],
  ]);
  assert.equal(typeof total.freeBytes, "number");
  assert.ok(total.inodes > 1);
  const lines = (await client.ok("df")).split("\n");
  assert.match(lines[0]!, /^OST +ADDRESS +STATE +CAPACITY +USED +FREE +USE% +OBJECTS$/);
  assert.equal(lines.filter((line) => /^[0-3] .*%/.test(line)).length, 4);
  assert.match(lines[5]!, /^total +4 up /);
});

Deno.test("client stat shows every attribute and which OSTs hold which bytes", async () => {
  await client.ok("mkdir", "/stat");
  const striping = ["-c", "2", "-R", "2", "-S", "64K"];
  const { code } = await client.run(["put", ...striping, "-", "/stat/file"], {
    stdin: new Uint8Array(200_000),
  });
  assert.equal(code, 0);
  const document = await client.stat("/stat/file");
  assert.equal(document.sizeBytes, 200_000);
  assert.equal(document.mapComplete, true);
  assert.deepEqual(
    document.map.map(({ offsetBytes, lengthBytes }: Document) => [offsetBytes, lengthBytes]),
    [[0, 65_536], [65_536, 65_536], [131_072, 65_536], [196_608, 3_392]],
  );
  for (const { osts, object } of document.map) {
    assert.equal(new Set(osts).size, 2);
    assert.match(object, /^[0-9a-f]{16}:0000000[01]$/);
  }
  const text = await client.ok("stat", "/stat/file");
  for (const line of [/^path +\/stat\/file$/m, /^size +200000$/m, /^replicas +2$/m]) {
    assert.match(text, line);
  }
  assert.match(text, /^[0-9a-f]{16}:00000001 +\d,\d +68928 +from 65536, 64K every 128K$/m);
  await client.ok("ln", "-s", "file", "/stat/link");
  assert.match(await client.ok("stat", "/stat/link"), /^path +\/stat\/link -> file$/m);
  assert.match(await client.ok("stat", "/"), /^type +directory$/m);
  await client.fails(1, /Cannot stat "\/stat\/none": no such file/, "stat", "/stat/none");
});

// ── the tree ───────────────────────────────────────────────────────────────────────────────────

Deno.test("client mkdir makes directories with modes and parents", async () => {
  await client.ok("mkdir", "/mk", "/mk/two words");
  await client.fails(1, /Cannot make the directory "\/mk": already exists/, "mkdir", "/mk");
  await client.fails(1, /no such file/, "mkdir", "/mk/none/below");
  await client.ok("mkdir", "-p", "/mk/a/b/c/", "/mk", "/");
  assert.equal((await client.stat("/mk/a/b/c")).type, "directory");
  await client.ok("mkdir", "-p", "/mk/up/b/c/../d");
  assert.deepEqual(await client.names("/mk/up/b"), ["c", "d"]);
  const sameTree = () => client.ok("mkdir", "-p", "/mk/same/1/2/3/4/5/6/7/8");
  await Promise.all(Array.from({ length: 4 }, sameTree));
  await client.ok("mkdir", "-m", "2750", "/mk/octal");
  await client.ok("mkdir", "-m", "u=rwx,go=", "/mk/symbolic");
  assert.equal((await client.stat("/mk/octal")).mode, "2750");
  assert.equal((await client.stat("/mk/symbolic")).mode, "0700");
  await client.putText("/mk/file", "");
  await client.fails(1, /not a directory/, "mkdir", "-p", "/mk/file/x");
  await client.fails(1, /already exists/, "mkdir", "-p", "/mk/file");
  await client.fails(2, /'999'/, "mkdir", "-m", "999", "/mk/wrong");
  assert.equal((await client.json("mkdir", "/mk/json")).path, "/mk/json");
  // The others are made though one fails.
  await client.fails(1, /"\/mk"/, "mkdir", "/mk", "/mk/after");
  assert.equal((await client.stat("/mk/after")).type, "directory");
});

Deno.test("client refuses names that are too long or no names", async () => {
  const name = "n".repeat(255);
  await client.ok("mkdir", `/${name}`);
  assert.deepEqual((await client.names("/")).filter((each) => each === name), [name]);
  await client.ok("rmdir", `/${name}`);
  await client.fails(1, /over 255 bytes/, "mkdir", `/${name}n`);
  await client.fails(1, /over 255 bytes/, "mkdir", `/${"é".repeat(128)}`);
  await client.fails(1, /already exists/, "mkdir", "/.");
  await client.fails(1, /already exists/, "mkdir", "/..");
});

Deno.test("client rmdir removes empty directories only", async () => {
  await client.ok("mkdir", "-p", "/rmdir/full/x", "/rmdir/empty");
  await client.fails(1, /"\/rmdir\/full".*not empty/, "rmdir", "/rmdir/full", "/rmdir/empty");
  assert.deepEqual(await client.names("/rmdir"), ["full"]);
  await client.ok("touch", "/rmdir/file");
  await client.fails(1, /not a directory/, "rmdir", "/rmdir/file");
  await client.fails(1, /no such/, "rmdir", "/rmdir/none");
  await client.fails(1, /root/, "rmdir", "/");
  assert.deepEqual(await client.json("rmdir", "/rmdir/full/x"), { path: "/rmdir/full/x" });
});

Deno.test("client rm removes files, with -r trees, and never what links lead to", async () => {
  await client.ok("mkdir", "-p", "/rm/tree/a/b", "/rm/kept");
  await client.ok("touch", "/rm/file", "/rm/tree/x", "/rm/tree/a/b/y", "/rm/kept/z");
  await client.ok("ln", "-s", "/rm/kept", "/rm/tree/link");
  await client.ok("rm", "/rm/file");
  await client.fails(1, /is a directory, which only -r/, "rm", "/rm/tree");
  await client.fails(1, /"\/rm\/none": no such file/, "rm", "/rm/none");
  await client.fails(1, /"\/rm\/none"/, "rm", "-r", "/rm/none");
  await client.ok("rm", "-f", "/rm/none", "/none/none");
  await client.ok("rm", "-f");
  assert.deepEqual(await client.json("rm", "-r", "/rm/tree"), { path: "/rm/tree", removed: 6 });
  assert.deepEqual(await client.names("/rm"), ["kept"]);
  assert.deepEqual(await client.names("/rm/kept"), ["z"]);
  for (const path of ["/", "//", "/rm/.", "/rm/kept/.."]) {
    await client.fails(1, /Cannot remove/, "rm", "-rf", path);
  }
  assert.deepEqual(await client.names("/rm/kept"), ["z"]);
  await client.fails(2, /PATH/, "rm");
});

Deno.test("client mv renames, moves into directories and replaces", async () => {
  await client.ok("mkdir", "-p", "/mv/dir/sub", "/mv/full/dir/x");
  await client.putText("/mv/a", "a");
  await client.putText("/mv/b", "b");
  await client.ok("mv", "/mv/a", "/mv/c");
  await client.ok("mv", "/mv/b", "/mv/c", "/mv/dir");
  assert.deepEqual(await client.names("/mv/dir"), ["b", "c", "sub"]);
  await client.ok("mv", "-f", "/mv/dir/b", "/mv/dir/c");
  assert.equal(await client.ok("cat", "/mv/dir/c"), "b");
  const moved = await client.json("mv", "/mv/dir/c", "/mv/dir/d");
  assert.deepEqual(moved, { from: "/mv/dir/c", to: "/mv/dir/d" });
  await client.fails(1, /same file/, "mv", "/mv/dir/d", "/mv/dir/d");
  await client.fails(1, /not empty/, "mv", "/mv/dir", "/mv/full");
  await client.fails(1, /into itself/, "mv", "/mv/dir", "/mv/dir/sub");
  await client.fails(1, /"\/mv\/none"/, "mv", "/mv/none", "/mv/x");
  await client.fails(1, /no such directory/, "mv", "/mv/dir/d", "/mv/none/");
  await client.fails(1, /no such directory/, "mv", "/mv/dir", "/mv/full", "/mv/none");
  await client.fails(1, /not a directory/, "mv", "/mv/dir", "/mv/full", "/mv/dir/d");
  await client.fails(2, /DST/, "mv", "/mv/dir");
  // The others move though one cannot.
  await client.fails(1, /"\/mv\/none"/, "mv", "/mv/none", "/mv/dir/d", "/mv/full");
  assert.deepEqual(await client.names("/mv/full"), ["d", "dir"]);
});

Deno.test("client ln makes hard and symbolic links", async () => {
  await client.ok("mkdir", "-p", "/ln/dir");
  await client.putText("/ln/file", "content");
  await client.ok("ln", "/ln/file", "/ln/hard");
  await client.ok("ln", "/ln/file", "/ln/dir");
  await client.ok("ln", "-s", "../file", "/ln/dir/soft");
  await client.ok("ln", "-s", "any thing", "/ln/dangling");
  assert.equal((await client.stat("/ln/file")).links, 3);
  assert.equal((await client.stat("/ln/dir/file")).ino, (await client.stat("/ln/hard")).ino);
  assert.equal(await client.ok("readlink", "/ln/dir/soft"), "../file\n");
  assert.equal(await client.ok("cat", "/ln/dir/soft"), "content");
  assert.deepEqual(await client.json("readlink", "/ln/dangling"), {
    path: "/ln/dangling",
    target: "any thing",
  });
  await client.fails(1, /not a symbolic link/, "readlink", "/ln/file");
  await client.fails(1, /already exists/, "ln", "/ln/file", "/ln/hard");
  await client.fails(1, /no hard links/, "ln", "/ln/dir", "/ln/dir2");
  await client.fails(1, /no such file/, "ln", "/ln/none", "/ln/x");
  await client.fails(1, /no such file/, "cat", "/ln/dangling");
  await client.fails(2, /remote path/, "ln", "relative", "/ln/x");
  await client.fails(2, /'name'/, "ln", "-s", "alone");
  await client.fails(2, /too many/, "ln", "-s", "a", "/b", "/c");
  await client.ok("ln", "-s", "loop", "/ln/loop");
  await client.fails(1, /too many symbolic links/, "cat", "/ln/loop");
});

// ── usage and unreachable servers ──────────────────────────────────────────────────────────────

Deno.test("wrong usage of any command is exit status 2, and names what is wrong", async () => {
  await client.fails(2, /unknown command 'frobnicate'/, "frobnicate");
  await client.fails(2, /unknown option '--frobnicate'/, "ls", "--frobnicate");
  await client.fails(2, /too many arguments/, "df", "/x");
  for (const command of ["stat", "mkdir", "rmdir", "touch", "readlink", "cat", "getstripe"]) {
    await client.fails(2, /'path'/, command);
    await client.fails(2, /"relative"/, command, "relative");
  }
});

Deno.test("a cluster that cannot be reached is exit status 1, and named", async () => {
  const unreachable = ["ls", "--mgs", "127.0.0.1:1", "/"];
  await client.fails(1, /"127\.0\.0\.1:1": Connection refused/, ...unreachable);
  await client.fails(2, /'nowhere'/, "ls", "--mgs", "nowhere", "/");
  // An OST is no mgs.
  const { osts } = await client.json("df");
  const { address } = osts[0];
  const { stderr } = await client.fails(1, /not an mgs/, "ls", "--mgs", address, "/");
  assert.equal(stderr.split(`Cannot talk to ${address}: This is an oss, not an mgs`).length, 2);
});

Deno.test("client --help lists every command, and every command has help", async () => {
  const help = await client.ok("--help");
  const commands =
    "put get cp ls stat mkdir rmdir rm mv ln touch truncate chmod chown readlink cat " +
    "df du find setstripe getstripe";
  for (const command of commands.split(" ")) {
    assert.match(help, new RegExp(`^  ${command} `, "m"), command);
  }
  assert.match(await client.ok("find", "--help"), /-name GLOB/);
});
