// Puts and gets against a whole cluster: what is under way at once, in which order, and what is left
// when they end early.

import assert from "node:assert/strict";
import { download, downloadStream, upload, uploadStream } from "../../client/mod.ts";
import { limits } from "../../shared/limits.ts";
import { frameKind } from "../../shared/rpc/frame.ts";
import { mdsService } from "../../shared/protocol/mds.ts";
import { ossService } from "../../shared/protocol/oss.ts";
import { withCluster } from "../support/cluster.ts";
import { type WatchedFrame } from "../support/watching_transport.ts";
import { bytesOf, inCluster, same, store, watched } from "../support/transfers.ts";

const { transferBytes } = limits;
const { readObject, writeObject } = ossService.methods;

/** Bytes of data requests that are under way, by server. */
class UnderWay {
  readonly #bytes = new Map<string, Map<number, number>>();
  readonly mostBytesAt = new Map<string, number>();
  mostBytes = 0;

  readonly onFrame = ({ remote, header, body }: WatchedFrame): void => {
    const { kind, opcode, requestId, payloadBytes } = header;
    if (opcode !== readObject.opcode && opcode !== writeObject.opcode) return;
    const here = this.#bytes.get(remote) ?? new Map<number, number>();
    this.#bytes.set(remote, here);
    if (kind !== frameKind.request) return void here.delete(requestId);
    here.set(requestId, opcode === readObject.opcode ? body.lengthBytes : payloadBytes);
    const sums = [...this.#bytes].map(([server, requests]) => {
      const sum = [...requests.values()].reduce((total, bytes) => total + bytes, 0);
      this.mostBytesAt.set(server, Math.max(sum, this.mostBytesAt.get(server) ?? 0));
      return sum;
    });
    this.mostBytes = Math.max(this.mostBytes, sums.reduce((total, bytes) => total + bytes, 0));
  };
}

Deno.test("put and get keep every OST busy and no more under way than the windows hold", () =>
  inCluster({ osts: 8 }, async (cluster, directory) => {
    const bytes = bytesOf(120 * transferBytes);
    await Deno.writeFile(`${directory}/a`, bytes);
    for (const what of ["put", "get", "cat"]) {
      const underWay = new UnderWay();
      const { fileSystem, environment } = watched(cluster, underWay);
      if (what === "put") await upload(fileSystem, `${directory}/a`, "/a", { environment });
      if (what === "get") await download(fileSystem, "/a", `${directory}/b`, { environment });
      if (what === "cat") await downloadStream(fileSystem, "/a", new Discard(), { name: "sink" });
      assert.equal(underWay.mostBytesAt.size, 8, what);
      for (const most of underWay.mostBytesAt.values()) {
        assert(most >= transferBytes && most <= windowOf(what), `${what}: ${most}`);
      }
      const least = (what === "cat" ? limits.transferWindow / 2 : 24) * transferBytes;
      assert(underWay.mostBytes >= least, `${what}: ${underWay.mostBytes}`);
      assert(underWay.mostBytes <= limits.transferBufferBytes, `${what}: ${underWay.mostBytes}`);
    }
    same(await Deno.readFile(`${directory}/b`), bytes);
  }));

function windowOf(what: string): number {
  return what === "put" ? limits.writeWindowBytes : limits.targetWindowBytes;
}

class Discard {
  write(bytes: Uint8Array): Promise<number> {
    return Promise.resolve(bytes.length);
  }
}

Deno.test("a put writes the stripes of an object together, as much as a request takes", () =>
  inCluster({ osts: 2 }, async (cluster, directory) => {
    const stripeBytes = limits.stripeBytesMin;
    const bytes = bytesOf(5 * limits.writeBytesMax + 3 * stripeBytes + 5_000);
    await Deno.writeFile(`${directory}/a`, bytes);
    const layout = { stripeBytes, stripeCount: 2, replicas: 2 };
    for (const what of ["zero copy", "streaming", "in memory"]) {
      const lengths: number[] = [];
      const { fileSystem, environment } = watched(cluster, {
        ...(what === "zero copy" ? { onSendFile: () => {} } : {}),
        onFrame: ({ direction, header: { opcode, payloadBytes } }) => {
          const isWrite = direction === "sent" && opcode === writeObject.opcode;
          if (isWrite) lengths.push(payloadBytes);
        },
      });
      if (what === "in memory") {
        await using file = await fileSystem.create(`/${what}`, { layout });
        await file.write(0, bytes);
        await file.close();
      } else {
        await upload(fileSystem, `${directory}/a`, `/${what}`, { environment, layout });
      }
      // An object takes 64 stripes, which is one full request; the last two objects get the rest.
      const full = lengths.filter((length) => length === limits.writeBytesMax).length;
      assert(full === 4 && lengths.length === 6, `${what}: ${lengths}`);
      await using file = await fileSystem.open(`/${what}`);
      same(await file.read(0, bytes.length), bytes);
    }
  }));

Deno.test("many files at once are within the same bounds", () =>
  inCluster({ osts: 2 }, async (cluster, directory) => {
    const bytes = bytesOf(transferBytes / 2);
    await Deno.mkdir(`${directory}/tree`);
    for (let index = 0; index < 100; index++) {
      await Deno.writeFile(`${directory}/tree/${index}`, bytes);
    }
    for (const what of ["put", "get"]) {
      const underWay = new UnderWay();
      const { fileSystem, environment } = watched(cluster, underWay);
      const options = { environment, recursive: true };
      if (what === "put") await upload(fileSystem, `${directory}/tree`, "/tree", options);
      else await download(fileSystem, "/tree", `${directory}/copy`, options);
      for (const most of underWay.mostBytesAt.values()) {
        assert(most >= 4 * bytes.length && most <= windowOf(what), `${what}: ${most}`);
      }
    }
    for (let index = 0; index < 100; index++) {
      same(await Deno.readFile(`${directory}/copy/${index}`), bytes);
    }
  }));

Deno.test("an OST that hangs takes its own window only, and all is whole when it goes on", () =>
  inCluster({ osts: 4 }, async (cluster, directory) => {
    const bytes = bytesOf(100 * transferBytes);
    await Deno.writeFile(`${directory}/a`, bytes);
    const read = new Uint8Array(bytes.length);
    for (const what of ["put", "get"]) {
      let movedBytes = 0;
      const fileSystem = cluster.fileSystem();
      await fileSystem.stat("/");
      const put = () =>
        upload(fileSystem, `${directory}/a`, "/a", {
          environment: cluster.environment("local"),
          onProgress: (progress) => movedBytes = progress.movedBytes,
        });
      const get = async () => {
        await using file = await fileSystem.open("/a");
        await file.readPieces(async ({ offsetBytes, lengthBytes, readInto }) => {
          const count = await readInto(read.subarray(offsetBytes, offsetBytes + lengthBytes));
          movedBytes += count;
        });
      };
      cluster.network.freeze("oss1");
      const moving = what === "put" ? put() : get();
      await cluster.sleep(1000);
      assert.equal(movedBytes, 75 * transferBytes, `${what} of what is on the others`);
      cluster.network.freeze("oss1", false);
      await moving;
      assert.equal(movedBytes, bytes.length);
    }
    same(read, bytes);
  }));

async function fileNames(directory: string): Promise<string[]> {
  return (await Array.fromAsync(Deno.readDir(directory), ({ name }) => name)).sort();
}

Deno.test("a put or get that is interrupted in the middle leaves nothing", () =>
  inCluster({ osts: 4 }, async (cluster, directory) => {
    const fileSystem = cluster.fileSystem();
    const bytes = bytesOf(100 * transferBytes);
    await Deno.writeFile(`${directory}/a`, bytes);
    await store(fileSystem, "/a", bytes);
    for (const what of ["put", "get"]) {
      const stop = new AbortController();
      const options = {
        environment: cluster.environment("local"),
        signal: stop.signal,
        onProgress({ movedBytes }: { movedBytes: number }) {
          if (movedBytes >= 30 * transferBytes) stop.abort();
        },
      };
      const moving = what === "put"
        ? upload(fileSystem, `${directory}/a`, "/b", options)
        : download(fileSystem, "/a", `${directory}/b`, options);
      await assert.rejects(moving, { code: "INTERRUPTED" });
    }
    assert.deepEqual(await fileNames(directory), ["a"]);
    assert.equal(await fileSystem.find("/b"), undefined);
    await cluster.eventually(() => cluster.usage().bytes === bytes.length);
  }));

Deno.test("a get that a full local disk refuses asks no OST", () =>
  inCluster({ osts: 2 }, async (cluster, directory) => {
    const frames: number[] = [];
    const { fileSystem, environment } = watched(cluster, {
      onFrame: ({ header }) => void frames.push(header.opcode),
    });
    const bytes = bytesOf(transferBytes + 1);
    await store(fileSystem, "/a", bytes);
    frames.length = 0;
    // The one file system that everybody has and nobody can allocate space in.
    const downloading = download(fileSystem, "/a", "/proc/self/none", { environment });
    await assert.rejects(downloading, { message: /^Cannot create "\/proc\/self\/none": / });
    assert.equal(frames.includes(readObject.opcode), false);
    assert.deepEqual(await fileNames(directory), []);
  }));

// ── local files that change ────────────────────────────────────────────────────────────────────

Deno.test("a local file that changes while it is sent is read again, and stored as it is then", () =>
  inCluster({ osts: 2 }, async (cluster, directory) => {
    const path = `${directory}/a`;
    const [before, after] = [bytesOf(3 * transferBytes, 1), bytesOf(3 * transferBytes, 2)];
    await Deno.writeFile(path, before);
    let sent = 0;
    const { fileSystem, environment } = watched(cluster, {
      onSendFile: () => {
        if (sent++ === 0) Deno.writeFileSync(path, after);
      },
    });
    const summary = await upload(fileSystem, path, "/a", { environment });
    assert.equal(summary.bytes, after.length);
    await using file = await fileSystem.open("/a");
    const stored = await file.read(0, file.sizeBytes);
    // What was sent before the change was right then; all of the rest is new.
    same(stored, after);
    assert(sent > 3, "some of it was sent twice");
  }));

for (const [how, change] of [["cut", -10], ["growing", 10]] as const) {
  for (const zeroCopy of [true, false]) {
    const way = zeroCopy ? "without copies" : "through memory";
    Deno.test(`a local file that is ${how} while it is sent ${way} is refused`, () =>
      inCluster({ osts: 2 }, async (cluster, directory) => {
        const path = `${directory}/a`;
        const bytes = bytesOf(3 * transferBytes);
        await Deno.writeFile(path, bytes);
        const changeFile = () => Deno.truncateSync(path, bytes.length + change);
        const { fileSystem, environment } = watched(cluster, {
          ...zeroCopy ? { onSendFile: changeFile } : {},
          onFrame: ({ direction, header }) => {
            if (direction === "received" && header.opcode === mdsService.methods.create.opcode) {
              changeFile();
            }
          },
        });
        await assert.rejects(upload(fileSystem, path, "/a", { environment }), {
          code: "EBUSY",
          message: `Cannot upload "${path}": its size changed from ${bytes.length} to ` +
            `${bytes.length + change} bytes while it was read`,
        });
        assert.equal(await fileSystem.find("/a"), undefined);
      }));
  }
}

// ── durability ─────────────────────────────────────────────────────────────────────────────────

Deno.test("a put through a power cut of an OST fails", () =>
  withCluster({ osts: 1 }, async (cluster) => {
    const fileSystem = cluster.fileSystem();
    await using file = await fileSystem.create("/a");
    await file.write(0, bytesOf(2 * transferBytes));
    await cluster.crash("oss0");
    cluster.targets[0]!.disk.crash();
    await cluster.startOss(0);
    await assert.rejects(file.close(), { code: "WRITES_LOST" });
    assert.equal(await fileSystem.find("/a"), undefined);
  }));

// ── buffers of the caller ──────────────────────────────────────────────────────────────────────

Deno.test("readInto() fills buffers of any length, up to the end of the file and its holes", () =>
  withCluster({ osts: 3 }, async (cluster) => {
    const fileSystem = cluster.fileSystem();
    const data = bytesOf(2 * transferBytes + 17);
    await store(fileSystem, "/a", data);
    const sizeBytes = data.length + 5000;
    await fileSystem.setAttributes("/a", { sizeBytes });
    const whole = new Uint8Array(sizeBytes);
    whole.set(data);
    await using file = await fileSystem.open("/a");
    const buffer = new Uint8Array(3 * transferBytes).fill(0xee);
    const offsets = [
      0,
      1,
      transferBytes - 1,
      data.length - 1,
      data.length,
      sizeBytes - 1,
      sizeBytes,
    ];
    for (const offsetBytes of [...offsets, sizeBytes + 100]) {
      for (const length of [0, 1, 4096, transferBytes + 1, buffer.length]) {
        const into = buffer.fill(0xee).subarray(0, length);
        const count = await file.readInto(offsetBytes, into);
        const expected = whole.subarray(offsetBytes, offsetBytes + length);
        assert.equal(count, expected.length);
        same(into.subarray(0, count), expected);
        assert(buffer.subarray(length).every((byte) => byte === 0xee), "nothing behind it");
      }
    }
  }));

Deno.test("several reads of a file that was cut meanwhile all end where it ends now", () =>
  withCluster({ osts: 2 }, async (cluster) => {
    const fileSystem = cluster.fileSystem();
    const layout = { stripeBytes: limits.stripeBytesMin };
    await uploadStream(fileSystem, sourceOf(bytesOf(10 * transferBytes)), "/a", {
      name: "s",
      layout,
    });
    await using file = await cluster.fileSystem().open("/a");
    await fileSystem.setAttributes("/a", { sizeBytes: 100 });
    await cluster.eventually(() => cluster.usage().bytes === 100);
    const reads = [1, 2, 3, 4].map((index) => file.read(index * transferBytes, 10));
    for (const bytes of await Promise.all(reads)) assert.equal(bytes.length, 0);
  }));

Deno.test("a get of a file that was cut behind its opening is as long as the file is now", () =>
  inCluster({ osts: 2 }, async (cluster, directory) => {
    const fileSystem = cluster.fileSystem();
    const bytes = bytesOf(5 * transferBytes);
    await store(fileSystem, "/a", bytes);
    const open = fileSystem.open.bind(fileSystem);
    fileSystem.open = async (path, options) => {
      const file = await open(path, options);
      await fileSystem.setAttributes("/a", { sizeBytes: transferBytes + 5 });
      await cluster.eventually(() => cluster.usage().bytes === transferBytes + 5);
      return file;
    };
    await download(fileSystem, "/a", `${directory}/a`, {
      environment: cluster.environment("local"),
    });
    same(await Deno.readFile(`${directory}/a`), bytes.subarray(0, transferBytes + 5));
  }));

function sourceOf(bytes: Uint8Array) {
  let given = 0;
  return {
    read(into: Uint8Array): Promise<number | null> {
      const part = bytes.subarray(given, given + into.length);
      into.set(part);
      given += part.length;
      return Promise.resolve(part.length === 0 ? null : part.length);
    },
  };
}
