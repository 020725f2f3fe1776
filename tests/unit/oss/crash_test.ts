// The file store keeps its promises over crashes of its process and of the machine; crash_machine.ts
// has what is done and checked.

import { seeded, testSeed } from "../../support/seed.ts";
import { testCrashes, testScript } from "./crash_machine.ts";
import { failingScripts, scripts } from "./crash_scripts.ts";

/** Fixed seeds, and as many new ones; each crashes several times. */
const seedCount = Number(Deno.env.get("RUSTRE_CRASH_SEEDS") ?? 8);

/** Power losses at each operation of a script. */
const lossCount = seedCount;

for (const kinds of [["kill"], ["kill", "power loss"], ["power loss"]] as const) {
  Deno.test(`FileObjectStore keeps its promises over every ${kinds.join(" and ")}`, () =>
    seeded(async () => {
      for (let seed = 0; seed < seedCount; seed++) await testCrashes(seed, kinds);
      for (let seed = 0; seed < seedCount; seed++) await testCrashes(testSeed + seed, kinds);
    }));
}

for (const [name, script] of Object.entries(scripts)) {
  Deno.test(`FileObjectStore keeps its promises over a crash at each step of ${name}`, async () => {
    await testScript(script, ["kill"], 1);
    await testScript(script, ["power loss"], lossCount);
  });
}

for (const [name, script] of Object.entries(failingScripts)) {
  Deno.test(`FileObjectStore keeps its promises over a power loss at each step of ${name}`, () =>
    testScript(script, ["power loss"], lossCount));
}
