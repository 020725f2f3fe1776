import assert from "node:assert/strict";
import { type Finding, Witnesses, type WitnessesOptions } from "../../../mgs/witnesses.ts";
import type { ServerRecord } from "../../../mgs/schema.ts";
import { emptyState } from "../../support/empty_cluster.ts";

const self = {
  role: "mgs",
  nodeId: "0".repeat(32),
  address: { host: "self", port: 9400 },
  hostName: "self",
  version: "test",
} as const;

function mgsOn(hostName: string, state: "up" | "down" = "up"): ServerRecord {
  const address = { host: hostName, port: 9400 };
  return { nodeId: hostName.padEnd(32, "0"), address, hostName, version: "test", state };
}

/** Of an mgs on host "self", with these other mgs. */
function witnessesOf(...others: ServerRecord[]): Witnesses {
  const all = [{ ...self, state: "up" } as const, ...others];
  const mgs = new Map(all.map((each) => [each.address.host, each]));
  const options = { self } as unknown as WitnessesOptions;
  return new Witnesses({ ...emptyState, mgs }, options);
}

function found(
  role: "mgs" | "mds" | "oss",
  hostName: string,
  answered: boolean,
  more: Partial<Finding> = {},
): Finding {
  const node = { role, nodeId: "1".repeat(32), address: { host: hostName, port: 1 } };
  const failures = answered ? 0 : 1;
  return { node, hostName, wasUp: true, answered, failures, opinion: undefined, ...more };
}

const silentMgs = found("mgs", "a", false);

Deno.test("Witnesses.isCutOff(): an mgs that reaches no other mgs and no majority of the hosts is", () => {
  const witnesses = witnessesOf(mgsOn("a"));
  const cases: [cutOff: boolean, Finding[]][] = [
    [true, [silentMgs]],
    [true, [silentMgs, found("oss", "b", false), found("oss", "c", false)]],
    [false, [silentMgs, found("oss", "b", true)]],
    [true, [silentMgs, found("oss", "b", true), found("oss", "c", false)]],
    [false, [silentMgs, found("oss", "b", true), found("oss", "c", true)]],
    [false, [found("mgs", "a", true), found("oss", "b", false), found("oss", "c", false)]],
    // What answers on this host says nothing.
    [true, [silentMgs, found("oss", "self", true), found("mds", "self", true)]],
    // Many servers of one host are one host.
    [true, [
      silentMgs,
      found("oss", "b", true),
      found("mds", "b", true),
      found("oss", "c", false),
    ]],
    // What was down before says nothing either.
    [false, [
      silentMgs,
      found("oss", "b", true),
      found("oss", "c", true),
      ...["d", "e", "f"].map((host) => found("oss", host, false, { wasUp: false })),
    ]],
    // Another mgs has said something, so it is reached.
    [false, [silentMgs, found("oss", "b", false, { opinion: "silent" })]],
    [true, [silentMgs, found("oss", "b", false, { opinion: "nobody answers" })]],
  ];
  for (const [index, [cutOff, findings]] of cases.entries()) {
    assert.equal(witnesses.isCutOff(findings), cutOff, `case ${index}`);
  }
});

Deno.test("Witnesses.isCutOff(): an mgs that is the only one, or has its fellows on its own host, is not", () => {
  const all = [found("oss", "b", false), found("mds", "c", false)];
  assert.equal(witnessesOf().isCutOff(all), false);
  assert.equal(witnessesOf(mgsOn("a", "down")).isCutOff(all), false);
  const fellow = {
    ...mgsOn("self"),
    address: { host: "self", port: 9410 },
    nodeId: "2".repeat(32),
  };
  const silent = found("mgs", "self", false);
  assert.equal(witnessesOf(fellow).isCutOff([silent, ...all]), false);
});

Deno.test("Witnesses.opinionOn() without another mgs is that nobody answers", async () => {
  const { node } = found("oss", "b", false);
  assert.equal(await witnessesOf().opinionOn(node), "nobody answers");
});
