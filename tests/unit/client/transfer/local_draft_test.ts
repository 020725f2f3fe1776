import assert from "node:assert/strict";
import * as fs from "node:fs";
import { LocalDraft, makeLocalLink } from "../../../../client/transfer/local_draft.ts";
import { openUnnamed } from "../../../../shared/libc.ts";
import { limits } from "../../../../shared/limits.ts";
import { inDirectory } from "../../../support/directory.ts";
import { SeededRandom } from "../../../support/seeded_random.ts";

const random = new SeededRandom(1);
const attributes = { mode: 0o640, atimeNs: 1_000_000_000n, mtimeNs: 2_000_000_000n };
const content = new TextEncoder().encode("new");

function names(directory: string): string[] {
  return [...Deno.readDirSync(directory)].map(({ name }) => name).sort();
}

/** The two ways in which a file can be made. */
const ways = { unnamed: openUnnamed, named: () => undefined };

for (const [way, openWithoutName] of Object.entries(ways)) {
  const create = (path: string, replace: boolean) =>
    LocalDraft.create(path, { random, replace }, openWithoutName);

  const writeDraft = (path: string, replace: boolean, meanwhile = () => {}) => {
    using draft = create(path, replace);
    draft.requirePublishable();
    draft.write(content, 0);
    meanwhile();
    draft.publish(attributes);
  };

  Deno.test(`LocalDraft, ${way}, appears under its name when it is published, with mode and times`, () =>
    inDirectory((directory) => {
      const path = `${directory}/file`;
      writeDraft(path, false, () => {
        assert.equal(names(directory).includes("file"), false);
        assert.equal(names(directory).length, way === "named" ? 1 : 0);
        for (const name of names(directory)) {
          assert.equal(Deno.statSync(`${directory}/${name}`).mode! & 0o777, 0o600);
        }
      });
      assert.deepEqual(names(directory), ["file"]);
      const { mode, mtime } = Deno.statSync(path);
      assert.equal(mode! & 0o7777, 0o640);
      assert.equal(mtime?.getTime(), 2000);
      assert.equal(Deno.readTextFileSync(path), "new");
    }));

  Deno.test(`LocalDraft, ${way}, leaves nothing when it is not published`, () =>
    inDirectory((directory) => {
      const failing = () => {
        using draft = create(`${directory}/file`, false);
        draft.write(content, 0);
        throw new Error("interrupted");
      };
      assert.throws(failing, /interrupted/);
      assert.deepEqual(names(directory), []);
    }));

  Deno.test(`LocalDraft, ${way}, replaces nothing unless it is told to, in a race neither`, () =>
    inDirectory((directory) => {
      const path = `${directory}/file`;
      const race = () => writeDraft(path, false, () => Deno.writeTextFileSync(path, "theirs"));
      assert.throws(race, { code: "EEXIST" });
      assert.equal(Deno.readTextFileSync(path), "theirs");
      assert.throws(() => writeDraft(path, false), { code: "EEXIST" });
      assert.deepEqual(names(directory), ["file"]);
      writeDraft(path, true);
      assert.equal(Deno.readTextFileSync(path), "new");
    }));

  Deno.test(`LocalDraft, ${way}, replaces a link itself, and neither directories nor devices`, () =>
    inDirectory(async (directory) => {
      Deno.writeTextFileSync(`${directory}/target`, "kept");
      Deno.symlinkSync("target", `${directory}/link`);
      Deno.mkdirSync(`${directory}/dir`);
      writeDraft(`${directory}/link`, true);
      assert.equal(Deno.lstatSync(`${directory}/link`).isFile, true);
      assert.equal(Deno.readTextFileSync(`${directory}/target`), "kept");
      assert.throws(() => writeDraft(`${directory}/dir`, true), { code: "EISDIR" });
      const late = () =>
        writeDraft(`${directory}/late`, true, () => {
          Deno.mkdirSync(`${directory}/late`);
        });
      assert.throws(late, { code: "EISDIR" });
      await new Deno.Command("mkfifo", { args: [`${directory}/fifo`] }).output();
      assert.throws(() => writeDraft(`${directory}/fifo`, true), /not a regular file/);
      assert.deepEqual(names(directory), ["dir", "fifo", "late", "link", "target"]);
    }));

  Deno.test(`LocalDraft, ${way}, says why it cannot be published, and leaves nothing`, () =>
    inDirectory((directory) => {
      const within = `${directory}/within`;
      Deno.mkdirSync(within);
      const removed = () =>
        writeDraft(`${within}/file`, false, () => Deno.removeSync(within, { recursive: true }));
      assert.throws(removed, { code: "ENOENT", message: /^Cannot create ".*": no such file/ });
      assert.deepEqual(names(directory), []);
    }));
}

Deno.test("LocalDraft takes bytes at any offset in any order, and is as long as it is told", () =>
  inDirectory(async (directory) => {
    const path = `${directory}/file`;
    const lengthBytes = 3 * limits.transferBytes;
    using draft = LocalDraft.create(path, { random, replace: false });
    await draft.allocate(lengthBytes);
    for (const at of [lengthBytes - 2, 0, limits.transferBytes]) {
      draft.write(new Uint8Array(2).fill(7), at);
    }
    draft.setSize(2 * lengthBytes);
    draft.publish(attributes);
    const bytes = fs.readFileSync(path);
    assert.equal(bytes.length, 2 * lengthBytes);
    const found = [...bytes.entries()].filter(([, byte]) => byte !== 0).map(([at]) => at);
    const { transferBytes } = limits;
    assert.deepEqual(found, [
      0,
      1,
      transferBytes,
      transferBytes + 1,
      lengthBytes - 2,
      lengthBytes - 1,
    ]);
    const { blocks } = fs.statSync(path);
    assert(blocks * 512 < 2 * lengthBytes, "what was not allocated takes no space");
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
