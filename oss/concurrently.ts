// Many asynchronous steps with a bound on how many run at once.

/**
 * Runs `action` for each item, at most `concurrencyMax` at a time. After a failure no further item
 * is begun, those under way are waited for, and the first error is thrown.
 */
export async function forEachConcurrently<T>(
  items: readonly T[],
  concurrencyMax: number,
  action: (item: T) => Promise<void>,
): Promise<void> {
  if (items.length <= 1) return await items.map(action)[0];
  const failures: unknown[] = [];
  const rest = items.values();
  // The workers share one iterator: each takes the next item that is left.
  const work = async () => {
    for (const item of rest) {
      if (failures.length > 0) return;
      try {
        await action(item);
      } catch (error) {
        failures.push(error);
      }
    }
  };
  await Promise.all(Array.from({ length: Math.min(concurrencyMax, items.length) }, work));
  if (failures.length > 0) throw failures[0];
}
