import assert from "node:assert/strict";
import { cratesIn } from "../../../packaging/crates.ts";

Deno.test("cratesIn() finds crates by the paths of their sources, each of them once", () => {
  const host = "\0x/.cargo/registry/src/index.crates.io-1949cf8c6b5b557f";
  const text = [
    `${host}/tokio-1.47.1/src/lib.rs`,
    `${host}/base64-simd-0.8.0/src/a-1.2.3/b.rs`,
    `${host}/tokio-1.47.1/src/runtime.rs`,
    `${host}/ash-0.38.0+1.3.281/src/lib.rs`,
    `${host}/argon2-0.6.0-rc.8/src/lib.rs`,
    `${host}/nothing/src/lib.rs`,
    "/registry/src/",
  ].join("");
  const expected = ["argon2 0.6.0-rc.8", "ash 0.38.0+1.3.281", "base64-simd 0.8.0", "tokio 1.47.1"];
  // Not at the start of its buffer.
  const bytes = new TextEncoder().encode(`12345${text}`).subarray(5);
  assert.deepEqual(cratesIn(bytes), expected);
  assert.deepEqual(cratesIn(new Uint8Array()), []);
});
