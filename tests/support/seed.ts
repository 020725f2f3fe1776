// The seed of randomised tests: a new one for each run, printed by what fails, or the one of
// RUSTRE_TEST_SEED to see a failure again.

import * as fc from "fast-check";

const given = Deno.env.get("RUSTRE_TEST_SEED");

export const testSeed: number = given === undefined
  ? crypto.getRandomValues(new Int32Array(1))[0]!
  : Number(given);

/** fc.assert with the run's seed; a failure names it. */
export async function checkProperty<Values>(
  property: fc.IAsyncProperty<Values> | fc.IProperty<Values>,
  options: { runs: number },
): Promise<void> {
  try {
    await fc.assert(property, { seed: testSeed, numRuns: options.runs, endOnFailure: false });
  } catch (error) {
    console.error(`Run it again with RUSTRE_TEST_SEED=${testSeed}`);
    throw error;
  }
}
