// Which worker of an oss a request is for. Each object is with one worker, which alone has its order
// of writes and its journal: the others refuse it with WRONG_WORKER.

import { isRustreError } from "../errors.ts";

/** The worker that has the objects of an inode. */
export function workerOf(ino: number, workers: number): number {
  return ino % workers;
}

/**
 * The inodes whose objects a request names. Every request to an oss that is about objects has them
 * in one of these fields; one about several is about objects of one worker.
 */
export function inodesOf(request: unknown): readonly number[] {
  const { object, objects, inodes } = request as {
    readonly object?: string;
    readonly objects?: readonly string[];
    readonly inodes?: readonly number[];
  };
  if (object !== undefined) return [inodeOfObject(object)];
  if (objects !== undefined) return objects.map(inodeOfObject);
  return inodes ?? [];
}

/** Of a checked object id: its first 16 hexadecimal digits. */
function inodeOfObject(object: string): number {
  return Number.parseInt(object.slice(0, 16), 16);
}

/**
 * Whether a call failed because the worker that it was for is not, or not any more, where it was
 * sent: to the port of one of so many workers, or with none to the server's own.
 */
export function hasMoved(error: unknown, workers: number): boolean {
  if (isRustreError(error, "WRONG_WORKER")) return true;
  return workers > 0 && isRustreError(
    error,
    "UNREACHABLE",
    // Another process has the port now.
    "BAD_FRAME",
    "WRONG_VERSION",
    "WRONG_ROLE",
    "WRONG_TARGET",
    "WRONG_CLUSTER",
  );
}
