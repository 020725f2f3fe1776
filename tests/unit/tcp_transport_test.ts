// What of TCP is not seen from outside: which way the bytes of files take. tests/contract/transport.ts
// has the promises.

import assert from "node:assert/strict";
import type { Connection, SendableFile, Transport } from "../../shared/environment.ts";
import { isRustreError } from "../../shared/errors.ts";
import { systemEnvironment } from "../../shared/platform.ts";
import { TemporaryFile } from "../support/temporary_file.ts";

const ignore = Deno.build.os !== "linux";
const MiB = 1024 * 1024;
const { transport } = systemEnvironment();
const never = new AbortController().signal;

async function connected(network: Transport): Promise<[Connection, Connection]> {
  const listener = await network.listen({ host: "127.0.0.1", port: 0 });
  const [accepted, connecting] = await Promise.all([
    listener.accept(),
    network.connect(listener.address, { signal: never }),
  ]);
  listener.close();
  return [accepted!, connecting];
}

/** Counts what passes through this process. */
class CountingFile implements SendableFile {
  readonly descriptor: number | undefined;
  readonly #file: SendableFile;
  copiedBytes = 0;

  constructor({ file }: TemporaryFile, { hidden = false } = {}) {
    this.#file = file;
    this.descriptor = hidden ? undefined : file.descriptor;
  }

  readSync(into: Uint8Array, offsetBytes: number): number {
    const count = this.#file.readSync(into, offsetBytes);
    this.copiedBytes += count;
    return count;
  }
}

async function drain(connection: Connection): Promise<number> {
  const buffer = new Uint8Array(MiB);
  let total = 0;
  for (let count = await connection.read(buffer); count !== null;) {
    total += count;
    count = await connection.read(buffer);
  }
  return total;
}

Deno.test(
  { name: "files go to both ends of a connection without being copied", ignore },
  async () => {
    assert.equal(await transport.dataPath(), "zero-copy");
    const ends = await connected(transport);
    using temporary = new TemporaryFile(new Uint8Array(64 * 1024));
    for (const end of ends) {
      const file = new CountingFile(temporary);
      assert.equal(
        await end.sendFile!({ file, offsetBytes: 0, lengthBytes: 64 * 1024 }),
        64 * 1024,
      );
      assert.equal(file.copiedBytes, 0);
    }
    for (const end of ends) end.close();
  },
);

Deno.test(
  { name: "a socket that is full takes a copy of little, then the file again", ignore },
  async () => {
    const [from, to] = await connected(transport);
    using temporary = new TemporaryFile(new Uint8Array(64 * MiB));
    const file = new CountingFile(temporary);
    const lengthBytes = 64 * MiB;
    const sending = from.sendFile!({ file, offsetBytes: 0, lengthBytes }).then((sent) => {
      from.close();
      return sent;
    });
    assert.equal(await drain(to), lengthBytes);
    assert.equal(await sending, lengthBytes);
    assert(file.copiedBytes < lengthBytes / 4, `${file.copiedBytes} bytes were copied`);
    to.close();
  },
);

Deno.test("a file without a descriptor is copied", async () => {
  const [from, to] = await connected(transport);
  using temporary = new TemporaryFile(new Uint8Array(3 * MiB));
  const file = new CountingFile(temporary, { hidden: true });
  const receiving = drain(to);
  const range = { file, offsetBytes: 1, lengthBytes: 4 * MiB };
  assert.equal(await from.sendFile!(range), 3 * MiB - 1);
  from.close();
  assert.equal(await receiving, 3 * MiB - 1);
  assert.equal(file.copiedBytes, 3 * MiB - 1);
  to.close();
});

Deno.test("where copies are asked for there is no other way", async () => {
  const { transport: streaming } = systemEnvironment({ dataPath: "streaming" });
  assert.equal(await streaming.dataPath(), "streaming");
  const ends = await connected(streaming);
  for (const end of ends) {
    assert.equal(end.sendFile, undefined);
    end.close();
  }
});

Deno.test("sendFile() on a closed connection fails and leaves the file alone", async () => {
  const [from, to] = await connected(transport);
  using temporary = new TemporaryFile(new Uint8Array(MiB));
  const file = new CountingFile(temporary);
  from.close();
  await assert.rejects(
    from.sendFile!({ file, offsetBytes: 0, lengthBytes: MiB }),
    (error) => isRustreError(error, "CONNECTION_LOST"),
  );
  assert.equal(file.copiedBytes, 0);
  assert.equal(await drain(to).catch(() => 0), 0);
  to.close();
});

Deno.test("a file that cannot be read fails as that, not as the connection", async () => {
  const [from, to] = await connected(transport);
  const file: SendableFile = {
    descriptor: undefined,
    readSync: () => {
      throw Object.assign(new Error("EIO: i/o error, read"), { code: "EIO" });
    },
  };
  await assert.rejects(
    from.sendFile!({ file, offsetBytes: 0, lengthBytes: 10 }),
    (error) => isRustreError(error, "EIO") && /Cannot read a file/.test(error.message),
  );
  from.close();
  to.close();
});

Deno.test(
  { name: "files for a peer that is gone end the connection, not the process", ignore },
  async () => {
    const [from, to] = await connected(transport);
    using temporary = new TemporaryFile(new Uint8Array(MiB));
    await from.sendFile!(temporary.range(0, 1));
    // Not read: the peer's system resets the connection.
    to.close();
    const isLost = (error: unknown) => isRustreError(error, "CONNECTION_LOST");
    await assert.rejects(
      (async () => {
        for (;;) await from.sendFile!(temporary.range());
      })(),
      isLost,
    );
    // And again, now that the system knows.
    for (let count = 0; count < 3; count++) {
      await assert.rejects(from.sendFile!(temporary.range()), isLost);
    }
    from.close();
  },
);
