// Errors say what could not be done to what: the servers know inodes and objects, users know paths.

import { isRustreError, RustreError } from "../shared/errors.ts";

/** Its message begins with "Cannot ACTION: " and names a path: it is passed on as it is. */
export class NamedError extends RustreError {}

/** Runs `call`; an operating error gets "Cannot ACTION: " before its message. */
export async function named<T>(action: string, call: () => Promise<T>): Promise<T> {
  try {
    return await call();
  } catch (error) {
    if (!isRustreError(error) || error instanceof NamedError) throw error;
    if (error.message.startsWith("Cannot use ")) throw error;
    throw new NamedError(error.code, `Cannot ${action}: ${error.message}`, { cause: error });
  }
}
