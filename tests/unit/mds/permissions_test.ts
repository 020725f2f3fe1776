import assert from "node:assert/strict";
import * as fc from "fast-check";
import {
  access,
  mayAccess,
  newOwnership,
  requireRemoveEntry,
  withoutForeignSetgid,
} from "../../../mds/permissions.ts";
import type { Inode } from "../../../mds/values.ts";
import { checkProperty } from "../../support/seed.ts";

function inode(fields: Partial<Inode>): Inode {
  return {
    ino: 5,
    type: "file",
    mode: 0o644,
    uid: 1,
    gid: 1,
    links: 1,
    sizeBytes: 0,
    dataEndBytes: 0,
    atimeNs: 0n,
    mtimeNs: 0n,
    ctimeNs: 0n,
    ...fields,
  };
}

const ids = fc.nat({ max: 3 });
const callers = fc.record({ uid: ids, gid: ids, groups: fc.array(ids, { maxLength: 2 }) });

Deno.test("mayAccess() goes by the first class that fits, letter by letter", async () => {
  const inodes = fc.record({
    mode: fc.nat({ max: 0o777 }),
    uid: ids,
    gid: ids,
    type: fc.constantFrom("file" as const, "directory" as const),
  });
  const property = fc.property(inodes, callers, fc.nat({ max: 7 }), (fields, caller, wanted) => {
    const letters = [...fields.mode.toString(2).padStart(9, "0")].map((bit) => bit === "1");
    const inGroup = [caller.gid, ...caller.groups].includes(fields.gid);
    const first = caller.uid === fields.uid ? 0 : inGroup ? 3 : 6;
    const [read, write, execute] = letters.slice(first, first + 3);
    const anyExecute = letters[2]! || letters[5]! || letters[8]!;
    const asRoot = caller.uid === 0;
    const expected = [
      [access.read, asRoot || read],
      [access.write, asRoot || write],
      [access.execute, asRoot ? fields.type === "directory" || anyExecute : execute],
    ].every(([bit, allowed]) => (wanted & Number(bit)) === 0 || allowed);
    assert.equal(mayAccess(inode(fields), caller, wanted), expected);
  });
  await checkProperty(property, { runs: 3_000 });
});

Deno.test("requireRemoveEntry() in a sticky directory is for owners and root", async () => {
  const property = fc.property(ids, ids, callers, fc.boolean(), (owner, above, caller, sticky) => {
    const mode = sticky ? 0o1777 : 0o777;
    const directory = inode({ type: "directory", uid: above, mode });
    const allowed = !sticky || [0, owner, above].includes(caller.uid);
    const attempt = () => requireRemoveEntry(directory, inode({ uid: owner }), caller);
    if (allowed) attempt();
    else assert.throws(attempt, { code: "EPERM" });
  });
  await checkProperty(property, { runs: 500 });
  const closed = inode({ type: "directory", uid: 1, mode: 0o1755 });
  const caller = { uid: 2, gid: 2, groups: [] };
  assert.throws(() => requireRemoveEntry(closed, inode({ uid: 2 }), caller), { code: "EACCES" });
});

Deno.test("newOwnership() takes the caller's ids, and the group of a setgid directory", () => {
  const caller = { uid: 7, gid: 8, groups: [9] };
  const plain = inode({ type: "directory", gid: 3, mode: 0o777 });
  const setgid = inode({ type: "directory", gid: 3, mode: 0o2777 });
  const file = { mode: 0o2755, isDirectory: false };
  const directory = { mode: 0o755, isDirectory: true };
  assert.deepEqual(newOwnership(plain, caller, file), { uid: 7, gid: 8, mode: 0o2755 });
  assert.deepEqual(newOwnership(setgid, caller, file), { uid: 7, gid: 3, mode: 0o755 });
  assert.deepEqual(newOwnership(plain, caller, directory), { uid: 7, gid: 8, mode: 0o755 });
  assert.deepEqual(newOwnership(setgid, caller, directory), { uid: 7, gid: 3, mode: 0o2755 });
});

Deno.test("withoutForeignSetgid() leaves the bit to members and root", () => {
  const member = { uid: 7, gid: 8, groups: [9] };
  assert.equal(withoutForeignSetgid(0o2755, 8, member), 0o2755);
  assert.equal(withoutForeignSetgid(0o2755, 9, member), 0o2755);
  assert.equal(withoutForeignSetgid(0o6755, 10, member), 0o4755);
  assert.equal(withoutForeignSetgid(0o2755, 10, { uid: 0, gid: 0, groups: [] }), 0o2755);
});
