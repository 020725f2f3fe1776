// What the parts of the client that talk to OSTs share: which file, by which map, in which try.

import { type ClusterMapCache, targetOf } from "../shared/cluster_map.ts";
import type { Environment } from "../shared/environment.ts";
import { RustreError } from "../shared/errors.ts";
import { objectLengthBytes, targetsOfObject } from "../shared/layout.ts";
import type { Logger } from "../shared/logging.ts";
import type { ClusterMap, Layout, Target } from "../shared/model.ts";
import type { RpcClient } from "../shared/rpc/client.ts";

export interface ObjectClientParts {
  readonly environment: Environment;
  readonly rpc: RpcClient;
  readonly maps: ClusterMapCache;
  readonly log: Logger;
}

/** What the objects of one file are reached by. */
export interface FileObjects {
  readonly ino: number;
  readonly layout: Layout;
  /** Below it every object had its full length when the file was opened for writing. */
  readonly existingEndBytes?: number | undefined;
  /** Of a file that is written: fails when the client has no right to write any more. */
  readonly requireLease?: (() => void) | undefined;
}

/** What a client has met of damage, since it was made. */
export interface IntegrityCounts {
  /** Answers whose bytes did not match their checksums: torn by a concurrent write, or worse. */
  mismatches: number;
  /** Copies that their OST found damaged. */
  damagedCopies: number;
  /** Reads that got right bytes from another replica than the one that was asked first. */
  otherReplicaReads: number;
  /** Blocks that repairs which this client asked for have mended. */
  repairedBlocks: number;
}

/** Every OST that has the object, the primary first. */
export function replicasOf(map: ClusterMap, file: FileObjects, seq: number): Target[] {
  return targetsOfObject(file.layout, seq).map((index) => targetOf(map, index));
}

export function isDown(target: Target): RustreError {
  return new RustreError("TARGET_DOWN", `OST ${target.index} is down`);
}

export function requireUp(target: Target): Target {
  if (target.state !== "up") throw isDown(target);
  return target;
}

/** What a change of an object tells its OST of the bytes that must be there already. */
export function existingBytesOf(
  { layout, existingEndBytes = 0 }: FileObjects,
  seq: number,
): { existingBytes?: number } {
  const existingBytes = objectLengthBytes(layout, seq, existingEndBytes);
  return existingBytes === 0 ? {} : { existingBytes };
}
