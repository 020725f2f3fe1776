// The commit that a checkout is at, in every way that git has to say it.

import assert from "node:assert/strict";
import { describeVersion } from "../../../commands/version.ts";
import { checkout } from "../../support/markdown.ts";
import { version } from "../../../shared/version.ts";

const commit = "0123456789abcdef".repeat(3).slice(0, 40);
const other = "f".repeat(40);

async function withTree(
  files: Record<string, string>,
  test: (root: string) => void,
): Promise<void> {
  const root = await Deno.makeTempDir({ prefix: "rustre-" });
  try {
    for (const [path, text] of Object.entries(files)) {
      const full = `${root}/${path}`;
      await Deno.mkdir(full.slice(0, full.lastIndexOf("/")), { recursive: true });
      await Deno.writeTextFile(full, text.replaceAll("ROOT", root));
    }
    test(root);
  } finally {
    await Deno.remove(root, { recursive: true });
  }
}

const atCommit = `rustre ${version}, commit 0123456789ab, checkout`;
const head = "ref: refs/heads/main\n";
const packed = `# pack-refs with: peeled\n${other} refs/heads/not/refs/heads/main\n` +
  `${other} refs/heads/mai\n${commit} refs/heads/main\n^${other}\n`;

const trees: [string, Record<string, string>, string][] = [
  ["a branch", { ".git/HEAD": head, ".git/refs/heads/main": `${commit}\n` }, atCommit],
  ["a packed branch", { ".git/HEAD": head, ".git/packed-refs": packed }, atCommit],
  ["no branch", { ".git/HEAD": `${commit}\n` }, atCommit],
  [
    "a worktree",
    {
      ".git": "gitdir: ROOT/main/.git/worktrees/one\n",
      "main/.git/worktrees/one/HEAD": head,
      "main/.git/worktrees/one/commondir": "../..\n",
      "main/.git/refs/heads/main": `${commit}\n`,
    },
    atCommit,
  ],
  ["a branch without a commit", { ".git/HEAD": head }, `rustre ${version}, checkout`],
  ["no git", {}, `rustre ${version}, checkout`],
];
for (const [name, files, expected] of trees) {
  Deno.test(`describeVersion() of ${name}`, async () => {
    await withTree(files, (root) => assert.equal(describeVersion(root), expected));
  });
}

Deno.test("describeVersion() of this checkout is what git says", async () => {
  const args = ["-C", checkout, "rev-parse", "HEAD"];
  const git = await new Deno.Command("git", { args }).output().catch(() => undefined);
  // Without git, or with the files alone, there is nothing to compare with.
  if (!git?.success) return;
  const expected = new TextDecoder().decode(git.stdout).slice(0, 12);
  assert.equal(describeVersion(), `rustre ${version}, commit ${expected}, checkout`);
});
