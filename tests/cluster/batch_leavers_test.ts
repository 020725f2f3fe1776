// Files that many make at once under names that several want, while some leave in the middle, replies
// are lost and an mds dies: what was acknowledged is there, each name was given once.

import assert from "node:assert/strict";
import type { FileSystem } from "../../client/mod.ts";
import { isRustreError } from "../../shared/errors.ts";
import { mdsService } from "../../shared/protocol/mds.ts";
import { root as caller, type TestCluster, withCluster } from "../support/cluster.ts";
import { LossyTransport } from "../support/lossy_transport.ts";
import { seeded, testSeed } from "../support/seed.ts";
import { SeededRandom } from "../support/seeded_random.ts";

const names = 300;
/** Each name is wanted by so many, of both clients. */
const makersOfName = 4;
const makersAtOnce = 60;

/** No two have the same length, so a length tells whose the file is. */
function contentOf(maker: number): Uint8Array {
  return new Uint8Array(100 + maker).fill(1 + maker % 250);
}

async function make(fileSystem: FileSystem, maker: number, signal?: AbortSignal) {
  const path = `/file-${maker % names}`;
  const file = await fileSystem.create(path, { signal });
  try {
    await file.write(0, contentOf(maker), { sync: true, signal });
    await file.close({ signal });
  } finally {
    await file.abandon();
  }
}

type Outcome = "made" | "left" | "taken";

async function outcomeOf(making: Promise<void>): Promise<Outcome> {
  try {
    await making;
    return "made";
  } catch (error) {
    if (isRustreError(error, "INTERRUPTED")) return "left";
    if (isRustreError(error, "EEXIST")) return "taken";
    throw error;
  }
}

async function makeAll(
  cluster: TestCluster,
  clients: readonly FileSystem[],
  random: SeededRandom,
): Promise<Outcome[]> {
  const outcomes: Outcome[] = [];
  let next = 0;
  await Promise.all(Array.from({ length: makersAtOnce }, async () => {
    while (next < names * makersOfName) {
      const maker = next++;
      const leaving = new AbortController();
      if (random.below(4) === 0) {
        cluster.clock.setTimer(() => leaving.abort(), random.below(40));
      }
      const client = clients[random.below(clients.length)]!;
      outcomes[maker] = await outcomeOf(make(client, maker, leaving.signal));
    }
  }));
  return outcomes;
}

/** An acknowledged file is there, and another one only where its maker left without knowing. */
async function check(fileSystem: FileSystem, outcomes: readonly Outcome[]): Promise<void> {
  for (let name = 0; name < names; name++) {
    const makers = Array.from({ length: makersOfName }, (_, index) => name + index * names);
    const winners = makers.filter((maker) => outcomes[maker] === "made");
    assert(winners.length <= 1, `/file-${name} was made by ${winners}`);
    if (!await fileSystem.find(`/file-${name}`)) {
      assert(makers.every((maker) => outcomes[maker] === "left"), `/file-${name} is not there`);
      continue;
    }
    await using file = await fileSystem.open(`/file-${name}`);
    const maker = file.sizeBytes - contentOf(0).length;
    assert.deepEqual(await file.read(0, file.sizeBytes), contentOf(maker));
    const isHis = winners.length === 0 ? outcomes[maker] === "left" : winners[0] === maker;
    assert(isHis && maker % names === name, `/file-${name} is of ${maker}, not of ${winners}`);
  }
}

async function makeWithFaults(): Promise<void> {
  const random = new SeededRandom(testSeed);
  await withCluster({ seed: testSeed, commitJitter: testSeed }, async (cluster) => {
    await cluster.startMds("mds1");
    await cluster.allUp();
    const networks = ["a", "b"].map((host) => new LossyTransport(cluster.network.transport(host)));
    const clients = networks.map((transport, index) =>
      cluster.connect("ab"[index], { transport }).fileSystem(caller)
    );
    const harm = async () => {
      await cluster.sleep(20);
      for (const network of networks) network.loseReplies(mdsService.methods.batch.opcode, 3);
      await cluster.sleep(40);
      await cluster.crash(`mds${random.below(2)}`);
    };
    const [outcomes] = await Promise.all([makeAll(cluster, clients, random), harm()]);
    for (const network of networks) assert(network.lost.length > 0);
    for (const what of ["made", "left", "taken"]) assert(outcomes.includes(what as Outcome), what);
    await check(cluster.fileSystem(), outcomes);
  });
}

Deno.test("files that are made together are each made once, whoever leaves", () =>
  seeded(makeWithFaults));
