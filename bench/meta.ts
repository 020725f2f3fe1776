// Metadata through the client library, against one mds, on the sqlite store where no other one is
// asked for; every change durable.

import type { FileSystem } from "../client/mod.ts";
import {
  type BenchCluster,
  median,
  operationsPerSecond,
  type Options,
  report,
  startCluster,
} from "./harness.ts";

const inFlight = 64;
/** The code of both processes is optimised while it runs: after so many operations it is steady. */
const warmUpFiles = 20_000;
/** In a second. */
const sqliteTargets = { creates: 15_000, stats: 40_000 };
const foundationDbTargets = { creates: 3_000, stats: 15_000 };
const caller = { uid: 0, gid: 0, groups: [] };

/** Creates, stats and listings in one directory, and the same with a million files there. */
export async function metadata({ large, store }: Options): Promise<boolean> {
  // A store that spans hosts is for roles that are processes of their own.
  const separate = store?.startsWith("fdb:") ?? false;
  await using server = await startCluster(store === undefined ? {} : { store, separate });
  await using cluster = server.connect();
  const fileSystem = cluster.fileSystem(caller);
  await warmUp(fileSystem);

  await fileSystem.mkdir("/d");
  let ok = await measure(server, fileSystem, { from: 0, count: 30_000, store });
  if (store !== undefined) return ok;
  await fill(fileSystem, 30_000, 100_000);
  ok = await measureListing(fileSystem, 100_000) && ok;
  if (large) ok = await measureGrowth(server, fileSystem) && ok;
  return ok;
}

async function warmUp(fileSystem: FileSystem): Promise<void> {
  await fileSystem.mkdir("/warm");
  const file = (index: number) => `/warm/file-${index}`;
  await operationsPerSecond(warmUpFiles, inFlight, (index) => fileSystem.createEmpty(file(index)));
  await operationsPerSecond(warmUpFiles, inFlight, (index) => fileSystem.stat(file(index)));
}

const fileName = (index: number) => `/d/file-${String(index).padStart(8, "0")}`;

async function measure(
  server: BenchCluster,
  fileSystem: FileSystem,
  { from, count, store }: { from: number; count: number; store: string | undefined },
): Promise<boolean> {
  const targets = store?.startsWith("fdb:") ? foundationDbTargets : sqliteTargets;
  const shared = { inFlight, ...(store === undefined ? {} : { store: store.split(":")[0] }) };
  const memoryBytes = () => server.serverMemoryBytes();
  const creates = await create(fileSystem, from, count);
  const created = report({
    bench: "meta.create",
    value: creates,
    unit: "ops/s",
    target: targets.creates,
    ...shared,
    serverMemoryBytes: memoryBytes(),
  });
  const stats = await statSpread(fileSystem, count, 2 * count);
  const looked = report({
    bench: "meta.stat",
    value: stats,
    unit: "ops/s",
    target: targets.stats,
    ...shared,
    serverMemoryBytes: memoryBytes(),
  });
  return created && looked;
}

function create(fileSystem: FileSystem, from: number, count: number): Promise<number> {
  return operationsPerSecond(
    count,
    inFlight,
    (index) => fileSystem.createEmpty(fileName(from + index)),
  );
}

/** Stats `sample` of the first `total` files, spread over all of them. */
function statSpread(fileSystem: FileSystem, total: number, sample: number): Promise<number> {
  // A prime, so that the steps meet every file before one twice.
  const step = 611_953;
  return operationsPerSecond(
    sample,
    inFlight,
    (index) => fileSystem.stat(fileName((index * step) % total)),
  );
}

async function fill(fileSystem: FileSystem, from: number, to: number): Promise<void> {
  await create(fileSystem, from, to - from);
}

async function measureListing(fileSystem: FileSystem, expected: number): Promise<boolean> {
  const startMs = performance.now();
  let count = 0;
  for await (const _entry of fileSystem.readdir("/d")) count++;
  const seconds = (performance.now() - startMs) / 1000;
  if (count !== expected) throw new Error(`The listing has ${count} of ${expected} entries`);
  const shared = { unit: "s", target: 2, lowerIsBetter: true, entries: count };
  return report({ bench: "meta.list", value: seconds, ...shared });
}

/** What an operation costs with a million files in the store, against the cost with few. */
async function measureGrowth(server: BenchCluster, fileSystem: FileSystem): Promise<boolean> {
  const sample = 10_000;
  const many = 1_000_000;
  await using small = await startCluster();
  await using smallCluster = small.connect();
  const few = smallCluster.fileSystem(caller);
  await warmUp(few);
  await few.mkdir("/d");
  await fill(few, 0, sample);
  await fill(fileSystem, 100_000, many);

  // In turns, so that both see the same machine.
  const costs = { create: [] as number[], stat: [] as number[] };
  for (let round = 0; round < 5; round++) {
    const offset = round * sample;
    const fewCreates = await create(few, sample + offset, sample);
    const manyCreates = await create(fileSystem, many + offset, sample);
    costs.create.push(fewCreates / manyCreates);
    const fewStats = await statSpread(few, sample, 2 * sample);
    const manyStats = await statSpread(fileSystem, many, 2 * sample);
    costs.stat.push(fewStats / manyStats);
  }
  const shared = { unit: "times", target: 1.3, lowerIsBetter: true };
  const createOk = report({ bench: "meta.create.growth", value: median(costs.create), ...shared });
  const statOk = report({
    bench: "meta.stat.growth",
    value: median(costs.stat),
    ...shared,
    serverMemoryBytes: server.serverMemoryBytes(),
    smallServerMemoryBytes: small.serverMemoryBytes(),
  });
  return createOk && statOk;
}
