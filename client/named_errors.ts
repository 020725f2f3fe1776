// Errors say what could not be done to what: the servers know inodes and objects, users know paths.

import { isRustreError, RustreError } from "../shared/errors.ts";

/** Runs `call`; an operating error gets "Cannot ACTION: " before its message. */
export async function named<T>(action: string, call: () => Promise<T>): Promise<T> {
  try {
    return await call();
  } catch (error) {
    if (!isRustreError(error) || error.message.startsWith("Cannot use ")) throw error;
    throw new RustreError(error.code, `Cannot ${action}: ${error.message}`, { cause: error });
  }
}
