// Store URLs: what opens, and what is refused with which message.

import { strict as assert } from "node:assert";
import { DatabaseSync } from "node:sqlite";
import { RustreError } from "../../../shared/errors.ts";
import type { ErrorCode } from "../../../shared/errors.ts";
import { systemEnvironment } from "../../../shared/platform.ts";
import { openStore } from "../../../shared/store/open.ts";
import { inDirectory } from "../../support/directory.ts";

const { clock } = systemEnvironment();

async function refuses(url: string, code: ErrorCode, message: RegExp): Promise<void> {
  await assert.rejects(openStore(url, clock), (error) => {
    assert.ok(error instanceof RustreError, String(error));
    assert.equal(error.code, code);
    assert.match(error.message, message);
    assert.ok(error.message.includes(url.slice(url.indexOf(":") + 1)), error.message);
    return true;
  });
}

Deno.test("openStore() refuses a URL that is none and names the forms", async () => {
  for (const url of ["", "meta.db", "memory", "memory:x", "sqlite:", "fdb:", "mysql:x", "/tmp/x"]) {
    await refuses(url, "EINVAL", /must be memory:, sqlite:PATH or fdb:CLUSTER_FILE/);
  }
});

Deno.test("openStore() refuses what is no FoundationDB cluster file", async () => {
  await inDirectory(async (directory) => {
    const path = `${directory}/fdb.cluster`;
    await refuses(`fdb:${path}`, "ENOENT", /the cluster file cannot be read/);
    await Deno.writeTextFile(path, "notes\n");
    await refuses(`fdb:${path}`, "EINVAL", /is no FoundationDB cluster file/);
  });
});

Deno.test("openStore() refuses a path without its directory, and a directory", async () => {
  await inDirectory(async (directory) => {
    await refuses(`sqlite:${directory}/none/meta.db`, "ENOENT", /does not exist; make it first/);
    await refuses(`sqlite:${directory}`, "EISDIR", /is a directory/);
  });
});

Deno.test({
  name: "openStore() refuses a pipe before it is opened, which would wait for the other end",
  ignore: Deno.build.os === "windows",
}, async () => {
  await inDirectory(async (directory) => {
    const path = `${directory}/pipe`;
    assert((await new Deno.Command("mkfifo", { args: [path] }).output()).success);
    await refuses(`sqlite:${path}`, "EINVAL", /": it is not a file$/);
    await refuses(`fdb:${path}`, "EINVAL", /the cluster file cannot be read: it is a pipe$/);
  });
});

Deno.test("openStore() refuses a file that is no database and leaves it as it is", async () => {
  await inDirectory(async (directory) => {
    const path = `${directory}/notes.txt`;
    const text = "These are notes, and not a database at all.\n".repeat(100);
    await Deno.writeTextFile(path, text);
    await refuses(`sqlite:${path}`, "STORE_FORMAT", /not an SQLite database/);
    assert.equal(await Deno.readTextFile(path), text);
  });
});

Deno.test("openStore() refuses another application's database and leaves it as it is", async () => {
  await inDirectory(async (directory) => {
    const path = `${directory}/other.db`;
    const other = new DatabaseSync(path);
    other.exec("CREATE TABLE notes (note TEXT)");
    other.close();
    const before = await Deno.readFile(path);
    await refuses(`sqlite:${path}`, "STORE_FORMAT", /another application/);
    assert.deepEqual(await Deno.readFile(path), before);
  });
});

Deno.test("openStore() refuses a file of a newer rustre", async () => {
  await inDirectory(async (directory) => {
    const path = `${directory}/meta.db`;
    await (await openStore(`sqlite:${path}`, clock)).close();
    const newer = new DatabaseSync(path);
    newer.exec("PRAGMA user_version = 2");
    newer.close();
    await refuses(`sqlite:${path}`, "STORE_FORMAT", /format 2 of a newer rustre/);
  });
});

Deno.test("openStore() lets several threads make one file at once", async () => {
  const script = import.meta.resolve("./opening_worker.ts");
  const workers = Array.from({ length: 4 }, () => new Worker(script, { type: "module" }));
  const open = (worker: Worker, path: string) => {
    worker.postMessage(path);
    return new Promise<string>((resolve) => worker.onmessage = ({ data }) => resolve(data));
  };
  const directory = await Deno.makeTempDir();
  try {
    for (let round = 0; round < 20; round++) {
      const path = `${directory}/${round}.db`;
      const outcomes = await Promise.all(workers.map((worker) => open(worker, path)));
      assert.deepEqual(outcomes, workers.map(() => "opened"));
    }
  } finally {
    for (const worker of workers) worker.terminate();
    await Deno.remove(directory, { recursive: true });
  }
});

Deno.test("openStore() refuses a damaged file", async () => {
  await inDirectory(async (directory) => {
    const path = `${directory}/meta.db`;
    await (await openStore(`sqlite:${path}`, clock)).close();
    using file = await Deno.open(path, { write: true });
    await file.seek(100, Deno.SeekMode.Start);
    await file.write(new Uint8Array(4000).fill(0xff));
    await refuses(`sqlite:${path}`, "STORE_FORMAT", /damaged/);
  });
});

Deno.test("many stores that make one file at the same time all open it", async () => {
  await inDirectory(async (directory) => {
    const url = `sqlite:${directory}/meta.db`;
    const stores = await Promise.all(Array.from({ length: 5 }, () => openStore(url, clock)));
    for (const store of stores) await store.close();
  });
});
