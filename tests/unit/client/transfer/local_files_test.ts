import assert from "node:assert/strict";
import * as fs from "node:fs";
import fc from "fast-check";
import { localError } from "../../../../client/transfer/local_errors.ts";
import {
  checkLocalName,
  lastName,
  modeOfCopy,
  readLocalLink,
  statLocal,
} from "../../../../client/transfer/local_files.ts";
import { setTimes, setTimesOf } from "../../../../client/transfer/local_times.ts";
import { temporaryPath } from "../../../../client/transfer/temporary_path.ts";
import type { RustreError } from "../../../../shared/errors.ts";
import { inDirectory } from "../../../support/directory.ts";
import { SeededRandom } from "../../../support/seeded_random.ts";

Deno.test("localError() says the reason of every error of the platform, and leaves others", () => {
  const named = Object.assign(new Error("Is a directory (os error 21): open '/a'"), {
    code: "EISDIR",
  });
  const cases: [Error, string, string][] = [
    [named, "EISDIR", "is a directory"],
    // As Deno has it: a number and no name.
    [new Error("File too large (os error 27)"), "EFBIG", "file too large"],
    [
      Object.assign(new Error("EMFILE: too many open files, open '/a'"), { code: "EMFILE" }),
      "EIO",
      "too many open files",
    ],
  ];
  for (const [error, code, reason] of cases) {
    const { code: codeGot, message } = localError('write "a"', error) as RustreError;
    assert.deepEqual([codeGot, message], [code, `Cannot write "a": ${reason}`]);
  }
  const bug = new TypeError("undefined is not a function");
  assert.equal(localError("write", bug), bug);
});

const describe = { follow: false, action: "look" };

Deno.test("lastName() is what a copy of a path is called", () => {
  const names: [string, string | undefined][] = [
    ["a", "a"],
    ["/a/b", "b"],
    ["a/b//", "b"],
    ["./.hidden", ".hidden"],
    ["/", undefined],
    [".", undefined],
    ["a/..", undefined],
    ["a/./", undefined],
    ["", undefined],
  ];
  for (const [path, name] of names) assert.equal(lastName(path), name, path);
});

Deno.test("checkLocalName() refuses names that lead out of the directory", () => {
  for (const name of ["", ".", "..", "a/b", "/", "a\0"]) {
    assert.throws(() => checkLocalName(name), { code: "EINVAL" }, name);
  }
  for (const name of ["a", "...", "..a", " ", "a\nb"]) checkLocalName(name);
});

Deno.test("modeOfCopy() keeps setuid and setgid only for the same owner and group", () => {
  const original = { mode: 0o7755, uid: 1, gid: 2 };
  assert.equal(modeOfCopy(original, { uid: 1, gid: 2 }), 0o7755);
  assert.equal(modeOfCopy(original, { uid: 3, gid: 2 }), 0o3755);
  assert.equal(modeOfCopy(original, { uid: 1, gid: 3 }), 0o5755);
  assert.equal(modeOfCopy(original, { uid: null, gid: null }), 0o1755);
});

Deno.test("temporaryPath() stays in the directory and within the longest name", () => {
  const random = new SeededRandom(1);
  assert.match(temporaryPath("/a/b", random), /^\/a\/\.b\.rustre-[0-9a-f]{8}$/);
  assert.match(temporaryPath("b", random), /^\.b\.rustre-[0-9a-f]{8}$/);
  fc.assert(fc.property(fc.string({ unit: "grapheme", minLength: 1, maxLength: 200 }), (text) => {
    const name = text.replaceAll("/", "_");
    const temporary = temporaryPath(`/d/${name}`, random);
    assert.ok(temporary.startsWith("/d/."));
    assert.ok(new TextEncoder().encode(temporary.slice(3)).length <= 255);
    assert.ok(temporary.isWellFormed());
  }));
});

Deno.test("times of local files go there and back to the nanosecond, links' own too", () =>
  inDirectory(async (directory) => {
    await Deno.writeTextFile(`${directory}/file`, "");
    await Deno.symlink("file", `${directory}/link`);
    const times = { atimeNs: 1_600_000_000_123_456_789n, mtimeNs: -1_500_000_001n };
    const linkTimes = { atimeNs: 5n, mtimeNs: 999_999_999n };
    await setTimes(`${directory}/file`, times);
    await setTimes(`${directory}/link`, linkTimes);
    const file = statLocal(`${directory}/file`, describe);
    const link = statLocal(`${directory}/link`, describe);
    assert.deepEqual([file.atimeNs, file.mtimeNs], [times.atimeNs, times.mtimeNs]);
    assert.deepEqual([link.atimeNs, link.mtimeNs], [linkTimes.atimeNs, linkTimes.mtimeNs]);
    const followed = statLocal(`${directory}/link`, { ...describe, follow: true });
    assert.deepEqual([followed.type, followed.mtimeNs], ["file", times.mtimeNs]);
    await assert.rejects(setTimes(`${directory}/none`, times), { code: "ENOENT" });
    const descriptor = fs.openSync(`${directory}/file`, "r+");
    setTimesOf(descriptor, linkTimes);
    fs.closeSync(descriptor);
    const open = statLocal(`${directory}/file`, describe);
    assert.deepEqual([open.atimeNs, open.mtimeNs], [linkTimes.atimeNs, linkTimes.mtimeNs]);
  }));

Deno.test("statLocal() says what a file is, and what is wrong with its name", () =>
  inDirectory(async (directory) => {
    const script = `mkfifo fifo; mkdir dir; touch "$(printf 'bad\\377')" "good\uFFFD"; ` +
      `ln -s "$(printf 'bad\\377')" link`;
    const { code } = await new Deno.Command("sh", { args: ["-c", script], cwd: directory })
      .output();
    assert.equal(code, 0);
    assert.equal(statLocal(`${directory}/fifo`, describe).type, "other");
    assert.equal(statLocal(`${directory}/dir`, describe).type, "directory");
    assert.equal(statLocal(`${directory}/good\uFFFD`, describe).type, "file");
    assert.throws(() => statLocal(`${directory}/bad\uFFFD`, describe), {
      code: "EINVAL",
      message: "Cannot look: its name is not valid UTF-8",
    });
    await assert.rejects(readLocalLink(`${directory}/link`), /its target is not valid UTF-8/);
  }));
