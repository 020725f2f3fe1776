// What the mgs asks of every server: opcodes 0x0000 to 0x00ff.

import * as v from "valibot";
import { limits } from "../limits.ts";
import { addressSchema, epochSchema, idSchema, usageSchema } from "../model.ts";
import { method } from "../rpc/service.ts";

const probeRequest = v.object({
  epoch: epochSchema,
  /** Every mgs, so that the node finds another when this one dies. */
  mgs: v.pipe(v.array(addressSchema), v.maxLength(limits.serversMax)),
});
const probeReply = v.object({
  nodeId: idSchema,
  /** Of an oss. */
  usage: v.optional(usageSchema),
});
export const probe = method(0x0010, probeRequest, probeReply);
