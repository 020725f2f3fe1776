// fsck: damage of records, names and counters is found, and repaired where that is safe.

import assert from "node:assert/strict";
import { encodeChild, encodeNumber, type Inode } from "../../mds/values.ts";
import { rootInode } from "../../shared/model.ts";
import { clientId, loseInode, plant, plantInode, schema, unreadable } from "../support/fsck.ts";
import { type Damage, testDamages } from "../support/fsck_damage.ts";

testDamages([
  {
    name: "a lost inode of a file with objects",
    plant: (cluster, { file }) => loseInode(cluster, file.ino),
    found: ["entry-without-inode", "orphan-object", "orphan-object"],
    left: ["entry-without-inode", "orphan-object", "orphan-object"],
  },
  {
    name: "a name that leads to nothing",
    plant: (cluster) =>
      plant(cluster, (transaction) => {
        transaction.set(schema.child(1, "ghost"), encodeChild({ ino: 4000, type: "file" }));
      }),
    found: ["entry-without-inode"],
    check: async (_cluster, { fileSystem }) => {
      await assert.rejects(fileSystem.stat("/ghost"), { code: "ENOENT" });
    },
  },
  {
    name: "a lost inode of a symbolic link",
    plant: (cluster, { link }) => loseInode(cluster, link.ino),
    found: ["entry-without-inode"],
  },
  {
    name: "a lost inode of a directory",
    plant: (cluster, { directory }) => loseInode(cluster, directory.ino),
    found: ["entry-in-no-directory", "entry-without-inode"],
    runs: 2,
    check: async (_cluster, { fileSystem, file }) => {
      assert.equal((await fileSystem.stat("/d/file")).ino, file.ino);
      assert.equal((await fileSystem.stat("/d")).links, 3);
    },
  },
  {
    name: "a wrong count of links",
    plant: (cluster, { file }) =>
      plantInode(cluster, file.ino, (inode) => ({ ...inode, links: 5 })),
    found: ["wrong-links"],
    check: async (_cluster, { fileSystem }) => {
      assert.equal((await fileSystem.stat("/d/file")).links, 1);
    },
  },
  {
    name: "a name that nobody counted",
    plant: (cluster, { file }) =>
      plant(cluster, (transaction) => {
        transaction.set(schema.child(1, "more"), encodeChild({ ino: file.ino, type: "file" }));
      }),
    found: ["wrong-links"],
    check: async (_cluster, { fileSystem }) => {
      assert.equal((await fileSystem.stat("/more")).links, 2);
    },
  },
  {
    name: "a second name of a directory",
    plant: (cluster, { below }) =>
      plant(cluster, (transaction) => {
        transaction.set(schema.child(1, "b"), encodeChild({ ino: below.ino, type: "directory" }));
        transaction.add(schema.directoryLinks(1), 1n);
      }),
    found: ["wrong-links", "wrong-parent"],
    left: ["wrong-links", "wrong-parent"],
  },
  {
    name: "lost names of a file and a directory",
    plant: (cluster, { file, below, directory }) =>
      plant(cluster, (transaction) => {
        transaction.delete(schema.child(directory.ino, "file"));
        transaction.delete(schema.child(directory.ino, "below"));
        transaction.add(schema.directoryLinks(directory.ino), -1n);
        assert.ok(file && below);
      }),
    found: ["unnamed-inode", "unnamed-inode"],
    check: async (_cluster, { fileSystem, file, below }) => {
      const lost = await fileSystem.stat(`/lost+found/#${file.ino}`);
      assert.deepEqual([lost.ino, lost.links, lost.sizeBytes], [file.ino, 1, file.sizeBytes]);
      assert.equal((await fileSystem.stat(`/lost+found/#${below.ino}/..`)).links, 3);
      assert.equal((await fileSystem.stat("/lost+found")).mode, 0o700);
    },
  },
  {
    name: "a name of another type",
    plant: (cluster, { file, directory }) =>
      plant(cluster, (transaction) => {
        const key = schema.child(directory.ino, "file");
        transaction.set(key, encodeChild({ ino: file.ino, type: "symlink" }));
      }),
    found: ["entry-of-another-type"],
    check: async (_cluster, { fileSystem, file }) => {
      assert.equal((await fileSystem.stat("/d/file")).ino, file.ino);
    },
  },
  {
    name: "a directory that says it is elsewhere",
    plant: (cluster, { below }) =>
      plantInode(cluster, below.ino, (inode) => ({ ...inode, parent: rootInode })),
    found: ["wrong-parent"],
    check: async (_cluster, { fileSystem, directory }) => {
      assert.equal((await fileSystem.stat("/d/below/..")).ino, directory.ino);
    },
  },
  {
    name: "directories that lie below each other",
    plant: (cluster, { directory, below }) =>
      plant(cluster, (transaction) => {
        transaction.delete(schema.child(rootInode, "d"));
        transaction.add(schema.directoryLinks(rootInode), -1n);
        const entry = encodeChild({ ino: directory.ino, type: "directory" });
        transaction.set(schema.child(below.ino, "d"), entry);
        transaction.add(schema.directoryLinks(below.ino), 1n);
      }).then(() =>
        plantInode(cluster, directory.ino, (inode) => ({ ...inode, parent: below.ino }))
      ),
    found: ["directory-loop"],
    left: ["directory-loop"],
  },
  {
    name: "wrong counters",
    plant: (cluster, { directory }) =>
      plant(cluster, (transaction) => {
        transaction.add(schema.directoryLinks(directory.ino), 2n);
        transaction.add(schema.directoryLinks(rootInode), -1n);
        transaction.add(schema.inodeCount, 7n);
      }),
    found: ["wrong-inode-count", "wrong-subdirectory-count", "wrong-subdirectory-count"],
    check: async (_cluster, { fileSystem }) => {
      assert.equal((await fileSystem.stat("/d")).links, 3);
      assert.equal((await fileSystem.statfs()).inodes, 6);
    },
  },
  {
    name: "what is kept of a directory that is gone",
    plant: (cluster) =>
      plant(cluster, (transaction) => {
        transaction.add(schema.directoryLinks(999), 0n);
      }),
    found: ["record-of-no-directory"],
  },
  {
    name: "records that nobody can read",
    plant: (cluster, { file, directory }) =>
      plant(cluster, (transaction) => {
        transaction.set(schema.inode(file.ino), unreadable);
        transaction.set(schema.child(directory.ino, "link"), new Uint8Array([0x93, 1, 4, 9]));
        transaction.set(schema.pending(clientId, 4000), unreadable);
        transaction.set(schema.session(clientId), unreadable);
        transaction.set(`${schema.all().begin}new/key`, unreadable);
        transaction.set(`${schema.allOf("ino").begin}short`, unreadable);
      }),
    found: [
      "unknown-record",
      ...Array.from({ length: 5 }, () => "unreadable-record"),
      "unnamed-inode",
      "wrong-inode-count",
    ],
    left: [
      "unknown-record",
      ...Array.from({ length: 5 }, () => "unreadable-record"),
      "unnamed-inode",
    ],
  },
  {
    name: "an inode that cannot be right",
    plant: (cluster, { file }) =>
      plantInode(cluster, file.ino, (inode) => ({ ...inode, dataEndBytes: 2 ** 40 })),
    found: ["bad-inode"],
    left: ["bad-inode"],
  },
  {
    name: "a number that was never handed out",
    plant: (cluster) =>
      plant(cluster, (transaction) => transaction.set(schema.nextIno, encodeNumber(3))),
    found: Array.from({ length: 4 }, () => "number-not-handed-out"),
  },
  {
    name: "an inode without links or a name",
    plant: async (cluster, { file, directory }) => {
      await plantInode(cluster, file.ino, (inode) => ({ ...inode, links: 0 }));
      await plant(cluster, (transaction) => {
        transaction.delete(schema.child(directory.ino, "file"));
      });
    },
    found: ["unnamed-inode"],
    check: async (_cluster, { fileSystem, file }) => {
      assert.equal((await fileSystem.stat(`/lost+found/#${file.ino}`)).links, 1);
    },
  },
  {
    name: "names that nobody can look up",
    plant: (cluster, { link }) =>
      plant(cluster, (transaction) => {
        for (const name of ["a/b", "..", ".", "n".repeat(256), "null\0"]) {
          transaction.set(schema.child(rootInode, name), encodeChild({ ...link }));
        }
      }),
    found: Array.from({ length: 5 }, () => "unreadable-record"),
    left: Array.from({ length: 5 }, () => "unreadable-record"),
  },
  {
    name: "a directory whose one name is below itself",
    plant: (cluster, { directory, below }) =>
      plant(cluster, (transaction) => {
        transaction.delete(schema.child(rootInode, "d"));
        transaction.add(schema.directoryLinks(rootInode), -1n);
        const entry = encodeChild({ ino: directory.ino, type: "directory" });
        transaction.set(schema.child(below.ino, "d"), entry);
        transaction.add(schema.directoryLinks(below.ino), 1n);
      }),
    found: ["wrong-parent"],
    left: ["wrong-parent"],
  },
  {
    name: "a next number that is none",
    plant: (cluster) =>
      plant(cluster, (transaction) => {
        transaction.set(schema.nextIno, encodeNumber("many" as unknown as number));
      }),
    found: ["unreadable-record"],
    left: ["unreadable-record"],
  },
  ...impossibleInodes(),
]);

/** Each field of an inode that no mds writes so. */
function impossibleInodes(): Damage[] {
  const ofFile: Record<string, (inode: Inode) => Inode> = {
    "a mode of too many bits": (inode) => ({ ...inode, mode: 0o100644 }),
    "an owner below 0": (inode) => ({ ...inode, uid: -1 }),
    "a time that is no number": (inode) => ({ ...inode, mtimeNs: 5 as unknown as bigint }),
    "a size beyond its layout": (inode) => ({ ...inode, sizeBytes: 2 ** 52 + 2 }),
    "two replicas on one OST": (inode) => ({
      ...inode,
      layout: { ...inode.layout!, targets: [[0, 0], [1, 2]] },
    }),
  };
  return Object.entries(ofFile).map(([what, change]) => ({
    name: `an inode with ${what}`,
    plant: (cluster, { file }) => plantInode(cluster, file.ino, change),
    found: ["bad-inode"],
    left: ["bad-inode"],
  }));
}
