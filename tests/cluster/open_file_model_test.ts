// Random reads, writes, syncs, cuts and closes of one file against an array of bytes.

import assert from "node:assert/strict";
import * as fc from "fast-check";
import type { FileSystem, OpenFile } from "../../client/mod.ts";
import { limits } from "../../shared/limits.ts";
import { type TestCluster, withCluster } from "../support/cluster.ts";
import { checkProperty } from "../support/seed.ts";

const stripeBytes = limits.stripeBytesMin;
/** Several rows of stripes on three positions. */
const fileBytesMax = 8 * stripeBytes;

type Step =
  | { readonly what: "write"; readonly at: number; readonly length: number; readonly sync: boolean }
  | { readonly what: "read"; readonly at: number; readonly length: number }
  | { readonly what: "sync" | "reopen" | "restart" | "power cut" }
  | { readonly what: "writes at once"; readonly at: readonly number[]; readonly length: number }
  | { readonly what: "truncate"; readonly size: number };

/** Often next to where a stripe ends. */
const offset = fc.oneof(
  fc.nat({ max: fileBytesMax }),
  fc.tuple(fc.nat({ max: 7 }), fc.integer({ min: -2, max: 2 })).map(([stripe, delta]) =>
    Math.max(0, stripe * stripeBytes + delta)
  ),
);
const length = fc.oneof(
  fc.nat({ max: 10 }),
  fc.nat({ max: 3 * stripeBytes }),
  fc.constant(stripeBytes),
);

const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      what: fc.constant("write" as const),
      at: offset,
      length,
      sync: fc.boolean(),
    }),
  },
  { weight: 4, arbitrary: fc.record({ what: fc.constant("read" as const), at: offset, length }) },
  {
    weight: 2,
    arbitrary: fc.record({ what: fc.constantFrom("sync" as const, "reopen" as const) }),
  },
  {
    weight: 1,
    arbitrary: fc.record({ what: fc.constantFrom("restart" as const, "power cut" as const) }),
  },
  { weight: 2, arbitrary: fc.record({ what: fc.constant("truncate" as const), size: offset }) },
  {
    weight: 1,
    arbitrary: fc.record({
      what: fc.constant("writes at once" as const),
      at: fc.uniqueArray(fc.nat({ max: 7 }), { minLength: 2, maxLength: 5 }),
      length: fc.integer({ min: 1, max: stripeBytes }),
    }),
  },
);

class Model {
  #bytes = new Uint8Array(0);

  get length(): number {
    return this.#bytes.length;
  }

  write(at: number, bytes: Uint8Array): void {
    if (bytes.length === 0) return;
    if (at + bytes.length > this.#bytes.length) this.truncate(at + bytes.length);
    this.#bytes.set(bytes, at);
  }

  truncate(size: number): void {
    const before = this.#bytes;
    this.#bytes = new Uint8Array(size);
    this.#bytes.set(before.subarray(0, size));
  }

  read(at: number, length: number): Uint8Array {
    return this.#bytes.slice(at, at + length);
  }
}

class Run {
  readonly #cluster: TestCluster;
  readonly #fileSystem: FileSystem;
  readonly #model = new Model();
  #file: OpenFile;
  #fill = 0;

  constructor(cluster: TestCluster, fileSystem: FileSystem, file: OpenFile) {
    this.#cluster = cluster;
    this.#fileSystem = fileSystem;
    this.#file = file;
  }

  static async begin(cluster: TestCluster, isNew: boolean, replicas: number): Promise<Run> {
    const fileSystem = cluster.fileSystem();
    const layout = { stripeBytes, stripeCount: 3, replicas };
    if (isNew) return new Run(cluster, fileSystem, await fileSystem.create("/f", { layout }));
    await fileSystem.createEmpty("/f", { layout });
    return new Run(cluster, fileSystem, await fileSystem.openForWriting("/f"));
  }

  async take(step: Step): Promise<void> {
    switch (step.what) {
      case "write":
        return await this.#write(step.at, step.length, step.sync);
      case "writes at once":
        await Promise.all(step.at.map((at) => this.#write(at * stripeBytes, step.length, false)));
        return;
      case "read":
        return await this.#read(step.at, step.length);
      case "sync":
        return await this.#file.sync();
      case "reopen":
        return await this.#reopen();
      case "truncate":
        await this.#file.close();
        await this.#fileSystem.setAttributes("/f", { sizeBytes: step.size });
        this.#model.truncate(step.size);
        return await this.#open();
      case "restart":
      case "power cut":
        return await this.#restart(step.what === "power cut");
    }
  }

  /** What another client reads. */
  async end(): Promise<void> {
    await this.#file.close();
    await using file = await this.#cluster.fileSystem().open("/f");
    assert.equal(file.sizeBytes, this.#model.length);
    same(await file.read(0, file.sizeBytes), this.#model.read(0, this.#model.length));
  }

  async #write(at: number, length: number, sync: boolean): Promise<void> {
    const bytes = new Uint8Array(length).fill(1 + this.#fill++ % 255);
    await this.#file.write(at, bytes, { sync });
    this.#model.write(at, bytes);
  }

  async #read(at: number, length: number): Promise<void> {
    assert.equal(this.#file.sizeBytes, this.#model.length);
    same(await this.#file.read(at, length), this.#model.read(at, length));
  }

  async #reopen(): Promise<void> {
    await this.#file.close();
    await this.#open();
  }

  async #open(): Promise<void> {
    this.#file = await this.#fileSystem.openForWriting("/f");
  }

  /** Of one OST; what was synced before stays through a power cut as well. */
  async #restart(powerCut: boolean): Promise<void> {
    if (powerCut) await this.#file.sync();
    const index = this.#fill % this.#cluster.targets.length;
    await this.#cluster.crash(`oss${index}`);
    if (powerCut) this.#cluster.targets[index]!.disk.crash();
    await this.#cluster.startOss(index);
  }
}

function same(actual: Uint8Array, expected: Uint8Array): void {
  assert.equal(actual.length, expected.length);
  const at = actual.findIndex((byte, index) => byte !== expected[index]);
  assert.equal(at, -1, `byte ${at} is ${actual[at]} and should be ${expected[at]}`);
}

Deno.test("an open file holds what an array of bytes would hold", async () => {
  const steps = fc.array(step, { minLength: 1, maxLength: 25, size: "max" });
  const property = fc.asyncProperty(
    steps,
    fc.boolean(),
    fc.constantFrom(1, 2),
    (sequence, isNew, replicas) =>
      withCluster({ osts: 4 }, async (cluster) => {
        const run = await Run.begin(cluster, isNew, replicas);
        for (const each of sequence) await run.take(each);
        await run.end();
      }),
  );
  await checkProperty(property, { runs: 60 });
});
