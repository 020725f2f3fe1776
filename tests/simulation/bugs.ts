// Bugs that are put in on purpose, from outside the product: into the store and the disks below it,
// or by an option that it has. The simulator has to find every one of them.

import { decodeInode, decodeStoredReply, encodeInode } from "../../mds/values.ts";
import type { ObjectStore } from "../../oss/object_store.ts";
import { sleep } from "../../shared/environment.ts";
import { RustreError } from "../../shared/errors.ts";
import type { Key, Store } from "../../shared/store/store.ts";
import type { SeededRandom } from "../support/seeded_random.ts";
import { SimulatedDisk } from "./disk.ts";
import { checkingHost } from "./fsck_runs.ts";
import type { Hosts } from "./hosts.ts";
import type { HostProcess } from "./process.ts";
import { tamperedObjects } from "../support/tampered_objects.ts";
import { tamperedStore } from "./tampered_store.ts";

export interface Bug {
  /** What is wrong. */
  readonly what: string;
  /** The store as a process sees it. */
  readonly store?: (inner: Store, process: HostProcess, random: SeededRandom) => Store;
  /** The objects of an OST, for one process. */
  readonly objects?: (inner: ObjectStore, targetIndex: number, random: SeededRandom) => ObjectStore;
  /** Whether clients compare what they read with its checksums. */
  readonly verifyChecksums?: boolean;
  /** What happens when nothing else goes wrong any more. */
  readonly atTheEnd?: (hosts: Hosts) => void;
}

/** Whether a key is one of these kinds of metadata. */
function isOf(key: Key, ...kinds: readonly string[]): boolean {
  return kinds.some((kind) => key.startsWith(`test/mds_meta/${kind}`));
}

/** Some sets of keys of these kinds do not happen: each one in `rate`. */
function losesSets(kind: string, rate: number): Required<Bug>["store"] {
  return (inner, _process, random) =>
    tamperedStore(inner, (transaction) => ({
      set: (key, value) => {
        if (!isOf(key, kind) || random.below(rate) > 0) transaction.set(key, value);
      },
    }));
}

function losesDeletes(kind: string, rate: number): Required<Bug>["store"] {
  return (inner, _process, random) =>
    tamperedStore(inner, (transaction) => ({
      delete: (key) => {
        if (!isOf(key, kind) || random.below(rate) > 0) transaction.delete(key);
      },
    }));
}

export const bugs: Readonly<Record<string, Bug>> = {
  "skipped conflict check": {
    what: "a transaction does not depend on the entries and inodes that it has read",
    store: (inner) =>
      tamperedStore(inner, (transaction) => ({
        get: (key, options) => {
          // But for the root, of which two mds would make two at their start: too easy to find.
          const isChecked = !isOf(key, "ino/", "children/") || key.endsWith("/0000000000000001");
          return transaction.get(key, isChecked ? options : { snapshot: true });
        },
        getRange: (range, options) => transaction.getRange(range, { ...options, snapshot: true }),
      })),
  },
  "answer before the commit": {
    what: "the commit of a mutation is acknowledged before it happens, and lost if its mds dies",
    store: (inner, process) =>
      tamperedStore(inner, (transaction) => {
        let isMutation = false;
        return {
          set: (key, value) => {
            isMutation ||= isOf(key, "idem/");
            transaction.set(key, value);
          },
          commit: () => {
            if (!isMutation) return transaction.commit();
            sleep(process.environment.clock, 3).then(() => transaction.commit()).catch(() => {
              // It conflicted, and nobody is told.
            });
            return Promise.resolve();
          },
        };
      }),
  },
  "forgotten reply": {
    what: "the reply of a mutation is not stored with it",
    store: losesSets("idem/", 1),
  },
  "forgotten failure": {
    what: "the error that a mutation was answered with is not stored: it may succeed later",
    store: (inner) =>
      tamperedStore(inner, (transaction) => ({
        set: (key, value) => {
          const isFailure = isOf(key, "idem/") && Array.isArray(decodeStoredReply(value).reply);
          if (!isFailure) transaction.set(key, value);
        },
      })),
  },
  "reused inode number": {
    what: "some ranges of inode numbers are handed out twice",
    store: losesSets("next_ino", 3),
  },
  "forgotten child": {
    what: "some renames leave the old name in its directory",
    store: (inner, _process, random) =>
      tamperedStore(inner, (transaction) => {
        const deleted = new Set<Key>();
        let adds = false;
        return {
          set: (key, value) => {
            adds ||= isOf(key, "children/");
            deleted.delete(key);
            transaction.set(key, value);
          },
          delete: (key) =>
            void (isOf(key, "children/") ? deleted.add(key) : transaction.delete(key)),
          commit: () => {
            const forgets = adds && random.below(4) === 0;
            for (const key of forgets ? [] : deleted) transaction.delete(key);
            return transaction.commit();
          },
        };
      }),
  },
  "forgotten garbage": {
    what: "some removed files are not left to the collector",
    store: losesSets("gc/", 4),
  },
  "lost link count": {
    what: "the second link of a file is not counted",
    store: (inner) =>
      tamperedStore(inner, (transaction) => ({
        set: (key, value) => {
          const inode = isOf(key, "ino/") ? decodeInode(value) : undefined;
          const isSecond = inode?.type === "file" && inode.links === 2;
          transaction.set(key, isSecond ? encodeInode({ ...inode, links: 1 }) : value);
        },
      })),
  },
  "commit applied twice": {
    what: "some commits are sent again, and what they add is added twice",
    store: (inner, _process, random) =>
      tamperedStore(inner, (transaction) => {
        const added: [Key, bigint][] = [];
        return {
          add: (key, delta) => {
            added.push([key, delta]);
            transaction.add(key, delta);
          },
          commit: async () => {
            await transaction.commit();
            if (added.length === 0 || random.below(40) > 0) return;
            const again = inner.begin();
            for (const [key, delta] of added) again.add(key, delta);
            await again.commit();
          },
        };
      }),
  },
  "stale read": {
    what: "some reads of inodes and entries come from a cache that nobody renews",
    store: (inner, process, random) => {
      const cache = new Map<Key, { value: Uint8Array | undefined; atMs: number }>();
      const { clock } = process.environment;
      return tamperedStore(inner, (transaction) => ({
        get: async (key, options) => {
          const known = cache.get(key);
          const isRecent = known !== undefined && clock.monotonicMs() - known.atMs < 200;
          if (isRecent && random.below(8) === 0) return known.value;
          const value = await transaction.get(key, options);
          if (isOf(key, "ino/", "children/")) cache.set(key, { value, atMs: clock.monotonicMs() });
          return value;
        },
      }));
    },
  },
  "sessions never end": {
    what: "the collector does not find the sessions that are over",
    store: (inner) =>
      tamperedStore(inner, (transaction) => ({
        getRange: (range, options) =>
          isOf(range.begin, "session/")
            ? Promise.resolve([])
            : transaction.getRange(range, options),
      })),
  },
  "two holders of a lease": {
    what: "one mgs and one mds do not see who has the lease",
    store: (inner, process) =>
      tamperedStore(inner, (transaction) => ({
        get: (key, options) =>
          key.includes("/lease/") && process.host.endsWith("1")
            ? Promise.resolve(undefined)
            : transaction.get(key, options),
      })),
  },
  "forgotten cut": {
    what: "the objects of some truncated files are not cut",
    store: losesSets("truncate/", 2),
  },
  "lost count of inodes": {
    what: "some removed inodes are still counted",
    store: (inner, _process, random) =>
      tamperedStore(inner, (transaction) => ({
        add: (key, delta) => {
          if (delta > 0n || !isOf(key, "inodes") || random.below(4) > 0) {
            transaction.add(key, delta);
          }
        },
      })),
  },
  "pending for ever": {
    what: "some committed files are still pending, and destroyed when the session ends",
    store: losesDeletes("pending/", 4),
  },
  "open for ever": {
    what: "some files that were closed are still open for writing",
    store: losesDeletes("writer/", 4),
  },
  "sync that does nothing": {
    what: "an OST says that objects are on its disk when they are not",
    objects: (inner) => tamperedObjects(inner, { sync: () => Promise.resolve() }),
  },
  "verifier that stays": {
    what: "an OST that has lost writes does not say so",
    objects: (inner) => tamperedObjects(inner, { writeVerifier: "0".repeat(32) }),
  },
  "dropped replica": {
    what: "one OST drops some writes that it acknowledges",
    objects: (inner, targetIndex, random) =>
      tamperedObjects(inner, {
        write: (...all) =>
          targetIndex === 1 && random.below(10) === 0 ? Promise.resolve() : inner.write(...all),
      }),
  },
  "lost destroy": {
    what: "an OST forgets to destroy some inodes",
    objects: (inner, _targetIndex, random) =>
      tamperedObjects(inner, {
        destroy: (inodes) =>
          random.below(4) === 0 ? Promise.resolve(inodes.length) : inner.destroy(inodes),
      }),
  },
  "rotting disk": {
    what: "a disk changes a bit that was written and synced",
    atTheEnd: ({ disks }) => {
      for (const disk of disks) if (disk instanceof SimulatedDisk) disk.rot();
    },
  },
  "OST that gives up": {
    what: "an OST refuses every write after one that it found too much, until it is started again",
    objects: (inner, _targetIndex, random) => {
      let hasGivenUp = false;
      return tamperedObjects(inner, {
        write: (...all) => {
          hasGivenUp ||= random.below(60) === 0;
          if (!hasGivenUp) return inner.write(...all);
          return Promise.reject(new RustreError("ENOSPC", "Cannot write: no space left"));
        },
      });
    },
  },
  "usage that drifts": {
    what: "an OST counts each object that it destroys once too often",
    objects: (inner) => {
      let drift = 0;
      return tamperedObjects(inner, {
        destroy: async (inodes) => {
          const count = await inner.destroy(inodes);
          drift += count;
          return count;
        },
        usage: () => {
          const usage = inner.usage();
          return { ...usage, objects: Math.max(0, usage.objects - drift) };
        },
      });
    },
  },
  "check of old records": {
    what: "who checks the cluster is given what it read first, however old",
    store: (inner, process) => {
      if (process.host !== checkingHost) return inner;
      const known = new Map<Key, Uint8Array | undefined>();
      return tamperedStore(inner, (transaction) => ({
        get: async (key, options) => {
          if (!known.has(key)) known.set(key, await transaction.get(key, options));
          return known.get(key);
        },
      }));
    },
  },
  "unverified checksums": {
    what: "clients do not compare what they read with its checksums",
    verifyChecksums: false,
  },
};
