import assert from "node:assert/strict";
import { TransferBuffers } from "../../../../client/transfer/transfer_buffers.ts";
import { limits } from "../../../../shared/limits.ts";

const { transferBytes, transferBufferBytes } = limits;

Deno.test("TransferBuffers gives no more at once than its bound, and then what comes back", async () => {
  const buffers = new TransferBuffers();
  const count = transferBufferBytes / transferBytes;
  const taken = [];
  for (let each = 0; each < count; each++) {
    taken.push(await buffers.take(transferBytes, undefined));
  }
  assert.equal(new Set(taken.map(({ bytes }) => bytes.buffer)).size, count);
  assert.equal(buffers.inUseBytes, transferBufferBytes);
  let got = false;
  const waiting = buffers.take(5, undefined).then((buffer) => {
    got = true;
    return buffer;
  });
  await Promise.resolve();
  assert.equal(got, false);
  taken.pop()![Symbol.dispose]();
  taken.push(await waiting);
  assert.equal(taken.at(-1)!.bytes.length, 5);
  for (const buffer of taken) buffer[Symbol.dispose]();
  assert.equal(buffers.inUseBytes, 0);
});

Deno.test("TransferBuffers.take() ends with the signal", async () => {
  const buffers = new TransferBuffers();
  const stop = new AbortController();
  const all = [];
  while (buffers.inUseBytes < transferBufferBytes) {
    all.push(await buffers.take(transferBytes, stop.signal));
  }
  const waiting = buffers.take(1, stop.signal);
  stop.abort();
  await assert.rejects(waiting, { code: "INTERRUPTED" });
  for (const buffer of all) buffer[Symbol.dispose]();
});
