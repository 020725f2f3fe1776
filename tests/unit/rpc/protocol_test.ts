import assert from "node:assert/strict";
import * as v from "valibot";
import { limits } from "../../../shared/limits.ts";
import { decodeBody, encodeBody } from "../../../shared/rpc/message_pack.ts";
import { mdsService } from "../../../shared/protocol/mds.ts";
import { mgsService } from "../../../shared/protocol/mgs.ts";
import { ossService } from "../../../shared/protocol/oss.ts";
import {
  errorReplySchema,
  helloOpcode,
  helloReplySchema,
  helloRequestSchema,
  helloVersionSchema,
} from "../../../shared/rpc/hello.ts";
import type { Service } from "../../../shared/rpc/service.ts";
import { errorExample, helloExample, mdsExamples, mgsExamples, ossExamples } from "./examples.ts";
import { type GoldenFrame, goldenFrames } from "./golden_frames.ts";
import { frameBytes } from "../../support/rpc.ts";

type AnyExamples = Record<string, { request: unknown; reply: unknown }>;
const services: [Service, AnyExamples][] = [
  [mgsService, mgsExamples],
  [mdsService, mdsExamples],
  [ossService, ossExamples],
];

/** Sends a message through the wire's form and the schema at the other end. */
function carried(schema: v.GenericSchema, message: unknown): unknown {
  return v.parse(schema, decodeBody(encodeBody(message)));
}

for (const [service, examples] of services) {
  for (const [name, method] of Object.entries(service.methods)) {
    Deno.test(`${service.name}.${name} carries its messages unchanged`, () => {
      const { request, reply } = examples[name]!;
      assert.deepEqual(carried(method.request, request), request);
      assert.deepEqual(carried(method.reply, reply), reply);
      assert(encodeBody(request).length < limits.requestBodyBytesMax);
    });
  }
}

Deno.test("hello and errors are carried unchanged", () => {
  assert.deepEqual(carried(helloRequestSchema, helloExample.request), helloExample.request);
  assert.deepEqual(carried(helloReplySchema, helloExample.reply), helloExample.reply);
  assert.deepEqual(carried(errorReplySchema, errorExample), errorExample);
});

Deno.test("every field that a message cannot do without is missed, and none is added", () => {
  for (const [service, examples] of services) {
    for (const [name, method] of Object.entries(service.methods)) {
      const request = examples[name]!.request as Record<string, unknown>;
      assert(!v.is(method.request, null), name);
      assert(!v.is(method.request, undefined), name);
      const extended = v.parse(method.request, { ...request, unknown: 1 });
      assert.deepEqual(extended, request);
      for (const field of Object.keys(method.request.entries as object)) {
        const { [field]: _, ...without } = request;
        const isOptional = (method.request.entries[field] as v.GenericSchema).type === "optional";
        assert.equal(v.is(method.request, without), isOptional, `${name} without ${field}`);
        assert(!v.is(method.request, { ...request, [field]: Symbol() }), `${name} ${field}`);
      }
    }
  }
});

Deno.test("opcodes are the service's own, and no method has the hello's", () => {
  const ranges = { mgs: 0x0100, mds: 0x0200, oss: 0x0300 } as Record<string, number>;
  for (const [service] of services) {
    for (const [name, { opcode }] of Object.entries(service.methods)) {
      assert.notEqual(opcode, helloOpcode);
      const isOfAllRoles = name === "probe" && opcode === 0x10;
      assert(isOfAllRoles || (opcode & 0xff00) === ranges[service.name], `${name} ${opcode}`);
    }
  }
});

const notIds = [
  "../../etc/passwd",
  "0000000000000002:0000000g",
  "000000000000000A:00000001",
  "0000000000000002-00000001",
  "0000000000000002:000000010",
  "0000000000000002:0000001",
  "0000000000000002:00000001\n",
  "0000000000000002:00000001\0",
  " 0000000000000002:00000001",
  "",
  2,
  null,
  ["0000000000000002:00000001"],
];

for (const name of ["readObject", "writeObject", "resizeObject", "statObject"] as const) {
  Deno.test(`oss.${name} takes nothing for an object id that is none`, () => {
    const schema: v.GenericSchema = ossService.methods[name].request;
    for (const object of notIds) {
      assert(!v.is(schema, { ...ossExamples[name].request, object }), JSON.stringify(object));
    }
  });
}

Deno.test("numbers out of their range are refused, with the range", () => {
  const { request } = ossExamples.readObject;
  const schema: v.GenericSchema = ossService.methods.readObject.request;
  for (const offsetBytes of [-1, 0.5, NaN, Infinity, 2 ** 53, 1n, "0", null]) {
    assert(!v.is(schema, { ...request, offsetBytes }), String(offsetBytes));
  }
  for (const lengthBytes of [0, limits.framePayloadBytesMax + 1]) {
    assert(!v.is(schema, { ...request, lengthBytes }), String(lengthBytes));
  }
  const parsed = v.safeParse(schema, { ...request, offsetBytes: -1 });
  assert.equal(parsed.issues?.[0].message, `Expected an integer from 0 to ${limits.fileBytesMax}`);
  const times: v.GenericSchema = mdsService.methods.commitWrite.request;
  for (const mtimeNs of [2n ** 63n, -(2n ** 63n) - 1n, 0, "now"]) {
    assert(!v.is(times, { ...mdsExamples.commitWrite.request, mtimeNs }), String(mtimeNs));
  }
});

Deno.test("the version of a hello is read whatever else it says", () => {
  const future = { protocol: 99, who: ["knows"] };
  assert.deepEqual(carried(helloVersionSchema, future), { protocol: 99 });
});

for (const [name, golden] of Object.entries<GoldenFrame>(goldenFrames)) {
  Deno.test(`the bytes of ${name} are what they have always been`, () => {
    const { hex, ...frame } = golden;
    assert.equal(frameBytes(frame).toHex(), hex.replaceAll(" ", ""));
    const bytes = Uint8Array.fromHex(hex.replaceAll(" ", ""));
    assert.deepEqual(
      decodeBody(bytes.subarray(24, bytes.length - (golden.payload?.length ?? 0))),
      golden.body,
    );
  });
}
