// What a file store says where an operation on its objects failed.

import { AssertionError } from "../shared/assert.ts";
import { RustreError } from "../shared/errors.ts";
import type { ObjectId } from "../shared/model.ts";
import { reasonOf } from "./files.ts";

export function nameOf(object: ObjectId, targetIndex: number): string {
  return `object "${object}" on OST ${targetIndex}`;
}

/** The error of the disk as one for the caller; those that are meant for it, and bugs, as they are. */
export function storeError(what: string, error: unknown): Error {
  if (error instanceof RustreError || error instanceof AssertionError) return error;
  const { code, reason } = reasonOf(error);
  return new RustreError(code, `Cannot ${what}: ${reason}`, { cause: error });
}
