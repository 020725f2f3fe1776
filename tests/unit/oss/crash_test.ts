// The file store on a disk that crashes at every operation: whatever had been synced is there, every
// change happened as a whole or not, and no checksum is wrong, neither of right bytes nor of others.

import assert from "node:assert/strict";
import { FileObjectStore } from "../../../oss/file_store.ts";
import { checksumsOf } from "../../../shared/checksums.ts";
import { payloadBytesOf } from "../../../shared/environment.ts";
import { objectId, parseObjectId } from "../../../shared/layout.ts";
import { CrashDisk } from "../../support/crash_disk.ts";
import { seeded, testSeed } from "../../support/seed.ts";
import { SeededRandom } from "../../support/seeded_random.ts";
import { SleepingClock } from "../../support/sleeping_clock.ts";

const directory = "/ost";
const KiB = 1024;

type ObjectChange =
  | { kind: "write"; object: string; offsetBytes: number; bytes: Uint8Array<ArrayBuffer> }
  | { kind: "extend"; object: string; lengthBytes: number }
  | { kind: "cut"; object: string; lengthBytes: number };
type Change =
  | ObjectChange
  | { kind: "destroy"; ino: number }
  | { kind: "sync"; objects: readonly string[] };

/** The objects in use; an inode number is never used again. */
class Objects {
  readonly #inodes = [7, 7, 8, 300];
  #nextInode = 1000;

  get all(): string[] {
    return this.#inodes.map((ino, index) => objectId(ino, index % 2));
  }

  some(random: SeededRandom): string {
    return this.all[random.below(this.all.length)]!;
  }

  destroyed(ino: number): void {
    const next = this.#nextInode++;
    this.#inodes.forEach((each, index) => each === ino && (this.#inodes[index] = next));
  }
}

/** Small files, whole blocks, and pieces of a large file; beginnings with and without a block. */
function someChange(random: SeededRandom, objects: Objects): Change {
  const object = objects.some(random);
  const kind = random.below(20);
  if (kind < 11) {
    const lengthBytes = [1 + random.below(200), 4 * KiB, 1 + random.below(9_000), 64 * KiB, 70_001][
      random.below(5)
    ]!;
    const aligned = random.below(40) * 4 * KiB;
    const offsetBytes = random.below(3) === 0 ? aligned + random.below(4 * KiB) : aligned;
    const bytes = new Uint8Array(lengthBytes).fill(1 + random.below(255));
    return { kind: "write", object, offsetBytes, bytes };
  }
  if (kind < 13) return { kind: "extend", object, lengthBytes: random.below(200_000) };
  if (kind < 15) return { kind: "cut", object, lengthBytes: random.below(100_000) };
  if (kind < 16) return { kind: "destroy", ino: parseObjectId(object).ino };
  return { kind: "sync", objects: objects.all.slice(0, 1 + random.below(4)) };
}

/** An object's bytes after each change; a destroyed one has none. */
type Content = Uint8Array<ArrayBuffer> | undefined;

class Model {
  /** States that a crash of power may leave, byte by byte: from the last synced one to the latest. */
  readonly histories = new Map<string, Content[]>();
  readonly objects = new Objects();

  statesOf(object: string): Content[] {
    let states = this.histories.get(object);
    if (!states) this.histories.set(object, states = [undefined]);
    return states;
  }

  contentOf(object: string): Content {
    return this.statesOf(object).at(-1);
  }

  /** The states that `change` adds to those of an object. */
  nextOf(object: string, change: Change | undefined): Content[] {
    const next = new Model();
    next.histories.set(object, [this.contentOf(object)]);
    if (change && change.kind !== "sync") next.apply(change);
    return next.statesOf(object);
  }

  apply(change: Change): void {
    switch (change.kind) {
      case "sync":
        for (const object of change.objects) {
          this.histories.set(object, [this.contentOf(object)]);
        }
        return;
      case "destroy":
        for (const object of this.histories.keys()) {
          if (parseObjectId(object).ino === change.ino) this.histories.set(object, [undefined]);
        }
        return this.objects.destroyed(change.ino);
      default:
        this.statesOf(change.object).push(after(this.contentOf(change.object), change));
    }
  }
}

function after(before: Content, change: ObjectChange): Content {
  const old = before ?? new Uint8Array(0);
  if (change.kind === "cut") return before?.slice(0, change.lengthBytes);
  if (change.kind === "extend") return resized(old, Math.max(old.length, change.lengthBytes));
  const bytes = resized(old, Math.max(old.length, change.offsetBytes + change.bytes.length));
  bytes.set(change.bytes, change.offsetBytes);
  return bytes;
}

function resized(bytes: Uint8Array, lengthBytes: number): Uint8Array<ArrayBuffer> {
  const other = new Uint8Array(lengthBytes);
  other.set(bytes.subarray(0, lengthBytes));
  return other;
}

function openStore(disk: CrashDisk, random: SeededRandom): Promise<FileObjectStore> {
  return FileObjectStore.open({
    directory,
    targetIndex: 3,
    random,
    clock: new SleepingClock(),
    files: disk,
    openObjectsMax: 3,
    checkpointSizes: { segmentBytes: 150_000, changedObjects: 3, batch: 2 },
  });
}

async function carryOut(store: FileObjectStore, change: Change): Promise<void> {
  switch (change.kind) {
    case "write": {
      const { object, offsetBytes, bytes } = change;
      return await store.write(object, offsetBytes, bytes, checksumsOf(offsetBytes, bytes));
    }
    case "extend":
    case "cut":
      return await store.resize(change.object, change.lengthBytes, change.kind);
    case "destroy":
      return void await store.destroy([change.ino]);
    case "sync":
      return await store.sync(change.objects);
  }
}

/** Changes until the crash; tells which one was under way then. */
async function runUntilCrash(
  disk: CrashDisk,
  model: Model,
  random: SeededRandom,
  changeCount: number,
): Promise<Change | undefined> {
  let store: FileObjectStore;
  try {
    store = await openStore(disk, random);
  } catch {
    return undefined;
  }
  let underWay: Change | undefined;
  try {
    for (let count = 0; count < changeCount; count++) {
      let change = someChange(random, model.objects);
      if (change.kind === "sync") {
        change = { ...change, objects: change.objects.filter((each) => model.contentOf(each)) };
      }
      underWay = change;
      await carryOut(store, change);
      model.apply(change);
    }
    underWay = undefined;
  } catch (error) {
    // Only the crash is an error here.
    if (disk.operations < disk.crashAt) throw error;
  }
  await store.close();
  return underWay;
}

async function read(store: FileObjectStore, object: string): Promise<Content> {
  const lengthBytes = await store.stat(object);
  if (lengthBytes === undefined) return undefined;
  assert.deepEqual(await store.verify(object, 0, lengthBytes), [], `${object} looks damaged`);
  const bytes = new Uint8Array(lengthBytes);
  for (const verified of [true, false]) {
    const data = await store.read(object, 0, lengthBytes, { verified });
    const { payload } = data;
    assert.equal(payloadBytesOf(payload), lengthBytes);
    if (payload instanceof Uint8Array) bytes.set(payload);
    else payload.file.readSync(bytes, payload.offsetBytes);
    assert.deepEqual(data.checksums, checksumsOf(0, bytes), "the checksums of other bytes");
    data.release();
  }
  return bytes;
}

function isSame(a: Content, b: Content): boolean {
  if (a === undefined || b === undefined) return a === b;
  return a.length === b.length && a.every((byte, index) => byte === b[index]);
}

/** The process died: every change that was answered is there, the last one wholly or not at all. */
async function checkAfterKill(
  store: FileObjectStore,
  model: Model,
  underWay: Change | undefined,
): Promise<void> {
  for (const object of [...model.histories.keys()]) {
    const found = await read(store, object);
    const expected = [model.contentOf(object), ...model.nextOf(object, underWay)];
    assert.ok(expected.some((each) => isSame(found, each)), `${object} is neither old nor new`);
  }
}

/** The power went: each byte is of a state since the last sync. */
async function checkAfterPowerLoss(
  store: FileObjectStore,
  model: Model,
  underWay: Change | undefined,
): Promise<void> {
  for (const object of [...model.histories.keys()]) {
    const states = [...model.statesOf(object), ...model.nextOf(object, underWay).slice(1)];
    if (underWay?.kind === "destroy") states.push(...model.nextOf(object, underWay));
    const found = await read(store, object);
    if (states.length === 1) {
      assert.ok(isSame(found, states[0]), `${object} lost what was synced`);
    } else if (found === undefined) {
      assert.ok(states.includes(undefined), `${object} is gone`);
    } else {
      for (const [offset, byte] of found.entries()) {
        const isOf = (state: Content) => (state?.[offset] ?? 0) === byte;
        assert.ok(states.some(isOf), `${object} has ${byte} at ${offset}, which never was there`);
      }
    }
  }
}

/** Runs changes up to a crash at each of some operations, twice over the same disk. */
async function testCrash(
  seed: number,
  crash: "kill" | "power loss",
  changeCount: number,
): Promise<void> {
  const whole = new CrashDisk(new SeededRandom(seed));
  await runUntilCrash(whole, new Model(), new SeededRandom(seed), changeCount);
  const step = Math.max(1, Math.floor(whole.operations / 12));
  const begin = 1 + Math.abs(seed) % step;
  for (let crashAt = begin; crashAt < whole.operations; crashAt += step) {
    const random = new SeededRandom(seed);
    const disk = new CrashDisk(new SeededRandom(seed + crashAt));
    const model = new Model();
    disk.crashAt = crashAt;
    const underWay = await runUntilCrash(disk, model, random, changeCount);
    try {
      await checkAfterCrash(disk, model, { crash, underWay, random, crashAt });
    } catch (error) {
      throw new Error(
        `seed ${seed}, ${crash} at operation ${crashAt}: ${(error as Error).message}`,
        {
          cause: error,
        },
      );
    }
  }
}

async function checkAfterCrash(
  disk: CrashDisk,
  model: Model,
  how: {
    crash: "kill" | "power loss";
    underWay: Change | undefined;
    random: SeededRandom;
    crashAt: number;
  },
): Promise<void> {
  const { crash, underWay, random, crashAt } = how;
  const check = crash === "kill" ? checkAfterKill : checkAfterPowerLoss;
  const end = () => crash === "kill" ? disk.endProcess() : disk.losePower();
  end();
  // The start that repeats the journal crashes, too.
  disk.crashAt = disk.operations + 1 + crashAt % 17;
  try {
    await (await openStore(disk, random)).close();
  } catch (error) {
    if (disk.operations < disk.crashAt) throw error;
  }
  end();
  const store = await openStore(disk, random);
  await check(store, model, underWay);
  // And it can be used.
  const { all } = model.objects;
  for (const object of all) {
    const bytes = new Uint8Array(70_000).fill(9);
    await store.write(object, 0, bytes, checksumsOf(0, bytes));
  }
  await store.sync(all);
  await store.close();
}

/** Fixed seeds, and as many new ones; each crashes a dozen times. */
const seedCount = Number(Deno.env.get("RUSTRE_CRASH_SEEDS") ?? 8);

for (const crash of ["kill", "power loss"] as const) {
  Deno.test(`FileObjectStore keeps its promises over a ${crash} at any operation`, () =>
    seeded(async () => {
      for (let seed = 0; seed < seedCount; seed++) await testCrash(seed, crash, 40);
      for (let seed = 0; seed < seedCount; seed++) await testCrash(testSeed + seed, crash, 40);
    }));
}
