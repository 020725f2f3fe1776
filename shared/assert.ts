// Assertions for bugs: broken invariants inside this process. Never for what came from the network,
// a disk or a user; those are operating errors (errors.ts).

/** A broken invariant. It is never translated into an error number: it is a bug and stays loud. */
export class AssertionError extends Error {
  override readonly name = "AssertionError";
}

/** Throws an {@link AssertionError} with `message` unless `condition` holds. */
export function assert(condition: unknown, message: string): asserts condition {
  if (!condition) throw new AssertionError(message);
}

/** Marks a place that no value can reach; the type checker proves it, the error reports a lie. */
export function unreachable(value: never, what: string): never {
  throw new AssertionError(`Unreachable ${what}: ${JSON.stringify(value)}`);
}
