import assert from "node:assert/strict";
import {
  applyEvents,
  type ClusterEvent,
  clusterMapOf,
  type ClusterState,
  type ProbedNode,
} from "../../../mgs/cluster_state.ts";
import { isRustreError } from "../../../shared/errors.ts";
import { limits } from "../../../shared/limits.ts";
import type { Registration } from "../../../shared/protocol/mgs.ts";
import { noUsage } from "../../../shared/usage.ts";
import { emptyState } from "../../support/empty_cluster.ts";

const id = (digit: string) => digit.repeat(32);

function registration(fields: Partial<Registration> = {}): Registration {
  return {
    role: "mds",
    nodeId: id("a"),
    address: { host: "host", port: 1 },
    hostName: "host",
    version: "1",
    ...fields,
  };
}

const mds = registration();
const ost0 = registration({ role: "oss", nodeId: id("b"), targetIndex: 0 });
const usage = { ...noUsage, capacityBytes: 100, usedBytes: 10, freeBytes: 90, objects: 3 };

function registered(registration: Registration): ClusterEvent {
  return { type: "registered", registration };
}

function nodeOf({ role, nodeId, address, targetIndex }: Registration): ProbedNode {
  return { role, nodeId, address, ...(targetIndex === undefined ? {} : { targetIndex }) };
}

function failed(
  registration: Registration,
  failures: number = limits.probeFailuresMax,
): ClusterEvent {
  return { type: "probeFailed", node: nodeOf(registration), failures };
}

function succeeded(registration: Registration): ClusterEvent {
  return { type: "probeSucceeded", node: nodeOf(registration) };
}

function unregistered(registration: Registration): ClusterEvent {
  return { type: "unregistered", nodeId: registration.nodeId };
}

function after(...events: ClusterEvent[]): ClusterState {
  return applyEvents(emptyState, events, 0);
}

/** "mds host:1 up" for each server, in the order of the map. */
function summary(state: ClusterState): string[] {
  const map = clusterMapOf({ clusterId: id("0"), clusterName: "c" }, state);
  return [
    ...map.mgs.map((each) => `mgs ${each.address.host}:${each.address.port} ${each.state}`),
    ...map.mds.map((each) => `mds ${each.address.host}:${each.address.port} ${each.state}`),
    ...map.targets.map((each) =>
      `ost${each.index} ${each.address.host}:${each.address.port} ${each.state}`
    ),
  ];
}

const elsewhere = { address: { host: "other", port: 2 } };

const transitions: {
  name: string;
  before: ClusterEvent[];
  events: ClusterEvent[];
  nowMs?: number;
  expected: string[];
  raised: boolean;
}[] = [
  {
    name: "a new mds is up at once",
    before: [],
    events: [registered(mds)],
    expected: ["mds host:1 up"],
    raised: true,
  },
  {
    name: "the same registration again changes nothing",
    before: [registered(mds), registered(ost0)],
    events: [registered(mds), registered(ost0)],
    expected: ["mds host:1 up", "ost0 host:1 up"],
    raised: false,
  },
  {
    name: "an mds with a new address leaves the old one",
    before: [registered(mds)],
    events: [registered({ ...mds, ...elsewhere })],
    expected: ["mds other:2 up"],
    raised: true,
  },
  {
    name: "a new mds at a known address takes the place of the one that had it",
    before: [registered(mds)],
    events: [registered({ ...mds, nodeId: id("c") })],
    expected: ["mds host:1 up"],
    raised: true,
  },
  {
    name: "an mgs and an mds are told apart although one address names both",
    before: [registered(mds)],
    events: [registered({ ...mds, role: "mgs" })],
    expected: ["mgs host:1 up", "mds host:1 up"],
    raised: true,
  },
  {
    name: "an OST that moved keeps its index",
    before: [registered(ost0)],
    events: [registered({ ...ost0, ...elsewhere })],
    expected: ["ost0 other:2 up"],
    raised: true,
  },
  {
    name: "one failed probe changes nothing",
    before: [registered(mds), registered(ost0)],
    events: [failed(mds, 1), failed(ost0, 1)],
    expected: ["mds host:1 up", "ost0 host:1 up"],
    raised: false,
  },
  {
    name: "enough failed probes bring a node down",
    before: [registered(mds), registered(ost0)],
    events: [failed(mds), failed(ost0)],
    expected: ["mds host:1 down", "ost0 host:1 down"],
    raised: true,
  },
  {
    name: "a node that is down already stays so",
    before: [registered(mds), registered(ost0), failed(mds), failed(ost0)],
    events: [failed(mds, 3), failed(ost0, 3)],
    expected: ["mds host:1 down", "ost0 host:1 down"],
    raised: false,
  },
  {
    name: "an answer brings a node up again",
    before: [registered(mds), registered(ost0), failed(mds), failed(ost0)],
    events: [succeeded(mds), succeeded(ost0)],
    expected: ["mds host:1 up", "ost0 host:1 up"],
    raised: true,
  },
  {
    name: "a registration brings a node up again",
    before: [registered(ost0), failed(ost0)],
    events: [registered(ost0)],
    expected: ["ost0 host:1 up"],
    raised: true,
  },
  {
    name: "a probe of an address that the node has left says nothing",
    before: [registered({ ...mds, ...elsewhere }), registered({ ...ost0, ...elsewhere })],
    events: [failed(mds), failed(ost0)],
    expected: ["mds other:2 up", "ost0 other:2 up"],
    raised: false,
  },
  {
    name: "a probe of a node whose address another has says nothing",
    before: [registered({ ...mds, nodeId: id("c") })],
    events: [failed(mds)],
    expected: ["mds host:1 up"],
    raised: false,
  },
  {
    name: "an answer of a node that is not known does not make it known",
    before: [],
    events: [succeeded(mds), succeeded(ost0)],
    expected: [],
    raised: false,
  },
  {
    name: "an mds that stops leaves, an OST stays and is down",
    before: [registered(mds), registered(ost0)],
    events: [unregistered(mds), unregistered(ost0)],
    expected: ["ost0 host:1 down"],
    raised: true,
  },
  {
    name: "stopping twice is stopping once",
    before: [registered(mds), registered(ost0), unregistered(mds), unregistered(ost0)],
    events: [unregistered(mds), unregistered(ost0)],
    expected: ["ost0 host:1 down"],
    raised: false,
  },
  {
    name: "a server that is down is kept for a while",
    before: [registered(mds), registered({ ...mds, role: "mgs" }), failed(mds)],
    events: [{ type: "timePassed" }],
    nowMs: limits.serverForgetMs - 1,
    expected: ["mgs host:1 up", "mds host:1 down"],
    raised: false,
  },
  {
    name: "a server that is down for long is forgotten, one that is up or an OST is not",
    before: [
      registered(mds),
      registered({ ...mds, role: "mgs" }),
      registered(ost0),
      failed(mds),
      failed(ost0),
    ],
    events: [{ type: "timePassed" }],
    nowMs: limits.serverForgetMs,
    expected: ["mgs host:1 up", "ost0 host:1 down"],
    raised: true,
  },
];

for (const { name, before, events, nowMs = 0, expected, raised } of transitions) {
  Deno.test(`applyEvents(): ${name}`, () => {
    const first = after(...before);
    const second = applyEvents(first, events, nowMs);
    assert.deepEqual(summary(second), expected);
    assert.equal(second.epoch, first.epoch + (raised ? 1 : 0));
  });
}

Deno.test("applyEvents() raises the epoch once for all events together", () => {
  assert.equal(after(registered(mds), registered(ost0), failed(mds)).epoch, 1);
});

Deno.test("applyEvents() keeps usage without raising the epoch", () => {
  const first = after(registered(ost0));
  const node = nodeOf(ost0);
  const second = applyEvents(first, [{ type: "probeSucceeded", node, usage }], 0);
  assert.deepEqual(second.usages.get(0), usage);
  assert.equal(second.epoch, first.epoch);
  const third = applyEvents(second, [{ type: "probeSucceeded", node, usage: { ...usage } }], 0);
  assert.equal(third.usages.get(0), second.usages.get(0), "an equal usage is no change");
});

Deno.test("applyEvents() keeps the records that did not change as they are", () => {
  const first = after(registered(mds), registered(ost0));
  const second = applyEvents(first, [registered(mds), failed(ost0)], 5);
  assert.equal(second.mds.get("host:1"), first.mds.get("host:1"));
  assert.equal(second.targets.get(0)?.downSinceMs, 5);
  assert.equal(first.targets.get(0)?.state, "up", "the state before is not touched");
});

const refusals: { name: string; before: ClusterEvent[]; event: Registration; message: RegExp }[] = [
  {
    name: "an index that another OST serves, naming who does",
    before: [registered(ost0)],
    event: { ...ost0, nodeId: id("c"), ...elsewhere },
    message: /^Cannot register OST 0 at "other:2": another directory serves .*host:1 on host/,
  },
  {
    name: "an index whose OST is down, saying what to do",
    before: [registered(ost0), failed(ost0)],
    event: { ...ost0, nodeId: id("c"), ...elsewhere },
    message: /host:1 on host and is down; start that one again/,
  },
  {
    name: "one directory under a second index",
    before: [registered(ost0)],
    event: { ...ost0, targetIndex: 5 },
    message: /^Cannot register OST 5 at "host:1": the same directory is OST 0$/,
  },
];

for (const { name, before, event, message } of refusals) {
  Deno.test(`applyEvents() refuses ${name}`, () => {
    const state = after(...before);
    assert.throws(
      () => applyEvents(state, [registered(mds), registered(event)], 0),
      (error) => isRustreError(error, "WRONG_TARGET") && message.test(error.message),
    );
  });
}

Deno.test("applyEvents() refuses an oss without an index", () => {
  const { targetIndex: _, ...withoutIndex } = ost0;
  assert.throws(
    () => after(registered(withoutIndex)),
    (error) => isRustreError(error, "BAD_REQUEST"),
  );
});

Deno.test("applyEvents() refuses servers and OSTs over the limits of a map", () => {
  const servers = Array.from(
    { length: limits.serversMax },
    (_, port) =>
      registered({
        ...mds,
        nodeId: port.toString(16).padStart(32, "0"),
        address: { host: "h", port },
      }),
  );
  assert.throws(
    () => after(...servers, registered(mds)),
    (error) => isRustreError(error, "ENOSPC"),
  );
  assert.equal(after(...servers).mds.size, limits.serversMax);
});

Deno.test("clusterMapOf() sorts OSTs by index and gives those without a probe no space", () => {
  const ost10 = registration({ role: "oss", nodeId: id("d"), targetIndex: 10, usage });
  const ost2 = registration({ role: "oss", nodeId: id("e"), targetIndex: 2 });
  const map = clusterMapOf(
    { clusterId: id("0"), clusterName: "c" },
    after(registered(ost10), registered(ost2), failed(ost2)),
  );
  assert.deepEqual(map.targets.map((each) => each.index), [2, 10]);
  assert.deepEqual(map.targets[1]?.usage, usage);
  assert.deepEqual(map.targets[0]?.usage, noUsage);
  assert.equal("downSinceMs" in (map.targets[0] ?? {}), false, "what is not of the map stays here");
});
