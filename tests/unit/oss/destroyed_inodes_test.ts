import assert from "node:assert/strict";
import { DestroyedInodes } from "../../../oss/destroyed_inodes.ts";
import { rejects } from "../../support/object_bytes.ts";

Deno.test("DestroyedInodes.destroy() waits for changes under way and lets none begin", async () => {
  const inodes = new DestroyedInodes();
  const steps: string[] = [];
  const gates = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
  const changes = gates.map((gate, index) =>
    inodes.change(7, async () => {
      await gate.promise;
      steps.push(`change ${index}`);
    })
  );
  const destroyed = inodes.destroy([7, 8], () => {
    steps.push("destroy");
    return Promise.resolve(5);
  });
  await rejects("OBJECT_GONE", () => inodes.change(7, () => Promise.resolve()), ["inode 7"]);
  gates[1]!.resolve();
  await changes[1];
  gates[0]!.resolve();
  assert.equal(await destroyed, 5);
  assert.deepEqual(steps, ["change 1", "change 0", "destroy"]);
  await rejects("OBJECT_GONE", () => inodes.change(8, () => Promise.resolve()), ["inode 8"]);
  assert.equal(await inodes.change(9, () => Promise.resolve("other")), "other");
});

Deno.test("DestroyedInodes.destroy() waits also for a change that fails", async () => {
  const inodes = new DestroyedInodes();
  const gate = Promise.withResolvers<void>();
  const change = inodes.change(7, () => gate.promise);
  const destroyed = inodes.destroy([7], () => Promise.resolve(1));
  gate.reject(new Error("disk"));
  await assert.rejects(change, /disk/);
  assert.equal(await destroyed, 1);
});

Deno.test("DestroyedInodes fences an inode also when its destroy fails", async () => {
  const inodes = new DestroyedInodes();
  await assert.rejects(inodes.destroy([7], () => Promise.reject(new Error("disk"))), /disk/);
  await rejects("OBJECT_GONE", () => inodes.change(7, () => Promise.resolve()), ["inode 7"]);
  assert.equal(await inodes.destroy([7], () => Promise.resolve(2)), 2);
});

Deno.test("DestroyedInodes remembers the last ones, a bounded number", async () => {
  const inodes = new DestroyedInodes(3);
  for (const ino of [1, 2, 3, 1, 4]) await inodes.destroy([ino], () => Promise.resolve());
  const gone = [1, 2, 3, 4].filter((ino) => {
    try {
      inodes.check(ino);
      return false;
    } catch {
      return true;
    }
  });
  assert.deepEqual(gone, [1, 3, 4]);
});
