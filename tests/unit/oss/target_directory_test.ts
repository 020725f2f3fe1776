import assert from "node:assert/strict";
import { inDirectory } from "../../support/directory.ts";
import { fileURLToPath } from "node:url";
import { TargetDirectory } from "../../../oss/target_directory.ts";
import type { ErrorCode } from "../../../shared/errors.ts";
import { objectId } from "../../../shared/layout.ts";
import { pattern, readBytes, rejects, writeBytes } from "../../support/object_bytes.ts";
import { systemEnvironment } from "../../../shared/platform.ts";
import { SeededRandom } from "../../support/seeded_random.ts";

const owner = { clusterId: "1".repeat(32), clusterName: "mine", targetIndex: 3 };
const environment = { clock: systemEnvironment().clock, random: new SeededRandom(1) };

/** Locks and opens a directory as OST 3 of "mine", closes it, and tells the node id. */
async function useOnce(directory: string, as = owner): Promise<string> {
  const target = new TargetDirectory(directory, environment);
  await target.lock();
  try {
    const { nodeId, objects } = await target.open(as);
    await objects.close();
    return nodeId;
  } finally {
    target.unlock();
  }
}

function testDirectory(name: string, test: (directory: string) => Promise<void>): void {
  Deno.test(`TargetDirectory ${name}`, () => inDirectory(test));
}

testDirectory("claims an empty directory once and keeps its node id", async (directory) => {
  const nodeId = await useOnce(directory);
  assert.match(nodeId, /^[0-9a-f]{32}$/);
  const text = await Deno.readTextFile(`${directory}/rustre-ost.json`);
  assert.deepEqual(JSON.parse(text), { format: 3, ...owner, nodeId });
  assert.equal(await useOnce(directory), nodeId);
  // A cluster that was given another name is the same cluster.
  assert.equal(await useOnce(directory, { ...owner, clusterName: "renamed" }), nodeId);
});

testDirectory("makes a missing directory with its parents", async (directory) => {
  await useOnce(`${directory}/a/b/c`);
  assert.ok((await Deno.stat(`${directory}/a/b/c/objects`)).isDirectory);
});

testDirectory("claims a new file system and what a crash in a claim left", async (directory) => {
  await Deno.mkdir(`${directory}/lost+found`);
  await Deno.writeTextFile(`${directory}/lock`, "");
  await Deno.writeTextFile(`${directory}/rustre-ost.json.tmp`, '{"format":3,"clus');
  await useOnce(directory);
});

testDirectory("keeps objects over restarts", async (directory) => {
  const target = new TargetDirectory(directory, environment);
  await target.lock();
  const { objects } = await target.open(owner);
  await writeBytes(objects, objectId(1, 2), 0, pattern(1, 100));
  await objects.close();
  const { objects: again } = await target.open(owner);
  assert.deepEqual(await readBytes(again, objectId(1, 2), 0, 100), pattern(1, 100));
  await again.close();
  target.unlock();
});

testDirectory("refuses a directory that another daemon uses", async (directory) => {
  const first = new TargetDirectory(directory, environment);
  const second = new TargetDirectory(directory, environment);
  await first.lock();
  await rejects("EBUSY", () => second.lock(), [directory, "another oss uses it"]);
  first.unlock();
  first.unlock();
  await second.lock();
  await rejects("EBUSY", () => first.lock(), [directory]);
  second.unlock();
});

testDirectory("is free again when its daemon was killed with kill -9", async (directory) => {
  const child = new Deno.Command(Deno.execPath(), {
    args: [
      "run",
      "-A",
      "--quiet",
      fileURLToPath(import.meta.resolve("./lock_holder.ts")),
      directory,
    ],
    stdin: "piped",
    stdout: "piped",
  }).spawn();
  const output = child.stdout.getReader();
  try {
    assert.equal(new TextDecoder().decode((await output.read()).value), "locked\n");
    await rejects("EBUSY", () => useOnce(directory), [directory]);
  } finally {
    child.kill("SIGKILL");
    await child.status;
    await output.cancel();
    await child.stdin.abort().catch(() => {});
  }
  await useOnce(directory);
});

testDirectory("refuses a directory that holds other files, and adds none", async (directory) => {
  await Deno.writeTextFile(`${directory}/thesis.txt`, "precious");
  await rejects("ENOTEMPTY", () => useOnce(directory), [directory, "thesis.txt", "empty"]);
  assert.deepEqual([...Deno.readDirSync(directory)].map(({ name }) => name), ["thesis.txt"]);
});

testDirectory("refuses a directory of another cluster", async (directory) => {
  await useOnce(directory);
  const other = { ...owner, clusterId: "2".repeat(32), clusterName: "theirs" };
  const parts = [directory, '"mine"', owner.clusterId, '"theirs"', other.clusterId];
  await rejects("WRONG_CLUSTER", () => useOnce(directory, other), parts);
});

testDirectory("refuses a directory of another OST", async (directory) => {
  await useOnce(directory);
  const other = { ...owner, targetIndex: 4 };
  await rejects("WRONG_TARGET", () => useOnce(directory, other), [directory, "OST 4", "OST 3"]);
});

const damaged: [name: string, text: string, code: ErrorCode, part: string][] = [
  ["an empty identity", "", "STORE_FORMAT", "damaged"],
  ["half an identity", '{"format":3,"clusterId":"11', "STORE_FORMAT", "damaged"],
  ["an identity that is no object", "null", "STORE_FORMAT", "damaged"],
  [
    "an identity without a node id",
    JSON.stringify({ format: 3, ...owner }),
    "STORE_FORMAT",
    "damaged",
  ],
  [
    "an identity of a wrong type",
    JSON.stringify({ format: 3, ...owner, nodeId: "2".repeat(32), targetIndex: "3" }),
    "STORE_FORMAT",
    "damaged",
  ],
  ["an older format", '{"format":2,"past":true}', "STORE_FORMAT", "format 2"],
  ["a newer format", '{"format":4,"future":true}', "STORE_FORMAT", "format 4"],
];
for (const [name, text, code, part] of damaged) {
  testDirectory(`refuses ${name} and leaves it as it is`, async (directory) => {
    await useOnce(directory);
    await Deno.writeTextFile(`${directory}/rustre-ost.json`, text);
    await rejects(code, () => useOnce(directory), [directory, part]);
    assert.equal(await Deno.readTextFile(`${directory}/rustre-ost.json`), text);
  });
}

testDirectory("refuses a file in the place of the directory", async (directory) => {
  await Deno.writeTextFile(`${directory}/file`, "");
  await rejects("ENOTDIR", () => useOnce(`${directory}/file`), [`${directory}/file`]);
});
