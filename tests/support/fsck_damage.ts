// Tests of what fsck does about damage: it says what it finds, changes nothing until it is told to
// repair, and leaves what it cannot repair without losing something.

import assert from "node:assert/strict";
import { type TestCluster, withCluster } from "./cluster.ts";
import { type MadeTree, makeTree, runFsck } from "./fsck.ts";

/** Of clusters in which damage is left. */
export const unchecked = { osts: 3, uncheckedBecause: "damage was planted" };

export interface Damage {
  readonly name: string;
  readonly plant: (cluster: TestCluster, tree: MadeTree) => Promise<void>;
  /** What is found, without repair. */
  readonly found: readonly string[];
  /** What is left after a repair; none by default. */
  readonly left?: readonly string[];
  /** Where one repair leads to another. */
  readonly runs?: number;
  /** After it. */
  readonly check?: (cluster: TestCluster, tree: MadeTree) => Promise<void>;
}

export function testDamages(damages: readonly Damage[]): void {
  for (const damage of damages) {
    Deno.test(`fsck() finds ${damage.name}`, () => testDamage(damage));
  }
}

async function testDamage(damage: Damage): Promise<void> {
  const { plant, found, left = [], runs = 1, check } = damage;
  await withCluster(unchecked, async (cluster) => {
    const tree = await makeTree(cluster);
    await plant(cluster, tree);
    const first = await runFsck(cluster);
    assert.deepEqual(first.short, found.map((kind) => `${kind} found`).sort());
    assert.deepEqual(first.findings, { found: found.length, repaired: 0, unrepaired: 0 });
    assert.deepEqual((await runFsck(cluster)).short, first.short, "it changed nothing");
    for (let run = 0; run < runs; run++) await runFsck(cluster, { repair: true });
    const after = await runFsck(cluster);
    assert.deepEqual(after.said.map(({ kind }) => kind).sort(), [...left].sort());
    await check?.(cluster, tree);
  });
}
