import assert from "node:assert/strict";
import { inDirectory } from "../../support/directory.ts";
import { UpDirectory } from "../../../commands/up_directory.ts";
import { isRustreError } from "../../../shared/errors.ts";
import { SeededRandom } from "../../support/seeded_random.ts";

const open = (path: string, seed = 1) => UpDirectory.open(path, new SeededRandom(seed));

Deno.test("UpDirectory keeps its node ids over restarts", async () => {
  await inDirectory(async (path) => {
    const first = await open(`${path}/made/here`, 1);
    first.close();
    const second = await open(`${path}/made/here`, 2);
    assert.deepEqual(second.state, first.state);
    assert.notEqual(first.state.mgsNodeId, first.state.mdsNodeId);
    second.close();
  });
});

Deno.test("UpDirectory.open() refuses a directory that another one has open", async () => {
  await inDirectory(async (path) => {
    const first = await open(path);
    await assert.rejects(
      open(path),
      (error) => isRustreError(error, "EBUSY") && error.message.includes(`"${path}"`),
    );
    first.close();
    (await open(path)).close();
  });
});

Deno.test("UpDirectory.open() names a directory or state that it cannot use", async () => {
  await inDirectory(async (path) => {
    await Deno.writeTextFile(`${path}/file`, "");
    for (
      const [below, reason] of [["", "it is not a directory"], [
        "/x",
        "it cannot be made: not a directory",
      ]]
    ) {
      const message = `Cannot use the directory "${path}/file${below}": ${reason}`;
      await assert.rejects(open(`${path}/file${below}`), { code: "EINVAL", message });
    }
    for (const text of ["", "{}", '{"format":2}']) {
      await Deno.writeTextFile(`${path}/up.json`, text);
      await assert.rejects(
        open(path),
        (error) => isRustreError(error, "EINVAL") && error.message.includes(`${path}/up.json`),
      );
    }
  });
});

Deno.test("UpDirectory.targetCount() is as many as there are, more, or an error", async () => {
  await inDirectory(async (path) => {
    const directory = await open(path);
    assert.equal(await directory.targetCount(undefined), 4);
    assert.equal(await directory.targetCount(1), 1);
    for (const index of [0, 1, 2, 10]) await Deno.mkdir(directory.pathOfTarget(index));
    await Deno.mkdir(`${path}/ost03`);
    await Deno.writeTextFile(`${path}/ost99`, "no directory");
    assert.equal(await directory.targetCount(undefined), 11);
    assert.equal(await directory.targetCount(12), 12);
    await assert.rejects(
      directory.targetCount(2),
      (error) =>
        isRustreError(error, "EINVAL") && /OST 2, OST 10 would be missing/.test(error.message),
    );
    directory.close();
  });
});
