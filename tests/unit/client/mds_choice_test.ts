import assert from "node:assert/strict";
import { MdsChoice } from "../../../client/mds_choice.ts";
import { RustreError } from "../../../shared/errors.ts";
import { limits } from "../../../shared/limits.ts";
import type { ClusterMap } from "../../../shared/model.ts";

function mapOf(...states: ("up" | "down")[]): ClusterMap {
  const mds = states.map((state, index) => ({
    nodeId: String(index).repeat(32),
    address: { host: `mds${index}`, port: 1 },
    hostName: `mds${index}`,
    version: "test",
    state,
  }));
  return { clusterId: "c".repeat(32), clusterName: "test", epoch: 1, mgs: [], mds, targets: [] };
}

function choiceAt(spread: number) {
  let nowMs = 0;
  const clock = { nowMs: () => nowMs, monotonicMs: () => nowMs, setTimer: () => () => {} };
  const pass = (delayMs: number) => void (nowMs += delayMs);
  return { choice: new MdsChoice(clock, spread), pass };
}

const lost = new RustreError("CONNECTION_LOST", "gone");

Deno.test("MdsChoice keeps to one mds, another one for each client, and the next with each try", () => {
  const map = mapOf("up", "up", "up");
  for (const spread of [0, 1, 2, 3]) {
    const { choice } = choiceAt(spread);
    const hosts = [0, 0, 1, 2, 3].map((each) => choice.choose(map, each).address.host);
    const host = (index: number) => `mds${(spread + index) % 3}`;
    assert.deepEqual(hosts, [0, 0, 1, 2, 3].map(host));
    assert.deepEqual([0, 1, 2].map((each) => choice.choose(map, each).isReplaceable), [
      true,
      true,
      false,
    ]);
  }
});

Deno.test("MdsChoice passes by one that failed for a while, if there is another", () => {
  const { choice, pass } = choiceAt(0);
  const map = mapOf("up", "up");
  const [first, second] = map.mds.map(({ address }) => address);
  choice.noteFailure(first!, lost);
  for (const tryNumber of [0, 1, 2]) {
    assert.deepEqual(choice.choose(map, tryNumber).address, second);
  }
  choice.noteFailure(second!, lost);
  assert.deepEqual(choice.choose(map, 0).address, first, "all have failed");
  pass(limits.mdsAvoidMs);
  assert.deepEqual(choice.choose(map, 0).address, first);
  choice.noteFailure(first!, new RustreError("ENOENT", "that is an answer"));
  choice.noteFailure(first!, new RustreError("CONFLICT", "and so is that"));
  assert.deepEqual(choice.choose(map, 0).address, first);
});

Deno.test("MdsChoice asks those that the map calls up, and without any the others", () => {
  const { choice } = choiceAt(0);
  assert.equal(choice.choose(mapOf("down", "up"), 0).address.host, "mds1");
  assert.equal(choice.choose(mapOf("down", "up"), 0).isReplaceable, false);
  assert.equal(choice.choose(mapOf("down", "down"), 1).address.host, "mds1");
  assert.throws(() => choice.choose(mapOf(), 0), { code: "UNREACHABLE" });
});
