import assert from "node:assert/strict";
import { ClusterMapCache } from "../../shared/cluster_map.ts";
import { type ErrorCode, isRustreError, RustreError } from "../../shared/errors.ts";
import { limits } from "../../shared/limits.ts";
import { Registration } from "../../shared/registration.ts";
import type { WorkerSelf } from "../../shared/workers/peers.ts";
import { FakeWorld, mapOf } from "../support/fake_mgs.ts";
import { WorkerHub } from "../support/worker_hub.ts";

const nodeId = "a".repeat(32);

/** What the mgs has heard, and says. */
interface FakeMgs {
  /** "register", "unregister" */
  readonly heard: string[];
  /** What register answers next; absent: accepted. */
  refuse: RustreError | undefined;
}

interface Setup extends Pick<FakeMgs, "heard"> {
  readonly world: FakeWorld;
  readonly registration: Registration;
  readonly maps: ClusterMapCache;
  readonly mgs: FakeMgs;
}

function registrationTest(name: string, test: (setup: Setup) => Promise<void>): void {
  Deno.test(name, async () => {
    const world = new FakeWorld();
    await world.run(async () => {
      const mgs: FakeMgs = { heard: [], refuse: undefined };
      await startMgs(world, mgs);
      const maps = newMaps(world);
      const registration = newRegistration(world, maps);
      await test({ world, registration, maps, mgs, heard: mgs.heard });
    });
  });
}

function newMaps(world: FakeWorld): ClusterMapCache {
  return world.use(
    new ClusterMapCache({
      environment: world.environment("node"),
      rpc: world.rpc(),
      mgs: [{ host: "mgs0", port: 9400 }],
      log: world.log.logger,
      refreshMs: 1_000,
    }),
  );
}

function newRegistration(
  world: FakeWorld,
  maps: ClusterMapCache,
  worker?: WorkerSelf,
): Registration {
  const environment = world.environment("node");
  const describe = () => ({
    role: "mds" as const,
    nodeId,
    address: { host: "node", port: 1 },
    hostName: "node",
    version: "1",
  });
  const log = world.log.logger;
  return world.use(new Registration({ environment, maps, describe, log, worker }));
}

function startMgs(world: FakeWorld, mgs: FakeMgs) {
  return world.startMgs({
    getMap: () => Promise.resolve({ map: mapOf(1) }),
    register() {
      mgs.heard.push("register");
      return mgs.refuse ? Promise.reject(mgs.refuse) : Promise.resolve({ epoch: 1 });
    },
    unregister() {
      mgs.heard.push("unregister");
      return Promise.resolve({});
    },
  });
}

Deno.test("of the workers of a node one registers, whichever is probed, and says that it leaves", async () => {
  const world = new FakeWorld();
  await world.run(async () => {
    const mgs: FakeMgs = { heard: [], refuse: undefined };
    await startMgs(world, mgs);
    const hub = new WorkerHub(3);
    const workers = [0, 1, 2].map((index) => {
      const maps = newMaps(world);
      const worker = hub.worker(index);
      return { maps, registration: newRegistration(world, maps, worker) };
    });
    for (const { registration } of workers) {
      registration.start();
      await registration.registered;
    }
    const epochs = workers.map(({ maps }) => {
      const noticed: number[] = [];
      maps.noticeEpoch = (epoch) => void noticed.push(epoch);
      return noticed;
    });
    for (let second = 0; second < 30; second++) {
      workers[1 + second % 2]!.registration.probed(probe);
      await world.sleep(1_000);
    }
    assert.deepEqual(mgs.heard, ["register"]);
    assert.deepEqual(epochs.map(({ length }) => length), [30, 30, 30], "all learn the epoch");
    for (const { registration } of workers.toReversed()) await registration.close();
    assert.deepEqual(mgs.heard, ["register", "unregister"]);
  });
});

const probe = { epoch: 1, mgs: [{ host: "mgs0", port: 9400 }] };

registrationTest("Registration registers once while it is probed", async (setup) => {
  const { registration, world, heard } = setup;
  registration.start();
  await registration.registered;
  for (let second = 0; second < 30; second++) {
    assert.deepEqual(registration.probed(probe), { nodeId });
    await world.sleep(1_000);
  }
  assert.deepEqual(heard, ["register"]);
});

registrationTest(
  "Registration registers again when nobody has probed for a while",
  async (setup) => {
    const { registration, world, heard } = setup;
    registration.start();
    await registration.registered;
    await world.sleep(limits.probeSilenceMs - 100);
    assert.equal(heard.length, 1);
    await world.sleep(limits.registerIntervalMs + 200);
    assert.equal(heard.length, 2);
    assert.deepEqual(world.log.lines, ["info Registered"], "a repetition is no news");
  },
);

registrationTest(
  "Registration.probed() learns of a newer map",
  async ({ registration, maps, world }) => {
    await maps.get();
    registration.probed({ epoch: 2, mgs: [{ host: "mgs7", port: 9400 }] });
    assert(maps.mgsAddresses().some((address) => address.host === "mgs7"));
    await world.sleep(10);
  },
);

registrationTest(
  "Registration goes on until an mgs accepts, and says each reason once",
  async (setup) => {
    const { registration, world, heard } = setup;
    setup.mgs.refuse = new RustreError("ADDRESS_UNREACHABLE", "Cannot register: no way");
    registration.start();
    await world.sleep(10_500);
    assert.equal(heard.length, 11);
    setup.mgs.refuse = undefined;
    await registration.registered;
    assert.deepEqual(world.log.lines, ["warn Cannot register, trying on", "info Registered"]);
  },
);

const forGood: ErrorCode[] = ["WRONG_TARGET", "EINVAL", "WRONG_CLUSTER", "BAD_REQUEST"];
for (const code of forGood) {
  registrationTest(`Registration that is refused with ${code} ends`, async (setup) => {
    const { registration, world, heard } = setup;
    setup.mgs.refuse = new RustreError(code, "Cannot register: never");
    registration.start();
    await assert.rejects(
      registration.registered,
      (error) => isRustreError(error, code) && error.message === "Cannot register: never",
    );
    await world.sleep(10_000);
    await registration.close();
    assert.deepEqual(heard, ["register"]);
  });
}

registrationTest(
  "Registration that was accepted once goes on although it is refused",
  async (setup) => {
    const { registration, world, heard } = setup;
    registration.start();
    await registration.registered;
    setup.mgs.refuse = new RustreError("WRONG_TARGET", "Cannot register: never");
    await world.sleep(10_000);
    assert(heard.length > 2);
    setup.mgs.refuse = undefined;
    await world.sleep(1_500);
    assert.equal(world.log.lines.at(-1), "info Registered");
  },
);

registrationTest("Registration.close() unregisters", async ({ registration, heard }) => {
  registration.start();
  await registration.registered;
  await registration.close();
  await registration.close();
  assert.deepEqual(heard, ["register", "unregister"]);
});

registrationTest("Registration.close() says nothing where nothing was said", async (setup) => {
  await setup.registration.close();
  assert.deepEqual(setup.heard, []);
});

registrationTest("Registration.close() does not wait for an mgs that hangs", async (setup) => {
  const { registration, world } = setup;
  registration.start();
  await registration.registered;
  world.network.freeze("mgs0");
  const startMs = world.clock.monotonicMs();
  await registration.close();
  assert(world.clock.monotonicMs() - startMs <= limits.unregisterTimeoutMs + limits.callSweepMs);
  world.network.freeze("mgs0", false);
});
