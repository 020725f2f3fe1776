import assert from "node:assert/strict";
import { Owners } from "../../../../client/cli/owners.ts";
import { UsageError } from "../../../../shared/command_line.ts";

async function withOwners(test: (owners: Owners) => void): Promise<void> {
  const directory = await Deno.makeTempDir();
  try {
    const [passwd, group] = [`${directory}/passwd`, `${directory}/group`];
    await Deno.writeTextFile(passwd, "root:x:0:0:root:/root:/bin/sh\nann:x:1000:5::/:\nbroken\n");
    await Deno.writeTextFile(group, "root:x:0:\nstaff:x:50:ann\n7:x:70:\n");
    test(await Owners.load({ passwd, group }));
  } finally {
    await Deno.remove(directory, { recursive: true });
  }
}

Deno.test("Owners know names and numbers", () =>
  withOwners((owners) => {
    assert.deepEqual(owners.parse("ann"), { uid: 1000 });
    assert.deepEqual(owners.parse("ann:staff"), { uid: 1000, gid: 50 });
    assert.deepEqual(owners.parse(":staff"), { gid: 50 });
    assert.deepEqual(owners.parse("12:34"), { uid: 12, gid: 34 });
    // A name wins over a number, as with chown.
    assert.deepEqual(owners.parse(":7"), { gid: 70 });
    assert.equal(owners.userName(1000), "ann");
    assert.equal(owners.userName(1001), "1001");
    assert.equal(owners.groupName(50), "staff");
  }));

Deno.test("Owners refuse what is no owner", () =>
  withOwners((owners) => {
    for (const text of ["", ":", "ann:", "a:b:c", "bob", ":nogroup", "-1", "4294967295", "1.5"]) {
      assert.throws(() => owners.parse(text), UsageError, text);
    }
  }));

Deno.test("Owners.load() does with numbers alone where there are no files", async () => {
  const owners = await Owners.load({ passwd: "/nonexistent/a", group: "/nonexistent/b" });
  assert.deepEqual([owners.userName(0), owners.groupName(0)], ["0", "0"]);
  assert.deepEqual(owners.parse("1:2"), { uid: 1, gid: 2 });
});
