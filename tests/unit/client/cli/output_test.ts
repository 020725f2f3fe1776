import assert from "node:assert/strict";
import { Output } from "../../../../client/cli/output.ts";
import { limits } from "../../../../shared/limits.ts";

/** Takes at most `most` bytes at a time. */
function makeSink(options: { isTerminal: boolean; most?: number }) {
  const written: Uint8Array[] = [];
  return {
    isTerminal: () => options.isTerminal,
    write(bytes: Uint8Array) {
      const part = bytes.slice(0, options.most ?? bytes.length);
      written.push(part);
      return Promise.resolve(part.length);
    },
    written,
    text: () => new TextDecoder().decode(new Uint8Array(written.flatMap((part) => [...part]))),
  };
}

Deno.test("Output collects lines and writes all of them, in order with bytes", async () => {
  const sink = makeSink({ isTerminal: false, most: 3 });
  const output = new Output(sink);
  await output.line("first");
  await output.json({ a: 1n < 2n });
  assert.equal(sink.written.length, 0);
  await output.bytes(new TextEncoder().encode("raw"));
  await output.line("ünï");
  await output.flush();
  assert.equal(sink.text(), 'first\n{"a":true}\nrawünï\n');
});

Deno.test("Output does not collect without bound", async () => {
  const sink = makeSink({ isTerminal: false });
  const output = new Output(sink);
  await output.line("x".repeat(limits.outputBufferBytes));
  assert.equal(sink.written.length, 1);
});

Deno.test("Output shows control characters on no terminal", () => {
  const name = "a\nb\x1b[2Jc";
  assert.equal(new Output(makeSink({ isTerminal: true })).name(name), "a?b?[2Jc");
  assert.equal(new Output(makeSink({ isTerminal: false })).name(name), name);
});
