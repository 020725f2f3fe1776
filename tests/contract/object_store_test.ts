import { fileNameOf, prefixOf } from "../../oss/file_names.ts";
import { FileObjectStore } from "../../oss/file_store.ts";
import { localFiles } from "../../oss/files.ts";
import { MemoryDisk } from "../../oss/memory_disk.ts";
import { MemoryObjectStore } from "../../oss/memory_store.ts";
import type { ObjectStore } from "../../oss/object_store.ts";
import { parseObjectId } from "../../shared/layout.ts";
import type { ObjectId } from "../../shared/model.ts";
import { systemEnvironment } from "../../shared/platform.ts";
import { SeededRandom } from "../support/seeded_random.ts";
import { flipChecksums } from "../support/file_attributes.ts";
import { objectIntegrityContract } from "./object_integrity.ts";
import { objectStoreContract, type StoreUnderTest } from "./object_store.ts";

const stores: Record<string, () => Promise<StoreUnderTest>> = {
  memory: memoryStoreUnderTest,
  file: () => fileStoreUnderTest(),
  // So few that each operation closes a file and opens another.
  "file, two open": () => fileStoreUnderTest({ openObjectsMax: 2 }),
};

for (const [name, open] of Object.entries(stores)) {
  objectStoreContract(name, open);
  objectIntegrityContract(name, open);
}

function memoryStoreUnderTest(): Promise<StoreUnderTest> {
  const disk = new MemoryDisk();
  return underTest({
    open: () => Promise.resolve(new MemoryObjectStore({ targetIndex: 3, disk })),
    crash: () => disk.crash(),
    damage: (object, what) => {
      if (what === "checksums") disk.corruptChecksums(object);
      else disk.corruptByte(object, what);
      return Promise.resolve();
    },
  });
}

/** Its crash leaves every byte: what a store may lose, and here does not. */
async function fileStoreUnderTest(
  options: { openObjectsMax?: number } = {},
): Promise<StoreUnderTest> {
  const directory = await Deno.makeTempDir();
  const random = new SeededRandom(1);
  let boots = 0;
  const files = { ...localFiles, bootId: () => String(boots).padStart(32, "0") };
  const { clock } = systemEnvironment();
  const all = { directory, targetIndex: 3, random, clock, files, ...options };
  const open = () => FileObjectStore.open(all);
  return underTest({
    open,
    crash: () => void boots++,
    damage: async (object, what) => {
      // What the journal has comes into the files when it is read, at a start.
      await (await open()).close();
      const name = fileNameOf(object);
      const path = `${directory}/objects/${prefixOf(parseObjectId(object).ino)}/${name}`;
      // Of a list of checksums the last byte is one of a checksum.
      if (what === "checksums") flipChecksums(path, -1);
      else await flipByte(path, what);
    },
    directory,
  });
}

async function flipByte(path: string, offsetBytes: number): Promise<void> {
  const bytes = await Deno.readFile(path);
  bytes[offsetBytes]! ^= 0x10;
  await Deno.writeFile(path, bytes);
}

interface Under {
  readonly open: () => Promise<ObjectStore>;
  readonly crash: () => void;
  readonly damage: (object: ObjectId, what: number | "checksums") => Promise<void>;
  readonly directory?: string;
}

async function underTest({ open, crash, damage, directory }: Under): Promise<StoreUnderTest> {
  let store = await open();
  return {
    store,
    async reopen() {
      await store.close();
      return store = await open();
    },
    async reopenAfterCrash() {
      await store.close();
      crash();
      return store = await open();
    },
    async damage(object, what) {
      await store.close();
      await damage(object, what);
      return store = await open();
    },
    async [Symbol.asyncDispose]() {
      await store.close();
      if (directory) await Deno.remove(directory, { recursive: true });
    },
  };
}
