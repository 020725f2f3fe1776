// The messages of an mgs: opcodes 0x0100 to 0x01ff.

import * as v from "valibot";
import {
  addressSchema,
  clusterMapSchema,
  dataPathSchema,
  epochSchema,
  idSchema,
  serverRoleSchema,
  targetIndexSchema,
  usageSchema,
} from "../model.ts";
import { method, service } from "../rpc/service.ts";
import { probe } from "./node.ts";

const nothing = v.object({});

const registration = v.object({
  role: serverRoleSchema,
  nodeId: idSchema,
  address: addressSchema,
  hostName: v.pipe(v.string(), v.maxLength(255)),
  version: v.pipe(v.string(), v.maxLength(64)),
  /** Of an oss. */
  targetIndex: v.optional(targetIndexSchema),
  usage: v.optional(usageSchema),
  dataPath: v.optional(dataPathSchema),
});
export type Registration = v.InferOutput<typeof registration>;

/** When each node last answered a probe, by node id, in milliseconds before the reply. */
const statusReply = v.object({
  map: clusterMapSchema,
  heartbeatAgesMs: v.record(idSchema, v.number()),
});

export const mgsService = service("mgs", {
  probe,
  register: method(0x0101, registration, v.object({ epoch: epochSchema })),
  /** A server that stops says so; an OST stays known and is down, others leave the map. */
  unregister: method(0x0102, v.object({ nodeId: idSchema }), nothing),
  /** The map, or nothing where the caller's is the newest. */
  getMap: method(
    0x0103,
    v.object({ knownEpoch: v.optional(epochSchema) }),
    v.object({ map: v.optional(clusterMapSchema) }),
  ),
  status: method(0x0104, nothing, statusReply),
  /** Whether that node answers this mgs, for another mgs that it does not answer. */
  reaches: method(
    0x0105,
    v.object({
      role: serverRoleSchema,
      nodeId: idSchema,
      address: addressSchema,
      targetIndex: v.optional(targetIndexSchema),
    }),
    v.object({ reached: v.boolean() }),
  ),
  /**
   * Raises the epoch without another change of the map. An OST that knows it refuses every request
   * that was sent before, however late it comes.
   */
  raiseEpoch: method(0x0106, nothing, v.object({ epoch: epochSchema })),
});
