import { FileObjectStore } from "../../oss/file_store.ts";
import { localFiles } from "../../oss/files.ts";
import { MemoryDisk, MemoryObjectStore } from "../../oss/memory_store.ts";
import type { ObjectStore } from "../../oss/object_store.ts";
import { SeededRandom } from "../support/seeded_random.ts";
import { objectStoreContract, type StoreUnderTest } from "./object_store.ts";

objectStoreContract("memory", () => {
  const disk = new MemoryDisk();
  const open = () => Promise.resolve(new MemoryObjectStore({ targetIndex: 3, disk }));
  return underTest(open, () => disk.crash());
});

objectStoreContract("file", () => fileStoreUnderTest());

// So few that each operation closes a file and opens another.
objectStoreContract("file, two open", () => fileStoreUnderTest({ openObjectsMax: 2 }));

/** Its crash leaves every byte: what a store may lose, and here does not. */
async function fileStoreUnderTest(
  options: { openObjectsMax?: number } = {},
): Promise<StoreUnderTest> {
  const directory = await Deno.makeTempDir();
  const random = new SeededRandom(1);
  let boots = 0;
  const files = { ...localFiles, bootId: () => String(boots).padStart(32, "0") };
  const all = { directory, targetIndex: 3, random, files, ...options };
  return underTest(() => FileObjectStore.open(all), () => void boots++, directory);
}

async function underTest(
  open: () => Promise<ObjectStore>,
  crash: () => void,
  directory?: string,
): Promise<StoreUnderTest> {
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
    async [Symbol.asyncDispose]() {
      await store.close();
      if (directory) await Deno.remove(directory, { recursive: true });
    },
  };
}
