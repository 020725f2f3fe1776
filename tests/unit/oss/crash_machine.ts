// The file store on a disk that crashes at any operation, process after process: what crash_test.ts
// runs. After each crash whatever had been synced is there, every change happened as a whole or not,
// and no checksum is wrong, neither of right bytes nor of others.

import assert from "node:assert/strict";
import type { CheckpointSizes } from "../../../oss/checkpointer.ts";
import { FileObjectStore } from "../../../oss/file_store.ts";
import type { ObjectStore } from "../../../oss/object_store.ts";
import { checksumsOf } from "../../../shared/checksums.ts";
import { isRustreError } from "../../../shared/errors.ts";
import { limits } from "../../../shared/limits.ts";
import { CrashDisk, type DiskOperation } from "../../support/crash_disk.ts";
import { taken, writeBytes } from "../../support/object_bytes.ts";
import {
  type Change,
  type Content,
  inodeOf,
  InodesInUse,
  inodesOf,
  isSame,
  ObjectHistories,
  oneOfEach,
  SomeChanges,
} from "../../support/object_history.ts";
import { SeededRandom } from "../../support/seeded_random.ts";
import { SleepingClock } from "../../support/sleeping_clock.ts";
import type { Action, Script } from "./crash_scripts.ts";

const directory = "/ost";
/** So small that checkpoints happen all the time; and so large that they do not. */
const checkpointSizes: readonly CheckpointSizes[] = [
  {
    ...{ segmentBytes: 150_000, journalBytes: 400_000, changedObjects: 3, batch: 2 },
    filledBytes: 500_000,
  },
  {
    ...{ segmentBytes: 300_000, journalBytes: 10_000_000, changedObjects: 100, batch: 2 },
    filledBytes: 10_000_000,
  },
];
const livesOfDisk = 10;
const roundsOfLife = 30;
/** About how many operations of the disk a life takes. */
const operationsOfLife = 300;
/** What is rare, and what matters in which order it is done. */
const rareOperations: readonly DiskOperation[] = [
  ...["create", "rename", "rename", "remove", "truncate", "sync", "syncDirectory"] as const,
  ...["attribute", "attribute"] as const,
];

/** What runs on other threads and may take long. */
const slowOperations: readonly DiskOperation[] = ["read", "write", "sync", "syncDirectory", "list"];

export type CrashKind = "kill" | "power loss";

/** A clock by which some writes take long, so that the next ones are not waited for in one step. */
class SlowClock extends SleepingClock {
  #elapsedMs = 0;
  readonly #random: SeededRandom;

  constructor(random: SeededRandom) {
    super();
    this.#random = random;
  }

  override monotonicMs(): number {
    return this.#elapsedMs += this.#random.below(4) === 0 ? limits.slowWriteMs + 1 : 0;
  }
}

/** One process after the other on one disk, each of which ends with a crash. */
class Machine {
  readonly disk: CrashDisk;
  /** Whether the last script came to a crash. */
  hasCrashed = false;
  readonly #random: SeededRandom;
  readonly #histories = new ObjectHistories();
  readonly #inodes = new InodesInUse();
  /** How a crash may be. */
  readonly #kinds: readonly CrashKind[];
  readonly #underWay = new Set<Change>();
  readonly #clock: SlowClock;
  /** Inodes whose destroy met a full disk: of their objects anything may be left until it succeeds. */
  readonly #halfDestroyed = new Set<number>();
  /** Whether a crash since the last check was one of power. */
  #lostPower = false;

  constructor(seed: number, kinds: readonly CrashKind[]) {
    this.#random = new SeededRandom(seed);
    this.#kinds = kinds;
    this.#clock = new SlowClock(new SeededRandom(seed + 2));
    this.disk = new CrashDisk(new SeededRandom(seed + 1), directory);
    this.disk.hasAttributes = seed % 4 !== 3;
  }

  async run(): Promise<void> {
    for (let life = 0; life < livesOfDisk; life++) {
      await this.#live();
      this.#crash();
      await this.#crashStarts(this.#random.below(3));
      await using store = await this.#open(1);
      await this.#check(store);
    }
    await this.#checkThatNothingIsLeft();
  }

  /** A process that takes these steps, and crashes before that operation. */
  async runScript({ shards, steps }: Script, crashAt: number): Promise<void> {
    const stores = await this.#start(shards, checkpointSizes[1]!);
    this.#slowDown();
    this.disk.crashAt = this.disk.operations + crashAt;
    await this.#unlessCrashed(async () => {
      for (const step of steps) {
        await allOf(step.map(async (each) => {
          for (const action of [each].flat()) await this.#act(stores, action);
        }));
      }
    });
    this.hasCrashed = this.disk.operations >= this.disk.crashAt;
    await this.#stop(stores);
    this.#crash();
    await this.#crashStarts(this.#random.below(2));
    await using store = await this.#open(1);
    await this.#check(store);
  }

  /** What a start has found is on disk when it has ended: the journal that had it is gone. */
  async checkThatFoundLasts(): Promise<void> {
    this.disk.losePower();
    await using store = await this.#open(1);
    for (const object of this.#histories.objects) {
      const found = await contentOf(store, object);
      assert.ok(
        isSame(found, this.#histories.contentOf(object)),
        `${object} was only in the cache`,
      );
    }
  }

  async #act(stores: readonly ObjectStore[], action: Action): Promise<void> {
    switch (action) {
      case "checkpoint":
        return await this.#clock.pass(limits.checkpointIntervalMs);
      case "pause":
        for (let turn = 0; turn < 50; turn++) await undefined;
        return;
      case "full":
      case "not full":
        this.disk.isFull = action === "full";
        return;
      case "some attributes":
        this.disk.refusesAttributes = true;
        return;
      case "a sync fails":
        this.disk.failingSyncs++;
        return;
      default:
        return await this.#carryOut(stores, action);
    }
  }

  // ── crashes ──────────────────────────────────────────────────────────────────────────────────

  /** At any operation, or soon after one that is rare. */
  #crashWithin(operations: number): void {
    const { disk } = this;
    const rare = rareOperations[this.#random.below(2 * rareOperations.length)];
    if (!rare) {
      disk.crashAt = disk.operations + 1 + this.#random.below(operations);
      return;
    }
    let count = 1 + this.#random.below(operations / 10);
    const after = this.#random.below(3);
    disk.crashAt = Infinity;
    disk.onOperation = (operation) => {
      if (operation === rare && --count === 0) disk.crashAt = disk.operations + after;
    };
  }

  /** The start that repeats the journal crashes, too. */
  async #crashStarts(count: number): Promise<void> {
    for (let start = 0; start < count; start++) {
      this.#crashWithin(50);
      await this.#unlessCrashed(async () => await (await this.#open(1)).close());
      this.#crash();
    }
  }

  #crash(): void {
    this.disk.onOperation = () => {};
    if (this.#kinds[this.#random.below(this.#kinds.length)] === "kill") {
      this.disk.endProcess();
    } else {
      this.disk.losePower();
      this.#lostPower = true;
    }
  }

  /** Only the crash is an error here. */
  async #unlessCrashed(action: () => Promise<void>): Promise<void> {
    try {
      await action();
    } catch (error) {
      if (this.disk.operations < this.disk.crashAt) throw error;
    }
  }

  // ── a process ────────────────────────────────────────────────────────────────────────────────

  #open(count: number, index = 0, sizes = checkpointSizes[0]!): Promise<FileObjectStore> {
    const random = new SeededRandom(this.#random.uint32());
    return FileObjectStore.open({
      directory,
      targetIndex: 3,
      random,
      clock: this.#clock,
      files: this.disk,
      openObjectsMax: 3,
      checkpointSizes: sizes,
      shard: { count, index },
    });
  }

  #slowDown(): void {
    this.disk.slow = new Set(slowOperations.filter(() => this.#random.below(3) === 0));
  }

  /** As an oss with so many workers does it. */
  async #start(shards: number, sizes: CheckpointSizes): Promise<ObjectStore[]> {
    await (await this.#open(1)).close();
    const stores: ObjectStore[] = [];
    for (let index = 0; index < shards; index++) {
      stores.push(await this.#open(shards, index, sizes));
    }
    return stores;
  }

  /** Nothing of it gets to the disk. */
  async #stop(stores: readonly ObjectStore[]): Promise<void> {
    const { disk } = this;
    disk.isFull = false;
    disk.onOperation = () => {};
    disk.crashAt = Math.min(disk.crashAt, disk.operations + 1);
    for (const store of stores) await store.close();
  }

  /** Changes until the crash, or until there were enough of them. */
  async #live(): Promise<void> {
    const some = new SomeChanges(this.#random);
    if (this.#random.below(2) > 0) this.#inodes.renew();
    this.#slowDown();
    const sizes = checkpointSizes[this.#random.below(2)]!;
    const stores = await this.#start(1 + this.#random.below(2), sizes);
    this.#crashWithin(operationsOfLife);
    await this.#unlessCrashed(async () => {
      for (let round = 0; round < roundsOfLife; round++) {
        // After a kill the system would have bytes that the disk never gets.
        const maySyncFail = !this.#kinds.includes("kill");
        if (maySyncFail && this.#random.below(8) === 0) this.disk.failingSyncs++;
        this.disk.isFull = !maySyncFail && this.#random.below(12) === 0;
        this.disk.refusesAttributes = this.#random.below(12) === 0;
        // Time for a checkpoint, and for another try of one that failed.
        if (this.#random.below(6) === 0) await this.#clock.pass(limits.checkpointIntervalMs);
        const changes = Array.from({ length: 1 + this.#random.below(3) }, () => {
          return some.next(this.#inodes.objects, this.#histories);
        });
        await allOf([
          ...oneOfEach(changes).map((change) => this.#carryOut(stores, change)),
          this.#readOne(stores, changes),
        ]);
      }
    });
    await this.#stop(stores);
  }

  async #carryOut(stores: readonly ObjectStore[], change: Change): Promise<void> {
    const acknowledged = this.#histories.begin(change);
    this.#underWay.add(change);
    try {
      await this.#ask(stores, change);
    } catch (error) {
      if (!isRustreError(error, "ENOSPC", "EIO") || this.disk.operations >= this.disk.crashAt) {
        throw error;
      }
      // One that failed has not happened.
      this.#underWay.delete(change);
      if (change.kind !== "destroy") return;
      this.disk.isFull = false;
      return await this.#carryOut(stores, change);
    }
    acknowledged();
    this.#underWay.delete(change);
    if (change.kind !== "destroy") return;
    this.#inodes.destroyed(change.ino);
    this.#halfDestroyed.delete(change.ino);
  }

  async #ask(stores: readonly ObjectStore[], change: Change): Promise<void> {
    const storeOf = (ino: number) => stores[ino % stores.length]!;
    switch (change.kind) {
      case "write": {
        const { object, offsetBytes, bytes } = change;
        return await writeBytes(storeOf(inodeOf(object)), object, offsetBytes, bytes);
      }
      case "extend":
      case "cut": {
        const { object, lengthBytes, kind } = change;
        return await storeOf(inodeOf(object)).resize(object, lengthBytes, kind);
      }
      case "destroy":
        // Without space for a record the files go before it.
        if (this.disk.isFull) this.#halfDestroyed.add(change.ino);
        return void await storeOf(change.ino).destroy([change.ino]);
      case "sync": {
        const present = change.objects.filter((object) => this.#histories.contentOf(object));
        const groups = Map.groupBy(present, (object) => storeOf(inodeOf(object)));
        await Promise.all([...groups].map(([store, objects]) => store.sync(objects)));
      }
    }
  }

  /** While others are being changed. */
  async #readOne(stores: readonly ObjectStore[], changes: readonly Change[]): Promise<void> {
    const changed = new Set(changes.flatMap((change) => inodesOf(change)));
    const object = this.#inodes.objects.find((each) => !changed.has(inodeOf(each)));
    if (object === undefined) return;
    const store = stores[inodeOf(object) % stores.length]!;
    let found: Content;
    try {
      found = await contentOf(store, object);
    } catch (error) {
      // A sync of it has failed.
      if (!this.#kinds.includes("kill") && isRustreError(error, "EIO")) return;
      throw error;
    }
    assert.ok(isSame(found, this.#histories.contentOf(object)), `${object} reads as it is not`);
  }

  // ── what is found ────────────────────────────────────────────────────────────────────────────

  async #check(store: ObjectStore): Promise<void> {
    const histories = this.#histories;
    const underWay = [...this.#underWay];
    await store.destroy([...this.#halfDestroyed]);
    for (const ino of this.#halfDestroyed) histories.begin({ kind: "destroy", ino })();
    this.#halfDestroyed.clear();
    const present: { object: string; lengthBytes: number }[] = [];
    for (const object of histories.objects) {
      const found = await contentOf(store, object);
      const isPossible = this.#lostPower
        ? histories.isAfterPowerLoss(object, found, underWay)
        : histories.isAfterKill(object, found, underWay);
      assert.ok(isPossible, `${object} is what it never was`);
      histories.hasFound(object, found);
      if (found) present.push({ object, lengthBytes: found.length });
    }
    for (const change of underWay) {
      if (change.kind === "destroy") this.#inodes.destroyed(change.ino);
    }
    this.#underWay.clear();
    this.#lostPower = false;
    assert.deepEqual(inOrder(await store.list(undefined, 1000)), inOrder(present), "the list");
    const { usedBytes, objects } = store.usage();
    const presentBytes = present.reduce((sum, { lengthBytes }) => sum + lengthBytes, 0);
    assert.deepEqual({ usedBytes, objects }, { usedBytes: presentBytes, objects: present.length });
    await this.#destroyUnused(store);
  }

  /** What was left by lives before is no longer of interest. */
  async #destroyUnused(store: ObjectStore): Promise<void> {
    const inUse = new Set(this.#inodes.objects.map(inodeOf));
    for (const ino of new Set(this.#histories.objects.map(inodeOf))) {
      if (inUse.has(ino)) continue;
      await store.destroy([ino]);
      this.#histories.begin({ kind: "destroy", ino })();
    }
  }

  /** What failed and what was lost has left nothing that a destroy does not find. */
  async #checkThatNothingIsLeft(): Promise<void> {
    const store = await this.#open(1);
    await store.destroy([...new Set(this.#histories.objects.map(inodeOf))]);
    this.disk.crashAt = this.disk.operations + 1;
    await store.close();
    this.disk.losePower();
    await (await this.#open(1)).close();
    const left = this.disk.paths().filter((path) => path.startsWith(`${directory}/objects/`));
    assert.deepEqual(left, []);
  }
}

/** Waits for all, also where one fails. */
async function allOf(tasks: readonly Promise<void>[]): Promise<void> {
  for (const ended of await Promise.allSettled(tasks)) {
    if (ended.status === "rejected") throw ended.reason;
  }
}

function inOrder(objects: readonly { object: string; lengthBytes: number }[]) {
  return [...objects].sort((a, b) => a.object < b.object ? -1 : 1);
}

/** Read in every way; nothing of it may look damaged. */
async function contentOf(store: ObjectStore, object: string): Promise<Content> {
  const lengthBytes = await store.stat(object);
  if (lengthBytes === undefined) return undefined;
  assert.deepEqual(await store.verify(object, 0, lengthBytes), [], `${object} looks damaged`);
  const [verified, unverified] = [
    taken(await store.read(object, 0, lengthBytes, { verified: true })),
    taken(await store.read(object, 0, lengthBytes, { verified: false })),
  ];
  for (const { bytes, checksums } of [verified, unverified]) {
    assert.equal(bytes.length, lengthBytes);
    assert.deepEqual(checksums, checksumsOf(0, bytes), `${object} has wrong checksums`);
  }
  assert.ok(Buffer.compare(verified.bytes, unverified.bytes) === 0, `${object} reads in two ways`);
  return new Uint8Array(verified.bytes);
}

/** Throws where a store breaks its promises on a disk with these crashes. */
export async function testCrashes(
  seed: number,
  kinds: readonly CrashKind[],
  lies: CrashDisk["lies"] = () => false,
): Promise<void> {
  const machine = new Machine(seed, kinds);
  machine.disk.lies = lies;
  try {
    await machine.run();
  } catch (error) {
    const { message } = error as Error;
    throw new Error(`seed ${seed}, ${kinds.join(" or ")}: ${message}`, { cause: error });
  }
}

/** The same with a crash before each operation of a script; every loss of power is another one. */
export async function testScript(
  script: Script,
  kinds: readonly CrashKind[],
  losses: number,
): Promise<void> {
  let isOver = false;
  for (let crashAt = 1; !isOver; crashAt++) {
    for (let seed = 0; seed < losses; seed++) {
      const machine = new Machine(seed, kinds);
      try {
        await machine.runScript(script, crashAt);
        await machine.checkThatFoundLasts();
      } catch (error) {
        const { message } = error as Error;
        throw new Error(`loss ${seed}, crash before ${crashAt}: ${message}`, { cause: error });
      }
      isOver = !machine.hasCrashed;
    }
  }
}
