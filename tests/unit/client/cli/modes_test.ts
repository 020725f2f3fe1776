import assert from "node:assert/strict";
import fc from "fast-check";
import { parseModeChange } from "../../../../client/cli/modes.ts";

Deno.test("parseModeChange() takes octal modes as they are", () => {
  for (const [text, mode] of [["0", 0], ["755", 0o755], ["4755", 0o4755], ["07", 7]] as const) {
    assert.equal(parseModeChange(text)?.(0o123, { isDirectory: false, umask: 0o22 }), mode);
  }
});

Deno.test("parseModeChange() refuses what is no mode", () => {
  const wrong = [
    "",
    "8",
    "77777",
    "u",
    "rw",
    "u+q",
    "u+rw,",
    "x=u+",
    "a b",
    "u=gr",
    "-5",
    "--reference",
  ];
  for (const text of wrong) {
    assert.equal(parseModeChange(text), undefined, text);
  }
});

Deno.test("parseModeChange() changes files as the system's chmod does", async () => {
  const clause = fc.tuple(
    fc.stringMatching(/^[ugoa]{0,2}$/),
    fc.array(
      fc.tuple(
        fc.constantFrom("+", "-", "="),
        fc.oneof(fc.stringMatching(/^[rwxXst]{0,4}$/), fc.constantFrom("u", "g", "o")),
      ),
      { minLength: 1, maxLength: 2 },
    ),
  ).map(([who, actions]) => who + actions.map((action) => action.join("")).join(""));
  const change = fc.array(clause, { minLength: 1, maxLength: 3 }).map((each) => each.join(","));
  const path = await Deno.makeTempFile();
  try {
    await fc.assert(
      fc.asyncProperty(fc.integer({ min: 0, max: 0o7777 }), change, async (mode, text) => {
        const umask = 0o027;
        await Deno.chmod(path, mode);
        const script = 'umask 027; chmod -- "$1" "$2"';
        const { code } = await new Deno.Command("sh", {
          args: ["-c", script, "sh", text, path],
          stderr: "null",
        }).output();
        // A bare -x that the umask keeps from some is refused by chmod, after it has done it.
        assert.ok(code === 0 || /(^|,)[-=]/.test(text), `chmod refused ${text}`);
        const expected = (await Deno.stat(path)).mode! & 0o7777;
        const changed = parseModeChange(text)?.(mode, { isDirectory: false, umask });
        assert.equal(changed?.toString(8), expected.toString(8), `${mode.toString(8)} ${text}`);
      }),
      { numRuns: 150 },
    );
  } finally {
    await Deno.remove(path);
  }
});

Deno.test("parseModeChange() gives X to directories and to files that anybody may execute", () => {
  const change = parseModeChange("go+X");
  assert.ok(change);
  assert.equal(change(0o600, { isDirectory: false, umask: 0 }), 0o600);
  assert.equal(change(0o700, { isDirectory: false, umask: 0 }), 0o711);
  assert.equal(change(0o600, { isDirectory: true, umask: 0 }), 0o611);
});
