import assert from "node:assert/strict";
import { limits } from "../../shared/limits.ts";
import { type ByteSink, LineWriter } from "../../shared/line_writer.ts";

/** Takes a few bytes at a time, when it is let. */
class SlowSink implements ByteSink {
  text = "";
  writes = 0;
  #gate = Promise.resolve();

  block(): () => void {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#gate = promise;
    return resolve;
  }

  async write(bytes: Uint8Array): Promise<number> {
    this.writes++;
    await this.#gate;
    const part = bytes.subarray(0, 1000);
    this.text += new TextDecoder().decode(part);
    return part.length;
  }
}

Deno.test("LineWriter writes every line in order, also in several writes", async () => {
  const sink = new SlowSink();
  const writer = new LineWriter(sink);
  const lines = Array.from({ length: 1000 }, (_, index) => `line ${index}`);
  for (const line of lines) writer.write(line);
  await writer.flush();
  assert.equal(sink.text, lines.join("\n") + "\n");
  writer.write("one more");
  await writer.flush();
  assert(sink.text.endsWith("\none more\n"));
});

Deno.test("LineWriter.flush() waits for lines that come while it waits", async () => {
  const sink = new SlowSink();
  const unblock = sink.block();
  const writer = new LineWriter(sink);
  writer.write("a");
  const flushed = writer.flush();
  await Promise.resolve();
  await Promise.resolve();
  writer.write("b");
  unblock();
  await flushed;
  assert.equal(sink.text, "a\nb\n");
});

Deno.test("LineWriter counts the lines that it drops while nobody reads", async () => {
  const sink = new SlowSink();
  const unblock = sink.block();
  const writer = new LineWriter(sink);
  const line = "x".repeat(limits.logBufferLength / 4);
  for (let count = 0; count < 10; count++) writer.write(line);
  writer.write("ready", true);
  unblock();
  await writer.flush();
  const written = sink.text.split("\n");
  assert.equal(written.filter((each) => each === line).length, 4);
  assert(written.includes("ready"), "an important line is never dropped");
  assert(written.includes("(6 log lines are missing here: they were not read in time)"));
});

Deno.test("LineWriter gives up quietly when the reader is gone", async () => {
  let writes = 0;
  const writer = new LineWriter({
    write: () => {
      writes++;
      return Promise.reject(new Deno.errors.BrokenPipe("Broken pipe"));
    },
  });
  writer.write("a");
  await writer.flush();
  writer.write("b");
  await writer.flush();
  assert.equal(writes, 1);
  assert(writer.failure instanceof Deno.errors.BrokenPipe);
});

Deno.test("LineWriter.replaceSink() moves lines that are not being written yet", async () => {
  const [before, after] = [new SlowSink(), new SlowSink()];
  const unblock = before.block();
  const writer = new LineWriter(before);
  const long = "x".repeat(3000);
  writer.write(long);
  while (before.writes === 0) await Promise.resolve();
  writer.write("b");
  let isReplaced = false;
  const replaced = writer.replaceSink(after).then(() => isReplaced = true);
  writer.write("c");
  for (let turn = 0; turn < 100; turn++) await Promise.resolve();
  assert.equal(isReplaced, false, "the first line is not written yet");
  unblock();
  await replaced;
  await writer.flush();
  assert.deepEqual([before.text, after.text], [`${long}\n`, "b\nc\n"]);
});

Deno.test("LineWriter.replaceSink() ends a failure, and takes none of the sink before", async () => {
  const full = Promise.withResolvers<number>();
  const after = new SlowSink();
  const writer = new LineWriter({ write: () => full.promise });
  writer.write("lost");
  await Promise.resolve();
  await Promise.resolve();
  const replaced = writer.replaceSink(after);
  full.reject(new Error("no space"));
  writer.write("kept");
  await replaced;
  await writer.flush();
  assert.deepEqual([after.text, writer.failure], ["kept\n", undefined]);

  const failing = new LineWriter({ write: () => Promise.reject(new Error("no space")) });
  failing.write("lost");
  await failing.flush();
  assert(failing.failure);
  await failing.replaceSink(after);
  failing.write("again");
  await failing.flush();
  assert.equal(after.text, "kept\nagain\n");
});
