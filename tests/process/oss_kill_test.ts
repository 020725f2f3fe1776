// A store on a real disk whose process is killed over and over, at any instant: what was acknowledged
// is there, and what was under way happened as a whole or not at all. (A crash of the machine is in
// tests/unit/oss/crash_test.ts, on a disk that is modelled.)

import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import type { FileObjectStore } from "../../oss/file_store.ts";
import { sleep } from "../../shared/environment.ts";
import { parseObjectId } from "../../shared/layout.ts";
import type { ObjectId } from "../../shared/model.ts";
import { systemEnvironment } from "../../shared/platform.ts";
import { readBytes } from "../support/object_bytes.ts";
import { after, type Content, isSame } from "../support/object_history.ts";
import { seeded, testSeed } from "../support/seed.ts";
import { SeededRandom } from "../support/seeded_random.ts";
import {
  objectChangeOf,
  openStore,
  type Order,
  type Report,
  type ReportedChange,
} from "./killed_store.ts";

/** Each on a directory of its own, at the same time. */
const loops = 2;
/** In each loop; each kills a process that changes objects, and often some that start before. */
const rounds = 100;
/** Of how many reports a process lives at most, and how long after the last of them. */
const reportsMax = 300;
const killDelayMaxMs = 4;
/** About how long a start takes that has something to repeat. */
const startMs = 12;

const { clock } = systemEnvironment();

// ── the process ────────────────────────────────────────────────────────────────────────────────

/** Starts Deno at once and the store when it gets its order: the next one is ready in time. */
class Child {
  readonly #process: Deno.ChildProcess;

  constructor() {
    const script = fileURLToPath(new URL("./killed_store_child.ts", import.meta.url));
    this.#process = new Deno.Command(Deno.execPath(), {
      args: ["run", "--quiet", "--no-check", "--allow-all", script],
      stdin: "piped",
      stdout: "piped",
      stderr: "inherit",
    }).spawn();
  }

  /** Every whole line that it prints, also what is found in the pipe after its death. */
  async *run(order: Order): AsyncGenerator<Report> {
    const input = this.#process.stdin.getWriter();
    await input.write(new TextEncoder().encode(JSON.stringify(order) + "\n"));
    let rest = "";
    for await (const text of this.#process.stdout.pipeThrough(new TextDecoderStream())) {
      const lines = (rest + text).split("\n");
      rest = lines.pop()!;
      for (const line of lines) yield JSON.parse(line);
    }
    await input.abort().catch(() => {/* the pipe broke with the process */});
  }

  kill(): void {
    try {
      this.#process.kill("SIGKILL");
    } catch (error) {
      // One that had nothing more to do.
      if (!(error instanceof TypeError)) throw error;
    }
  }

  status(): Promise<Deno.CommandStatus> {
    return this.#process.status;
  }

  /** Of one that was never given an order. */
  async discard(): Promise<void> {
    this.kill();
    await this.#process.stdout.cancel();
    await this.#process.stdin.abort().catch(() => {/* the pipe broke with the process */});
    await this.#process.status;
  }
}

// ── what must be there ─────────────────────────────────────────────────────────────────────────

class Model {
  readonly #contents = new Map<ObjectId, Uint8Array<ArrayBuffer>>();
  /** By writer. */
  readonly #underWay = new Map<number, ReportedChange>();
  unusedInode = 1;

  heard(report: Report): void {
    if (report.what === "begin") {
      const { writer, change } = report;
      this.#underWay.set(writer, change);
      const ino = change.kind === "destroy" ? change.ino : parseObjectId(change.object).ino;
      this.unusedInode = Math.max(this.unusedInode, ino + 1);
    } else if (report.what === "done") {
      this.#happened(this.#underWay.get(report.writer)!);
      this.#underWay.delete(report.writer);
    }
  }

  #happened(change: ReportedChange): void {
    if (change.kind !== "destroy") {
      return this.#set(
        change.object,
        after(this.#contents.get(change.object), objectChangeOf(change)),
      );
    }
    for (const object of this.#contents.keys()) {
      if (parseObjectId(object).ino === change.ino) this.#contents.delete(object);
    }
  }

  #set(object: ObjectId, content: Content): void {
    if (content) this.#contents.set(object, content);
    else this.#contents.delete(object);
  }

  /** Asserts that the store has what it must, and goes on from what it has. */
  async check(store: FileObjectStore): Promise<void> {
    const underWay = [...this.#underWay.values()];
    this.#underWay.clear();
    const listed = await store.list(undefined, 1_000);
    const changed = underWay.flatMap((change) => change.kind === "destroy" ? [] : change.object);
    const objects = [...this.#contents.keys(), ...listed.map(({ object }) => object), ...changed];
    for (const object of new Set(objects)) {
      const found = await contentOf(store, object);
      this.#checkObject(object, found, underWay);
      this.#set(object, found);
    }
    this.#checkTotals(store, listed);
    for (const change of underWay) {
      if (change.kind !== "destroy") continue;
      await store.destroy([change.ino]);
      this.#happened(change);
    }
  }

  #checkObject(object: ObjectId, found: Content, underWay: readonly ReportedChange[]): void {
    const before = this.#contents.get(object);
    if (isSame(found, before)) return;
    const change = underWay.find((each) =>
      each.kind === "destroy" ? each.ino === parseObjectId(object).ino : each.object === object
    );
    if (change) {
      const wanted = change.kind === "destroy" ? undefined : after(before, objectChangeOf(change));
      if (isSame(found, wanted)) return;
    }
    const lengths = `it has ${found?.length} bytes and had ${before?.length}`;
    const meanwhile = JSON.stringify(change) ?? "nothing";
    assert.fail(`object ${object} is what it never was: ${lengths}; under way was ${meanwhile}`);
  }

  #checkTotals(store: FileObjectStore, listed: { object: ObjectId; lengthBytes: number }[]): void {
    const present = [...this.#contents].map(([object, content]) => {
      return { object, lengthBytes: content.length };
    });
    assert.deepEqual(inOrder(listed), inOrder(present), "the list of objects");
    const usedBytes = present.reduce((sum, { lengthBytes }) => sum + lengthBytes, 0);
    const { usedBytes: toldBytes, objects } = store.usage();
    assert.deepEqual({ toldBytes, objects }, { toldBytes: usedBytes, objects: present.length });
  }

  /** Also those whose objects never came to exist: a write that was cut short leaves a file. */
  get usedInodes(): number[] {
    return Array.from({ length: this.unusedInode - 1 }, (_, index) => index + 1);
  }
}

async function contentOf(store: FileObjectStore, object: ObjectId): Promise<Content> {
  const lengthBytes = await store.stat(object);
  if (lengthBytes === undefined) return undefined;
  assert.deepEqual(await store.verify(object, 0, lengthBytes), [], `${object} looks damaged`);
  return new Uint8Array(await readBytes(store, object, 0, lengthBytes));
}

function inOrder(objects: { object: ObjectId; lengthBytes: number }[]) {
  return objects.toSorted((a, b) => a.object < b.object ? -1 : 1);
}

// ── the loop ───────────────────────────────────────────────────────────────────────────────────

class KillLoop {
  readonly #directory: string;
  readonly #random: SeededRandom;
  readonly #model = new Model();
  #next = new Child();
  /** Kills of processes that had not yet opened the store. */
  killsOfStarts = 0;

  constructor(directory: string, seed: number) {
    this.#directory = directory;
    this.#random = new SeededRandom(seed);
  }

  async run(): Promise<void> {
    try {
      await Deno.mkdir(this.#directory);
      for (let round = 0; round < rounds; round++) {
        await this.#killWhileItChanges();
        // What a start that is killed has repeated of the journal is repeated by the next one.
        while (this.#random.below(4) === 0) await this.#killWhileItStarts();
        const store = await openStore(this.#directory);
        try {
          await this.#model.check(store);
          if (round === rounds - 1) await store.destroy(this.#model.usedInodes);
        } finally {
          await store.close();
        }
      }
    } finally {
      await this.#next.discard();
    }
    assert.deepEqual(await filesIn(`${this.#directory}/objects`), [], "something is left");
  }

  async #killWhileItChanges(): Promise<void> {
    // Many die early: then what they did is mostly in the journal.
    let left = 1 + this.#random.below(1 + this.#random.below(reportsMax));
    await this.#runChild("change", (report) => {
      this.#model.heard(report);
      return --left === 0 ? this.#random.below(killDelayMaxMs + 1) : undefined;
    });
  }

  async #killWhileItStarts(): Promise<void> {
    let isOpen = false;
    await this.#runChild("open", ({ what }) => {
      if (what === "open") isOpen = true;
      return what === "opening" ? this.#random.below(startMs) : undefined;
    });
    if (!isOpen) this.killsOfStarts++;
  }

  /** Kills the next child so long after a report as `killDelayMs` says. */
  async #runChild(
    task: Order["task"],
    killDelayMs: (report: Report) => number | undefined,
  ): Promise<void> {
    const child = this.#next;
    this.#next = new Child();
    const { unusedInode } = this.#model;
    const order = { task, directory: this.#directory, seed: this.#random.uint32(), unusedInode };
    let killed = Promise.resolve();
    let isClosed = false;
    for await (const report of child.run(order)) {
      const delayMs = killDelayMs(report);
      if (delayMs !== undefined) killed = killAfter(child, delayMs);
      if (report.what === "closed") isClosed = true;
    }
    await killed;
    const { signal } = await child.status();
    assert.ok(signal === "SIGKILL" || isClosed, "the process ended of itself");
  }
}

async function killAfter(child: Child, delayMs: number): Promise<void> {
  if (delayMs > 0) await sleep(clock, delayMs);
  child.kill();
}

async function filesIn(directory: string): Promise<string[]> {
  const found: string[] = [];
  for await (const { name, isFile } of Deno.readDir(directory)) {
    if (isFile) found.push(name);
    else found.push(...await filesIn(`${directory}/${name}`));
  }
  return found;
}

Deno.test("FileObjectStore keeps every acknowledged change when its process is killed", () =>
  seeded(async () => {
    const directory = await Deno.makeTempDir({ prefix: "rustre-kill-" });
    try {
      const killLoops = Array.from({ length: loops }, (_, index) => {
        return new KillLoop(`${directory}/${index}`, testSeed + index);
      });
      const ended = await Promise.allSettled(killLoops.map((each) => each.run()));
      for (const each of ended) if (each.status === "rejected") throw each.reason;
      assert.ok(killLoops.some(({ killsOfStarts }) => killsOfStarts > 0), "no start was killed");
    } finally {
      await Deno.remove(directory, { recursive: true });
    }
  }));
