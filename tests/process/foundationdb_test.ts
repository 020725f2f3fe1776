// Server processes with a FoundationDB store, as far as that needs no database: what a missing
// library, more than one worker and a database that does not answer come to.

import assert from "node:assert/strict";
import { runRustre, spawnRustre } from "../support/processes.ts";

const clientLibrary = (() => {
  try {
    Deno.dlopen("libfdb_c.so", {}).close();
    return true;
  } catch {
    return false;
  }
})();

async function withClusterFile(test: (url: string) => Promise<void>): Promise<void> {
  const directory = await Deno.makeTempDir({ prefix: "rustre-fdb-" });
  // A port of this host that was free just now: nobody answers there.
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const { port } = listener.addr;
  listener.close();
  try {
    const path = `${directory}/fdb.cluster`;
    await Deno.writeTextFile(path, `test:test@127.0.0.1:${port}\n`);
    await test(`fdb:${path}`);
  } finally {
    await Deno.remove(directory, { recursive: true });
  }
}

Deno.test("more than one worker on FoundationDB is refused", async () => {
  await withClusterFile(async (url) => {
    const { code, stderr } = await runRustre(["mgs", "--store", url, "--workers", "2"]);
    assert.equal(code, 2);
    assert.match(stderr, /Cannot share the store "fdb:.*" among 2 workers: .*more processes/);
  });
});

Deno.test({
  name: "without libfdb_c a server says so" + (clientLibrary ? " (libfdb_c is here)" : ""),
  ignore: clientLibrary,
  async fn() {
    await withClusterFile(async (url) => {
      const { code, stderr } = await runRustre(["mgs", "--store", url]);
      assert.equal(code, 2);
      assert.match(stderr, /^rustre: Cannot open the store .*library cannot be loaded.*libfdb_c/m);
    });
  },
});

Deno.test({
  name: "a server waits for a database" + (clientLibrary ? "" : " (libfdb_c is not here)"),
  ignore: !clientLibrary,
  async fn() {
    await withClusterFile(async (url) => {
      const args = ["mgs", "-l", "127.0.0.1:0", "--store", url];
      const server = spawnRustre(args, { stdout: "piped", stderr: "null", stdin: "null" });
      let log = "";
      for await (const text of server.stdout.pipeThrough(new TextDecoderStream())) {
        const waited = log.match(/Waiting for the store/g)?.length ?? 0;
        log += text;
        // The second line says that it has tried again.
        if (waited < 2 && log.match(/Waiting for the store/g)?.length === 2) server.kill("SIGTERM");
      }
      assert.match(log, /Cannot read the store .*no answer in time/);
      assert.equal((await server.status).code, 0, log);
    });
  },
});
