import assert from "node:assert/strict";
import {
  isOfSameProcess,
  isPredecessor,
  workerId,
  type WorkerPlace,
} from "../../../shared/workers/peers.ts";

const place = (index: number, generation: number, process = "p1"): WorkerPlace => ({
  process,
  index,
  count: 3,
  generation,
});

Deno.test("isPredecessor() knows the workers whose place one has taken, and no others", () => {
  const self = place(1, 10);
  for (const generation of [1, 2, 9]) {
    assert(isPredecessor(self, `${workerId(place(1, generation))} 127.0.0.1:9400`));
  }
  for (const other of [place(1, 10), place(1, 11), place(2, 1), place(1, 1, "p2"), place(11, 1)]) {
    assert(!isPredecessor(self, `${workerId(other)} 127.0.0.1:9400`), workerId(other));
  }
  assert(!isPredecessor(self, "0123456789abcdef 127.0.0.1:9400"));
});

Deno.test("isOfSameProcess() tells the workers of a process from all others", () => {
  assert(isOfSameProcess(place(0, 1), workerId(place(2, 7))));
  assert(!isOfSameProcess(place(0, 1), workerId(place(2, 7, "p2"))));
  assert(!isOfSameProcess(place(0, 1), workerId(place(2, 7, "p11"))));
});
