// A file store of its own for each test, on a disk that fails where the test says so.

import assert from "node:assert/strict";
import { FileObjectStore, type FileObjectStoreOptions } from "../../../oss/file_store.ts";
import { SeededRandom } from "../../support/seeded_random.ts";
import { SleepingClock } from "../../support/sleeping_clock.ts";
import { FaultyFiles } from "./faulty_files.ts";

/** One for all: no two stores make the same numbers. */
const random = new SeededRandom(1);

export type StoreOptions = Partial<FileObjectStoreOptions>;

/** A store in a temporary directory, on a disk and with a clock that a test has in its hands. */
export class Opened {
  readonly directory: string;
  readonly files = new FaultyFiles();
  readonly clock = new SleepingClock();
  store!: FileObjectStore;
  readonly #options: StoreOptions;

  constructor(directory: string, options: StoreOptions) {
    this.directory = directory;
    this.#options = options;
  }

  get objects(): string {
    return `${this.directory}/objects`;
  }

  open(options: StoreOptions = {}): Promise<FileObjectStore> {
    const { directory, files, clock } = this;
    const all = { directory, targetIndex: 3, random, clock, files, ...this.#options, ...options };
    return FileObjectStore.open(all);
  }

  async reopen(options: StoreOptions = {}): Promise<FileObjectStore> {
    await this.store.close();
    return this.store = await this.open(options);
  }

  /** What was synced so far, by the last part of its path; forgets it. */
  takeSynced(): string[] {
    const root = `${this.directory}/`;
    return this.files.synced.splice(0).map((path) => path.replace(root, ""));
  }
}

export function testStore(
  name: string,
  test: (opened: Opened) => Promise<void>,
  options: StoreOptions = {},
): void {
  Deno.test(`FileObjectStore ${name}`, async () => {
    const opened = new Opened(await Deno.makeTempDir(), options);
    opened.store = await opened.open();
    try {
      await test(opened);
    } finally {
      opened.files.failure = () => undefined;
      await opened.store.close();
      await Deno.remove(opened.directory, { recursive: true });
    }
    assert.equal(opened.files.opened, 0, "a file was left open");
  });
}
