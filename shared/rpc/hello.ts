// The first frame each way of a connection, opcode 1: who calls, whom it expects to reach, and the
// version that both speak. And the body of a reply that is an error, which every method shares.

import * as v from "valibot";
import { limits } from "../limits.ts";
import { countSchema, idSchema, serverRoleSchema, targetIndexSchema } from "../model.ts";

/** Raised by every change that an older peer would misread. */
export const protocolVersion = 4;

export const helloOpcode = 1;

/** The part of the request that every version has. */
export const helloVersionSchema = v.object({ protocol: countSchema });

/** What the caller expects of the server it has reached; the server refuses if it is another. */
export const helloRequestSchema = v.object({
  protocol: countSchema,
  /** Empty: the caller does not know the cluster yet. */
  clusterId: v.union([idSchema, v.literal("")]),
  /** The role that the caller wants to talk to. */
  wants: serverRoleSchema,
  /** Of an oss: the OST that it must serve. */
  targetIndex: v.optional(targetIndexSchema),
  /** Names this connection, for the one that takes its place; nobody else can guess it. */
  connection: v.optional(idSchema),
  /**
   * Lost connections of this caller, on which requests may still be on their way. Nothing that
   * arrives there after this hello was answered is carried out.
   */
  replaces: v.optional(v.pipe(v.array(idSchema), v.maxLength(limits.replacedConnectionsMax))),
  /** Who calls, for the server's log. */
  caller: v.picklist(["client", "mgs", "mds", "oss"]),
  /** Room for authentication. */
  credentials: v.optional(v.record(v.string(), v.string())),
});
export type HelloRequest = v.InferOutput<typeof helloRequestSchema>;

export const helloReplySchema = v.object({
  protocol: countSchema,
  clusterId: idSchema,
  clusterName: v.string(),
  role: serverRoleSchema,
  nodeId: idSchema,
  targetIndex: v.optional(targetIndexSchema),
  /**
   * Of an oss with several workers: the ports at which each is reached alone, by its index; 0 for
   * one that is being replaced. Objects of inode `ino` are with worker `ino % workers.length`.
   */
  workers: v.optional(
    v.pipe(v.array(v.pipe(countSchema, v.maxValue(0xffff))), v.maxLength(limits.workersMax)),
  ),
});
export type HelloReply = v.InferOutput<typeof helloReplySchema>;

/** The body of a reply that is an error. */
export const errorReplySchema = v.object({
  code: countSchema,
  message: v.pipe(v.string(), v.maxLength(8192)),
});
