import assert from "node:assert/strict";
import { noBaseRuntime } from "../../../packaging/compile.ts";

const url = "https://dl.deno.land/release/v2.9.6/denort-x86_64-unknown-linux-gnu.zip";

const outputs: [string, string, string | undefined][] = [
  [
    "a base runtime that cannot be downloaded",
    `error: Writing deno compile executable to temporary file '/x'

Caused by:
    0: Setting up base binary.
    1: error sending request for url (${url}): client error (Connect)
    2: dns error: failed to lookup address information

Stack backtrace:
   0: <unknown>
`,
    `Cannot download ${url}: dns error: failed to lookup address information`,
  ],
  [
    "a refused download",
    `error: Failed to download ${url}\n`,
    `Cannot download ${url}: the download failed`,
  ],
  ["sources that do not resolve", 'error: Module not found "file:///x/denort.ts"\n', undefined],
  ["nothing", "", undefined],
];
for (const [name, stderr, expected] of outputs) {
  Deno.test(`noBaseRuntime() of ${name}`, () => assert.equal(noBaseRuntime(stderr), expected));
}
