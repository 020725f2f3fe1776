// What holds after every single commit, read from the store as it is then.

import { decode } from "@msgpack/msgpack";
import { limits } from "../../shared/limits.ts";
import type { MemoryStore } from "../../shared/store/memory.ts";
import type { Key } from "../../shared/store/store.ts";
import { checkTree, metadataKeys, treeOf } from "../support/check_store.ts";
import type { HostProcess } from "./process.ts";

const treeKinds = ["ino/", "children/", "dir_links/"];

/** Who wrote a lease last, and when. */
interface LeaseHolder {
  readonly process: HostProcess;
  readonly holder: string;
  readonly atMs: number;
}

export class Invariants {
  readonly #store: MemoryStore;
  readonly #leases = new Map<Key, LeaseHolder>();
  readonly #inodes = new Set<number>();

  constructor(store: MemoryStore) {
    this.#store = store;
  }

  /** Throws where a commit that set these keys broke something. */
  checkCommit(process: HostProcess, written: ReadonlyMap<Key, Uint8Array>): void {
    let ofTree = written.size === 0;
    for (const [key, value] of written) {
      if (key.includes("/lease/")) this.#checkLease(process, key, value);
      ofTree ||= treeKinds.some((kind) => key.startsWith(kind, metadataKeys.begin.length));
    }
    if (ofTree) this.checkTree();
  }

  checkTree(): void {
    const rows = this.#store.state.getRange(metadataKeys, limits.rangeEntriesMax, false);
    checkTree(treeOf(rows));
  }

  /** An inode was made: nobody was told its number before. */
  checkNew(ino: number): void {
    if (this.#inodes.has(ino)) throw new Error(`Two inodes have the number ${ino}`);
    this.#inodes.add(ino);
  }

  /** A lease goes from one to another when it is given back, over, or its holder is dead. */
  #checkLease(process: HostProcess, key: Key, value: Uint8Array): void {
    const atMs = process.environment.clock.monotonicMs();
    const [, holder] = decode(value) as [number, string, number];
    const before = this.#leases.get(key);
    this.#leases.set(key, { process, holder, atMs });
    if (!before || before.holder === "" || before.holder === holder || holder === "") return;
    if (before.process.isDead || atMs - before.atMs >= limits.leaseMs) return;
    const age = `${atMs - before.atMs} ms after its holder ${before.process.host} renewed it`;
    throw new Error(`${process.host} took the lease "${key}" ${age}`);
  }
}
