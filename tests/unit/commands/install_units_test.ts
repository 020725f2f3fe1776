// What `rustre admin install-units` writes, checked by what reads it.

import assert from "node:assert/strict";
import { inDirectory } from "../../support/directory.ts";
import { parseConfiguration } from "../../../commands/configuration_file.ts";
import type { ProgramContext } from "../../../commands/context.ts";
import { buildProgram } from "../../../commands/program.ts";
import { sampleConfiguration } from "../../../commands/sample_configuration.ts";
import { commonSection, roleSections, settingsOf } from "../../../commands/settings.ts";
import { unitFiles } from "../../../commands/units.ts";
import { runRustre } from "../../support/processes.ts";

const program = buildProgram({ output: undefined } as ProgramContext);

const unitPaths = ["rustre-mds", "rustre-mgs", "rustre-oss@"]
  .map((name) => `etc/systemd/system/${name}.service`);

async function install(root: string, ...more: string[]) {
  const result = await runRustre(["admin", "install-units", "--root", root, "--json", ...more]);
  assert.deepEqual([result.code, result.stderr], [0, ""]);
  const { files } = JSON.parse(result.stdout) as { files: { path: string; outcome: string }[] };
  return new Map(files.map(({ path, outcome }) => [path.slice(root.length + 1), outcome]));
}

Deno.test("install-units writes all files for everybody to read, and keeps a configuration", async () => {
  await inDirectory(async (root) => {
    const config = "etc/rustre/rustre.toml";
    const first = await install(root);
    assert.deepEqual([...first.keys()].sort(), [
      config,
      ...unitPaths,
      "etc/sysusers.d/rustre.conf",
    ]);
    for (const [path, outcome] of first) {
      assert.equal(outcome, "written", path);
      assert.equal((await Deno.stat(`${root}/${path}`)).mode! & 0o777, 0o644, path);
    }
    assert([...(await install(root)).values()].every((outcome) => outcome === "unchanged"));

    await Deno.writeTextFile(`${root}/${config}`, "[common]\n");
    const again = await install(root, "--exec", "/opt/rustre");
    assert.equal(again.get(config), "kept");
    assert.equal(await Deno.readTextFile(`${root}/${config}`), "[common]\n");
    for (const path of unitPaths) assert.equal(again.get(path), "replaced");
    const unit = await Deno.readTextFile(`${root}/${unitPaths[2]}`);
    assert.match(unit, /^ExecStart=\/opt\/rustre oss --index %i$/m);
    const names = Array.from(Deno.readDirSync(`${root}/etc/rustre`), ({ name }) => name);
    assert.deepEqual(names, ["rustre.toml"], "no draft is left");
  });
});

Deno.test("install-units says what to do next, and why it cannot write", async () => {
  await inDirectory(async (root) => {
    const { stdout } = await runRustre(["admin", "install-units", "--root", root]);
    assert.match(stdout, /systemd-sysusers.*rustre config show.*daemon-reload.*enable --now/s);
    const failed = await runRustre(["admin", "install-units", "--root", "/proc"]);
    assert.match(failed.stderr, /^rustre: Cannot write "\/proc\/etc\/systemd\/system\/rustre-mgs/);
    assert.equal(failed.code, 1);
    const relative = await runRustre(["admin", "install-units", "--exec", "bin/rustre"]);
    assert.match(relative.stderr, /^rustre: Cannot start "bin\/rustre" .* an absolute path\n$/);
    assert.equal(relative.code, 2);
  });
});

Deno.test("the sample configuration is valid, and sets nothing", () => {
  const { sections } = parseConfiguration("F", sampleConfiguration(program), program);
  assert.deepEqual([...sections.values()].flatMap((entries) => [...entries.keys()]), []);
});

Deno.test("the sample configuration has every key, and is valid without its marks", () => {
  const text = sampleConfiguration(program).replace(/^#(?=[a-z-]+ = |\[)/gm, "");
  const { sections } = parseConfiguration("F", text, program);
  const common = settingsOf(program, commonSection).map(({ key }) => key);
  assert.deepEqual([...sections.get(commonSection)!.keys()], common);
  for (const role of roleSections) {
    const own = settingsOf(program, role).map(({ key }) => key)
      .filter((key) => !common.includes(key));
    assert.deepEqual([...sections.get(role)?.keys() ?? []], own);
  }
  assert.deepEqual([...sections.get("oss.1")!.keys()], ["dir", "listen"]);
});

const analyze = new Deno.Command("sh", { args: ["-c", "command -v systemd-analyze"] }).outputSync();

Deno.test(
  { name: "systemd finds nothing wrong with the units", ignore: !analyze.success },
  async () => {
    await inDirectory(async (root) => {
      // Something that is there and may be run.
      for (const { path, text } of unitFiles(Deno.execPath())) {
        const name = path.slice(path.lastIndexOf("/") + 1);
        await Deno.writeTextFile(`${root}/${name}`, text);
        const args = ["verify", "--man=no", "--recursive-errors=no", `${root}/${name}`];
        const { code, stderr } = await new Deno.Command("systemd-analyze", { args }).output();
        assert.deepEqual([code, new TextDecoder().decode(stderr)], [0, ""], name);
      }
    });
  },
);

Deno.test("units quote the path of the executable as systemd reads it", () => {
  const startOf = (path: string) => /^ExecStart=(.*)$/m.exec(unitFiles(path)[0]!.text)?.[1];
  assert.equal(startOf("/usr/bin/rustre"), "/usr/bin/rustre mgs");
  assert.equal(startOf("/opt/50%/rustre"), "/opt/50%%/rustre mgs");
  assert.equal(startOf('/a b/$x/"rustre"'), '"/a b/$$x/\\"rustre\\"" mgs');
});
