// How a service is declared: methods with numbers, schemas of request and reply, and the types that
// client calls and server handlers take from them. The declarations are in shared/protocol/.

import type * as v from "valibot";
import { assert } from "../assert.ts";
import type { Payload } from "../environment.ts";

// deno-lint-ignore no-explicit-any
type AnySchema = v.GenericSchema<any>;

/** One request with its reply. `Raw` tells which of the two carries raw bytes. */
export interface Method<
  Request extends AnySchema = AnySchema,
  Reply extends AnySchema = AnySchema,
  Raw extends PayloadOf = PayloadOf,
> {
  /** The number on the wire. Never reused: a method that goes leaves a comment. */
  readonly opcode: number;
  readonly request: Request;
  readonly reply: Reply;
  readonly payload: Raw;
  /** How many raw bytes the reply to this request may have; the server makes room for them first. */
  readonly replyPayloadBytes?: (request: v.InferOutput<Request>) => number;
}

export type PayloadOf = "none" | "request" | "reply";

// deno-lint-ignore no-explicit-any
export type Methods = Record<string, Method<any, any, any>>;

export interface Service<M extends Methods = Methods> {
  readonly name: string;
  readonly methods: M;
}

export type RequestOf<S extends Service, Name extends keyof S["methods"]> = v.InferOutput<
  S["methods"][Name]["request"]
>;
export type ReplyOf<S extends Service, Name extends keyof S["methods"]> = v.InferOutput<
  S["methods"][Name]["reply"]
>;

/** A reply with raw bytes, as a handler gives it. */
export interface Download<Reply = unknown> {
  readonly reply: Reply;
  /** It must not change, or its file be closed, before `release` is called. */
  readonly payload: Payload;
  /** Called once, when the payload has left or never will. */
  readonly release?: () => void;
}

/** What a handler gives back: the reply, and the raw bytes where the method's reply has some. */
export type HandlerResult<M extends Method> = M["payload"] extends "reply"
  ? Download<v.InferOutput<M["reply"]>>
  : v.InferOutput<M["reply"]>;

/** What a handler knows of the request besides its body. */
export interface Call {
  /** Where the caller's connection comes from. */
  readonly remote: string;
  /**
   * The request's raw bytes; empty where the method has none. They are another request's once the
   * handler has settled.
   */
  readonly payload: Uint8Array;
  /** How long it waited for this server to read it, where that was long; see unread_time.ts. */
  readonly unreadMs: number;
}

/** The server's side: one function for each method, none missing, none too many. */
export type Handlers<S extends Service> = {
  [Name in keyof S["methods"]]: (
    request: RequestOf<S, Name>,
    call: Call,
  ) => Promise<HandlerResult<S["methods"][Name]>>;
};

export function method<Request extends AnySchema, Reply extends AnySchema>(
  opcode: number,
  request: Request,
  reply: Reply,
): Method<Request, Reply, "none"> {
  return { opcode, request, reply, payload: "none" };
}

export function uploadMethod<Request extends AnySchema, Reply extends AnySchema>(
  opcode: number,
  request: Request,
  reply: Reply,
): Method<Request, Reply, "request"> {
  return { opcode, request, reply, payload: "request" };
}

export function downloadMethod<Request extends AnySchema, Reply extends AnySchema>(
  opcode: number,
  request: Request,
  reply: Reply,
  replyPayloadBytes: (request: v.InferOutput<Request>) => number,
): Method<Request, Reply, "reply"> {
  return { opcode, request, reply, payload: "reply", replyPayloadBytes };
}

export function service<M extends Methods>(name: string, methods: M): Service<M> {
  const opcodes = new Set(Object.values(methods).map((each) => each.opcode));
  assert(opcodes.size === Object.keys(methods).length, `${name}: two methods with one opcode`);
  return { name, methods };
}
