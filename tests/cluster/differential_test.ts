// Random operations on a cluster, on the model file system, and where POSIX leaves no choice on a
// local directory: every outcome and the tree at the end must be the same.

import assert from "node:assert/strict";
import * as fc from "fast-check";
import { withCluster } from "../support/cluster.ts";
import { ModelFileSystem } from "../support/model_file_system.ts";
import { operations, type Outcome, type SimpleOperation, treeOf } from "../support/operations.ts";
import { checkProperty } from "../support/seed.ts";
import { ClusterSubject, LocalSubject } from "../support/subjects.ts";

function sequencesOf(options: { escaping: boolean }): fc.Arbitrary<SimpleOperation[]> {
  return fc.array(operations(options), { minLength: 1, maxLength: 120, size: "max" });
}

Deno.test("a cluster does what the model file system does", async () => {
  const sequences = sequencesOf({ escaping: true });
  const property = fc.asyncProperty(
    sequences,
    (sequence) =>
      withCluster({ osts: 2 }, async (cluster) => {
        const [model, subject] = [new ModelFileSystem(), new ClusterSubject(cluster.fileSystem())];
        for (const operation of sequence) {
          const expected = await model.perform(operation);
          assert.deepEqual(await subject.perform(operation), expected, JSON.stringify(operation));
        }
        assert.deepEqual(await treeOf(subject), await treeOf(model));
      }),
  );
  await checkProperty(property, { runs: 60 });
});

/** Where Linux and POSIX or two right answers differ, the local file system's may be another. */
function mayDiffer(operation: SimpleOperation, ours: Outcome, theirs: Outcome): boolean {
  if (operation.op !== "rename" || ours === "done" || theirs === "done") return false;
  // A file onto a directory above it: is a directory, and is not empty.
  return "error" in ours && "error" in theirs && ours.error === "EISDIR" &&
    theirs.error === "ENOTEMPTY";
}

Deno.test("the model file system does what Linux does", async () => {
  const sequences = sequencesOf({ escaping: false });
  const property = fc.asyncProperty(sequences, async (sequence) => {
    const root = await Deno.makeTempDir({ prefix: "rustre-differential-" });
    try {
      await Deno.chmod(root, 0o755);
      const [model, local] = [new ModelFileSystem(), new LocalSubject(root)];
      for (const operation of sequence) {
        const [ours, theirs] = [await model.perform(operation), await local.perform(operation)];
        if (mayDiffer(operation, ours, theirs)) continue;
        assert.deepEqual(ours, theirs, JSON.stringify(operation));
      }
      assert.deepEqual(await treeOf(model), await treeOf(local));
    } finally {
      await Deno.remove(root, { recursive: true });
    }
  });
  await checkProperty(property, { runs: 60 });
});
