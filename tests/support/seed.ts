// The seed of randomised tests: a new one for each run, named by what fails, or the one of
// RUSTRE_TEST_SEED to see a failure again.

import * as fc from "fast-check";

const given = Deno.env.get("RUSTRE_TEST_SEED");

export const testSeed: number = given === undefined
  ? crypto.getRandomValues(new Int32Array(1))[0]!
  : Number(given);

/** Runs a test that depends on {@link testSeed}; its failure names the seed. */
export async function seeded<T>(test: () => Promise<T>): Promise<T> {
  try {
    return await test();
  } catch (error) {
    const { message } = error as Error;
    throw new Error(`${message}\n\nAgain with RUSTRE_TEST_SEED=${testSeed}`, { cause: error });
  }
}

/** fc.assert with the run's seed. */
export function checkProperty<Values>(
  property: fc.IAsyncProperty<Values> | fc.IProperty<Values>,
  options: { runs: number },
): Promise<void> {
  return seeded(async () => await fc.assert(property, { seed: testSeed, numRuns: options.runs }));
}
