import assert from "node:assert/strict";
import { LocalDraft, makeLocalLink } from "../../../../client/transfer/local_draft.ts";
import { SeededRandom } from "../../../support/seeded_random.ts";

const random = new SeededRandom(1);
const attributes = { mode: 0o640, atimeNs: 1_000_000_000n, mtimeNs: 2_000_000_000n };
const content = new TextEncoder().encode("new");

async function inDirectory(test: (directory: string) => Promise<void>): Promise<void> {
  const directory = await Deno.makeTempDir();
  try {
    await test(directory);
  } finally {
    await Deno.remove(directory, { recursive: true });
  }
}

function names(directory: string): string[] {
  return [...Deno.readDirSync(directory)].map(({ name }) => name).sort();
}

async function writeDraft(path: string, replace: boolean, meanwhile = () => {}): Promise<void> {
  await using draft = await LocalDraft.create(path, { random, replace });
  await draft.file.write(content);
  meanwhile();
  await draft.publish(attributes, { replace });
}

Deno.test("LocalDraft appears under its name when it is published, with mode and times", () =>
  inDirectory(async (directory) => {
    const path = `${directory}/file`;
    await writeDraft(path, false, () => {
      assert.equal(names(directory).includes("file"), false);
      assert.equal(Deno.statSync(`${directory}/${names(directory)[0]}`).mode! & 0o777, 0o600);
    });
    assert.deepEqual(names(directory), ["file"]);
    const { mode, mtime } = await Deno.stat(path);
    assert.equal(mode! & 0o7777, 0o640);
    assert.equal(mtime?.getTime(), 2000);
    assert.equal(await Deno.readTextFile(path), "new");
  }));

Deno.test("LocalDraft leaves nothing when it is not published", () =>
  inDirectory(async (directory) => {
    const failing = async () => {
      await using draft = await LocalDraft.create(`${directory}/file`, { random, replace: false });
      await draft.file.write(content);
      throw new Error("interrupted");
    };
    await assert.rejects(failing(), /interrupted/);
    assert.deepEqual(names(directory), []);
  }));

Deno.test("LocalDraft replaces nothing unless it is told to, in a race neither", () =>
  inDirectory(async (directory) => {
    const path = `${directory}/file`;
    await assert.rejects(
      writeDraft(path, false, () => Deno.writeTextFileSync(path, "theirs")),
      { code: "EEXIST" },
    );
    assert.equal(await Deno.readTextFile(path), "theirs");
    await assert.rejects(writeDraft(path, false), { code: "EEXIST" });
    assert.deepEqual(names(directory), ["file"]);
    await writeDraft(path, true);
    assert.equal(await Deno.readTextFile(path), "new");
  }));

Deno.test("LocalDraft replaces a link itself, and neither directories nor devices", () =>
  inDirectory(async (directory) => {
    await Deno.writeTextFile(`${directory}/target`, "kept");
    await Deno.symlink("target", `${directory}/link`);
    await Deno.mkdir(`${directory}/dir`);
    await writeDraft(`${directory}/link`, true);
    assert.equal((await Deno.lstat(`${directory}/link`)).isFile, true);
    assert.equal(await Deno.readTextFile(`${directory}/target`), "kept");
    await assert.rejects(writeDraft(`${directory}/dir`, true), { code: "EISDIR" });
    await new Deno.Command("mkfifo", { args: [`${directory}/fifo`] }).output();
    await assert.rejects(writeDraft(`${directory}/fifo`, true), /not a regular file/);
    assert.deepEqual(names(directory), ["dir", "fifo", "link", "target"]);
  }));

Deno.test("makeLocalLink() makes a link with its times, and replaces only if told to", () =>
  inDirectory(async (directory) => {
    const path = `${directory}/link`;
    const { atimeNs, mtimeNs } = attributes;
    await makeLocalLink(path, { target: "a", atimeNs, mtimeNs }, { replace: false, random });
    assert.equal((await Deno.lstat(path)).mtime?.getTime(), 2000);
    const again = { target: "b", atimeNs, mtimeNs };
    await assert.rejects(makeLocalLink(path, again, { replace: false, random }), {
      code: "EEXIST",
    });
    assert.equal(await Deno.readLink(path), "a");
    await makeLocalLink(path, again, { replace: true, random });
    assert.equal(await Deno.readLink(path), "b");
    assert.deepEqual(names(directory), ["link"]);
  }));
