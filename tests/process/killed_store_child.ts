// Run by oss_kill_test.ts as a process of its own, which ends with a SIGKILL: changes the objects of a
// store, several at a time, and tells of each change before it begins and when it was acknowledged.

import type { FileObjectStore } from "../../oss/file_store.ts";
import { blockBytes } from "../../shared/checksums.ts";
import { objectId, parseObjectId } from "../../shared/layout.ts";
import type { ObjectId } from "../../shared/model.ts";
import { writeBytes } from "../support/object_bytes.ts";
import { SeededRandom } from "../support/seeded_random.ts";
import {
  objectChangeOf,
  openStore,
  type Order,
  type Report,
  type ReportedChange,
} from "./killed_store.ts";

const KiB = 1024;
const writerCount = 4;
/** Each writer has one inode at a time, with so many objects. */
const objectsOfInode = 2;
const objectBytesMax = 600 * KiB;

const encoder = new TextEncoder();

function report(line: Report): void {
  const bytes = encoder.encode(JSON.stringify(line) + "\n");
  for (let done = 0; done < bytes.length;) done += Deno.stdout.writeSync(bytes.subarray(done));
}

class Writer {
  readonly #store: FileObjectStore;
  readonly #number: number;
  readonly #random: SeededRandom;
  readonly #unusedInode: () => number;
  readonly #lengths: Map<ObjectId, number>;
  #ino: number;

  constructor(
    store: FileObjectStore,
    number: number,
    options: {
      readonly seed: number;
      readonly ino: number;
      readonly unusedInode: () => number;
      readonly lengths: ReadonlyMap<ObjectId, number>;
    },
  ) {
    this.#store = store;
    this.#number = number;
    this.#random = new SeededRandom(options.seed + number);
    this.#ino = options.ino;
    this.#unusedInode = options.unusedInode;
    this.#lengths = new Map(options.lengths);
  }

  async runForEver(): Promise<never> {
    for (;;) {
      const object = objectId(this.#ino, this.#random.below(objectsOfInode));
      const change = this.#next(object);
      if (change === "sync") {
        if (this.#lengths.has(object)) await this.#store.sync([object]);
        continue;
      }
      report({ what: "begin", writer: this.#number, change });
      await this.#carryOut(change);
      report({ what: "done", writer: this.#number });
    }
  }

  #next(object: ObjectId): ReportedChange | "sync" {
    const random = this.#random;
    const length = this.#lengths.get(object) ?? 0;
    const blocks = Math.ceil(length / blockBytes);
    if (length > objectBytesMax) return { kind: "cut", object, lengthBytes: random.below(length) };
    const kind = random.below(20);
    if (kind < 5) return this.#write(object, random.below(length + 1), 1 + random.below(9_000));
    if (kind < 8) return this.#write(object, length, 1 + random.below(20_000));
    if (kind < 11) {
      const offsetBytes = random.below(blocks + 1) * blockBytes;
      return this.#write(object, offsetBytes, (1 + random.below(8)) * blockBytes);
    }
    if (kind < 14) {
      // In blocks that were never written: those go straight to the object's file.
      return this.#write(object, blocks * blockBytes, 64 * KiB + random.below(236 * KiB));
    }
    if (kind < 16) return { kind: "cut", object, lengthBytes: random.below(length + 1) };
    if (kind < 17) return { kind: "extend", object, lengthBytes: length + random.below(200 * KiB) };
    return kind < 18 ? { kind: "destroy", ino: this.#ino } : "sync";
  }

  #write(object: ObjectId, offsetBytes: number, lengthBytes: number): ReportedChange {
    return { kind: "write", object, offsetBytes, lengthBytes, seed: this.#random.uint32() };
  }

  async #carryOut(reported: ReportedChange): Promise<void> {
    if (reported.kind === "destroy") {
      await this.#store.destroy([reported.ino]);
      this.#lengths.clear();
      this.#ino = this.#unusedInode();
      return;
    }
    const change = objectChangeOf(reported);
    const { object } = change;
    if (change.kind === "write") {
      await writeBytes(this.#store, object, change.offsetBytes, change.bytes);
    } else {
      await this.#store.resize(object, change.lengthBytes, change.kind);
    }
    const length = await this.#store.stat(object);
    if (length !== undefined) this.#lengths.set(object, length);
  }
}

async function changeForEver(store: FileObjectStore, { seed, unusedInode }: Order): Promise<void> {
  let nextInode = unusedInode;
  const present = await store.list(undefined, 1_000);
  const inodes = [...new Set(present.map(({ object }) => parseObjectId(object).ino))];
  const writers = Array.from({ length: writerCount }, (_, number) => {
    const ino = inodes[number] ?? nextInode++;
    const own = present.filter(({ object }) => parseObjectId(object).ino === ino);
    const lengths = new Map(own.map(({ object, lengthBytes }) => [object, lengthBytes]));
    return new Writer(store, number, { seed, ino, lengths, unusedInode: () => nextInode++ });
  });
  await Promise.all(writers.map((writer) => writer.runForEver()));
}

async function readOrder(): Promise<Order> {
  let text = "";
  for await (const chunk of Deno.stdin.readable.pipeThrough(new TextDecoderStream())) {
    text += chunk;
    if (text.endsWith("\n")) return JSON.parse(text);
  }
  throw new Error("there was no order");
}

const order = await readOrder();
report({ what: "opening" });
const store = await openStore(order.directory);
report({ what: "open" });
if (order.task === "change") await changeForEver(store, order);
await store.close();
report({ what: "closed" });
