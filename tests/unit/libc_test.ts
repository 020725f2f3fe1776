// The calls to libc, where there is one: Linux is what these promises are for.

import assert from "node:assert/strict";
import { closeSync, openSync, readdirSync, statSync, writeSync } from "node:fs";
import { isRustreError } from "../../shared/errors.ts";
import { bufferPool } from "../../shared/buffer_pool.ts";
import {
  bytesToPage,
  connectionAddresses,
  fileLength,
  linkOpenFile,
  openUncached,
  openUnnamed,
  pageBytes,
  preallocate,
  readAttribute,
  readStatus,
  removeAttribute,
  sendDatagram,
  sendFile,
  syncFileSystem,
  writeAt,
  writeAttribute,
  writeTimes,
  writeTimesOf,
} from "../../shared/libc.ts";

const ignore = Deno.build.os !== "linux";

async function withFile(test: (descriptor: number, path: string) => unknown): Promise<void> {
  const path = Deno.makeTempFileSync({ prefix: "rustre_" });
  const descriptor = openSync(path, "r+");
  try {
    await test(descriptor, path);
  } finally {
    closeSync(descriptor);
    Deno.removeSync(path);
  }
}

Deno.test({ name: "syncFileSystem() syncs that of an open file", ignore }, async () => {
  await withFile(async (descriptor) => assert.equal(await syncFileSystem(descriptor), true));
});

Deno.test(
  { name: "syncFileSystem() of a closed file is an error, not success", ignore },
  async () => {
    await assert.rejects(syncFileSystem(1_000_000), (error) => isRustreError(error, "EIO"));
  },
);

Deno.test({ name: "preallocate() gives a file its length and its blocks", ignore }, async () => {
  await withFile(async (descriptor, path) => {
    assert.equal(await preallocate(descriptor, 1_000_000), true);
    assert.equal(statSync(path).size, 1_000_000);
    assert((Deno.statSync(path).blocks ?? 0) * 512 >= 1_000_000);
    // What is longer already stays so.
    assert.equal(await preallocate(descriptor, 1000), true);
    assert.equal(statSync(path).size, 1_000_000);
  });
});

Deno.test({ name: "preallocate() says where there is no room", ignore }, async () => {
  await withFile(async (descriptor) => {
    await assert.rejects(
      preallocate(descriptor, 2 ** 52),
      (error) => isRustreError(error, "ENOSPC", "EFBIG"),
    );
  });
});

Deno.test(
  { name: "preallocate() of what is no file on a disk is not available", ignore },
  async () => {
    const descriptor = openSync("/dev/null", "r+");
    assert.equal(await preallocate(descriptor, 4096), false);
    closeSync(descriptor);
  },
);

Deno.test(
  { name: "writeTimes() and readStatus() keep nanoseconds, before 1970 too", ignore },
  () =>
    withFile((_, path) => {
      for (const mtimeNs of [1n, 1_600_000_000_123_456_789n, -1n, -1_500_000_001n]) {
        const times = { atimeNs: mtimeNs + 1n, mtimeNs };
        assert.equal(writeTimes(path, times), true);
        const { atimeNs, mtimeNs: readNs } = readStatus(path, { follow: true })!;
        assert.deepEqual({ atimeNs, mtimeNs: readNs }, times);
      }
    }),
);

Deno.test({ name: "readStatus() and writeTimes() say that a file is not there", ignore }, () => {
  assert.equal(readStatus("/nonexistent", { follow: true }), undefined);
  assert.equal(writeTimes("/nonexistent", { atimeNs: 0n, mtimeNs: 0n }), false);
});

Deno.test(
  { name: "a file is no connection, and nothing is sent to it", ignore },
  () =>
    withFile((descriptor) => {
      assert.equal(connectionAddresses(descriptor), undefined);
      assert.equal(connectionAddresses(1_000_000), undefined);
      assert.equal(sendFile(1_000_000, descriptor, 0, 10), undefined);
    }),
);

Deno.test({ name: "openUnnamed() makes a file that linkOpenFile() names, once", ignore }, () => {
  const directory = Deno.makeTempDirSync({ prefix: "rustre_" });
  try {
    const descriptor = openUnnamed(directory)!;
    assert.deepEqual(readdirSync(directory), []);
    writeSync(descriptor, new TextEncoder().encode("content"));
    assert.equal(writeTimesOf(descriptor, { atimeNs: 5n, mtimeNs: -7n }), true);
    assert.equal(linkOpenFile(descriptor, `${directory}/none/a`), false);
    assert.equal(linkOpenFile(descriptor, `${directory}/a`), true);
    assert.equal(linkOpenFile(descriptor, `${directory}/a`), false, "the name is taken");
    closeSync(descriptor);
    assert.equal(Deno.readTextFileSync(`${directory}/a`), "content");
    assert.equal(statSync(`${directory}/a`).mode & 0o777, 0o600);
    const times = readStatus(`${directory}/a`, { follow: false });
    assert.equal(times?.mtimeNs, -7n);
    assert.equal(openUnnamed(`${directory}/none`), undefined);
    assert.equal(openUnnamed("/proc"), undefined, "a file system that has no such files");
  } finally {
    Deno.removeSync(directory, { recursive: true });
  }
});

Deno.test({ name: "bytesToPage() says where the next page begins", ignore }, () => {
  const buffer = new ArrayBuffer(4 * pageBytes);
  const first = bytesToPage(new Uint8Array(buffer));
  assert(first >= 0 && first < pageBytes);
  for (const offset of [0, 1, 100, pageBytes - 1, pageBytes, pageBytes + 1]) {
    const expected = (2 * pageBytes - offset) % pageBytes;
    assert.equal(bytesToPage(new Uint8Array(buffer, first + offset)), expected, `${offset}`);
  }
});

Deno.test(
  { name: "writeAt() writes pages past the cache where the file system can", ignore },
  () =>
    withFile(async (descriptor, path) => {
      const bytes = bufferPool.take(16 * pageBytes);
      crypto.getRandomValues(bytes);
      // A file system in memory may have no such way.
      const uncached = openUncached(path);
      for (const each of uncached === undefined ? [descriptor] : [descriptor, uncached]) {
        assert.equal(await writeAt(each, bytes, 3 * pageBytes), bytes.length);
        const written = await Deno.readFile(path);
        assert.deepEqual(written.subarray(3 * pageBytes), bytes);
        bytes.reverse();
      }
      if (uncached === undefined) return;
      assert.equal(await writeAt(uncached, bytes, 100), undefined, "not at a page");
      closeSync(uncached);
      assert.equal(await writeAt(uncached, bytes, 0), undefined, "closed");
    }),
);

Deno.test({ name: "openUncached() says where there is no such file", ignore }, () => {
  assert.equal(openUncached("/nonexistent"), undefined);
  assert.equal(openUncached("/proc/version"), undefined);
});

Deno.test({ name: "sendDatagram() reaches sockets with a path", ignore }, async () => {
  const directory = Deno.makeTempDirSync({ prefix: "rustre_" });
  try {
    const path = `${directory}/socket`;
    assert.equal(await sendDatagram(path, "nobody is there"), false);
    const socket = Deno.listenDatagram({ transport: "unixpacket", path });
    assert.equal(await sendDatagram(path, "READY=1\nSTATUS=é"), true);
    const [bytes] = await socket.receive();
    assert.equal(new TextDecoder().decode(bytes), "READY=1\nSTATUS=é");
    socket.close();
    assert.equal(await sendDatagram(path, "nobody is there any more"), false);
    assert.equal(await sendDatagram(`/${"x".repeat(200)}`, "too long"), false);
  } finally {
    Deno.removeSync(directory, { recursive: true });
  }
});

Deno.test({ name: "sendDatagram() reaches sockets with an abstract name", ignore }, async () => {
  const library = Deno.dlopen("libc.so.6", {
    socket: { parameters: ["i32", "i32", "i32"], result: "i32" },
    bind: { parameters: ["i32", "buffer", "u32"], result: "i32" },
    recv: { parameters: ["i32", "buffer", "usize", "i32"], result: "isize" },
    close: { parameters: ["i32"], result: "i32" },
  });
  const { socket, bind, recv, close } = library.symbols;
  const name = `rustre-test-${crypto.randomUUID()}`;
  // AF_UNIX, SOCK_DGRAM; MSG_DONTWAIT.
  const descriptor = socket(1, 2, 0);
  try {
    const address = new Uint8Array([1, 0, 0, ...new TextEncoder().encode(name)]);
    assert.equal(bind(descriptor, address, address.length), 0);
    assert.equal(await sendDatagram(`@${name}`, "READY=1"), true);
    const bytes = new Uint8Array(100);
    const length = Number(recv(descriptor, bytes, 100n, 0x40));
    assert.equal(new TextDecoder().decode(bytes.subarray(0, length)), "READY=1");
  } finally {
    close(descriptor);
    library.close();
  }
});

// ── lengths and attributes ─────────────────────────────────────────────────────────────────────

Deno.test(
  { name: "fileLength() gives the length of an open file as it is now", ignore },
  async () => {
    await withFile((descriptor) => {
      assert.equal(fileLength(descriptor), 0);
      writeSync(descriptor, new Uint8Array(5_000));
      assert.equal(fileLength(descriptor), 5_000);
      assert.equal(fileLength(1_000_000), undefined);
    });
  },
);

Deno.test(
  { name: "readAttribute() gives what writeAttribute() has written last", ignore },
  async () => {
    await withFile((descriptor) => {
      assert.equal(readAttribute(descriptor), undefined);
      for (const bytes of [Uint8Array.of(1, 2, 3), new Uint8Array(56).fill(7), new Uint8Array(0)]) {
        assert.equal(writeAttribute(descriptor, bytes), true);
        assert.deepEqual(readAttribute(descriptor), bytes);
      }
      assert.equal(removeAttribute(descriptor), true);
      assert.equal(readAttribute(descriptor), undefined);
      assert.equal(removeAttribute(descriptor), false);
    });
  },
);

Deno.test({ name: "readAttribute() takes no error for a missing attribute", ignore }, () => {
  assert.throws(() => readAttribute(1_000_000), (error) => isRustreError(error, "EIO"));
  assert.equal(writeAttribute(1_000_000, new Uint8Array(1)), false);
});
