import { FileObjectStore } from "../../oss/file_store.ts";
import { MemoryDisk, MemoryObjectStore } from "../../oss/memory_store.ts";
import type { ObjectStore } from "../../oss/object_store.ts";
import { objectStoreContract, type StoreUnderTest } from "./object_store.ts";

objectStoreContract("memory", () => {
  const disk = new MemoryDisk();
  return underTest(() => Promise.resolve(new MemoryObjectStore({ targetIndex: 3, disk })));
});

objectStoreContract("file", async () => {
  const directory = await Deno.makeTempDir();
  return underTest(() => FileObjectStore.open({ directory, targetIndex: 3 }), directory);
});

// So few that each operation closes a file and opens another.
objectStoreContract("file, two open", async () => {
  const directory = await Deno.makeTempDir();
  const options = { directory, targetIndex: 3, openObjectsMax: 2 };
  return underTest(() => FileObjectStore.open(options), directory);
});

async function underTest(
  open: () => Promise<ObjectStore>,
  directory?: string,
): Promise<StoreUnderTest> {
  let store = await open();
  return {
    store,
    async reopen() {
      await store.close();
      return store = await open();
    },
    async [Symbol.asyncDispose]() {
      await store.close();
      if (directory) await Deno.remove(directory, { recursive: true });
    },
  };
}
