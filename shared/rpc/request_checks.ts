// What a server checks of a hello and of a request before anyone acts on it.

import * as v from "valibot";
import { RustreError } from "../errors.ts";
import { type Frame, frameKind } from "./frame.ts";
import {
  helloOpcode,
  type HelloRequest,
  helloRequestSchema,
  helloVersionSchema,
  protocolVersion,
} from "./hello.ts";
import type { Route, ServerIdentity } from "./server_connection.ts";

/** A hostile body may have as many issues as elements. */
const firstIssueOnly = { abortEarly: true };
/** Of a message that quotes what was received. */
const issueLengthMax = 256;

/** The request as its method describes it. Throws BAD_REQUEST. */
export function checkedRequest({ name, method }: Route, body: unknown): unknown {
  const parsed = v.safeParse(method.request, body, firstIssueOnly);
  if (parsed.success) return parsed.output;
  throw badRequest(name, parsed.issues);
}

function badRequest(name: string, [issue]: readonly [v.BaseIssue<unknown>, ...unknown[]]) {
  const path = v.getDotPath(issue);
  const where = path ? ` at "${path}"` : "";
  const what = issue.message.slice(0, issueLengthMax).toWellFormed();
  return new RustreError("BAD_REQUEST", `Cannot handle ${name}: ${what}${where}`);
}

/** Refuses what is no hello, and a caller that looks for another server than this one. */
export function checkedHello(frame: Frame, identity: ServerIdentity): HelloRequest {
  if (frame.kind !== frameKind.request || frame.opcode !== helloOpcode) {
    throw new RustreError("BAD_REQUEST", "The first frame of a connection must be a hello");
  }
  const version = v.safeParse(helloVersionSchema, frame.body);
  if (!version.success) throw badRequest("hello", version.issues);
  const { protocol } = version.output;
  if (protocol !== protocolVersion) {
    throw new RustreError(
      "WRONG_VERSION",
      `This server speaks protocol ${protocolVersion}, the caller ${protocol}`,
    );
  }
  const parsed = v.safeParse(helloRequestSchema, frame.body, firstIssueOnly);
  if (!parsed.success) throw badRequest("hello", parsed.issues);
  checkWanted(parsed.output, identity);
  return parsed.output;
}

function checkWanted(hello: HelloRequest, identity: ServerIdentity): void {
  if (hello.clusterId !== "" && hello.clusterId !== identity.clusterId) {
    throw new RustreError(
      "WRONG_CLUSTER",
      `This ${identity.role} is of cluster "${identity.clusterName}" (${identity.clusterId}), ` +
        `the caller of cluster ${hello.clusterId}`,
    );
  }
  if (hello.wants !== identity.role) {
    throw new RustreError("WRONG_ROLE", `This is an ${identity.role}, not an ${hello.wants}`);
  }
  if (hello.targetIndex !== undefined && hello.targetIndex !== identity.targetIndex) {
    throw new RustreError(
      "WRONG_TARGET",
      `This oss serves OST ${identity.targetIndex}, not OST ${hello.targetIndex}`,
    );
  }
}
