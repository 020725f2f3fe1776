// What is left when a transfer is interrupted or its client killed.

import assert from "node:assert/strict";
import { ClientCommands, patternBytes } from "../support/client_commands.ts";

let client: ClientCommands;
Deno.test.beforeAll(async () => {
  client = await ClientCommands.start();
});
Deno.test.afterAll(async () => {
  await client[Symbol.asyncDispose]();
});

/** Starts a put of standard input, and waits until the OSTs hold some of it. */
async function startPut(path: string, ...flags: string[]): Promise<{
  child: Deno.ChildProcess;
  end(): Promise<{ code: number; stderr: string }>;
}> {
  const usedBefore = await usedBytes();
  const child = client.spawn(["put", ...flags, "-", path], { stdin: "" });
  const writer = child.stdin.getWriter();
  await writer.write(patternBytes(5 * 1024 * 1024));
  await until(async () => await usedBytes() >= usedBefore + 4 * 1024 * 1024);
  return {
    child,
    async end() {
      const stderr = new Response(child.stderr).text();
      await child.stdout.cancel();
      const { code } = await child.status;
      await writer.close().catch(() => {});
      return { code, stderr: await stderr };
    },
  };
}

/** What the OSTs hold, on their disks. */
async function usedBytes(): Promise<number> {
  let bytes = 0;
  const command = new Deno.Command("du", {
    args: ["-sb", ...[0, 1, 2, 3].map((index) => client.local(`.cluster/ost${index}/objects`))],
  });
  const { stdout } = await command.output();
  for (const line of new TextDecoder().decode(stdout).trim().split("\n")) {
    bytes += Number(line.split("\t")[0]);
  }
  return bytes;
}

async function until(condition: () => Promise<boolean>): Promise<void> {
  const endMs = performance.now() + 20_000;
  while (!(await condition())) {
    assert.ok(performance.now() < endMs, "It did not happen in time");
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

/** Does nothing to a process that has ended by itself: a fast machine may be done already. */
function interrupt(child: Deno.ChildProcess, signal: Deno.Signal = "SIGINT"): void {
  try {
    child.kill(signal);
  } catch (error) {
    if (!(error instanceof TypeError)) throw error;
  }
}

/** Whether a process has a file open in the local directory, with or without a name, or has ended. */
function isWriting({ pid }: Deno.ChildProcess): boolean {
  if (!alive(pid)) return true;
  try {
    const descriptors = [...Deno.readDirSync(`/proc/${pid}/fd`)];
    const files = descriptors.map(({ name }) => Deno.readLinkSync(`/proc/${pid}/fd/${name}`));
    return files.some((file) => file.startsWith(`${client.directory}/`));
  } catch (error) {
    // It or its descriptor is gone; the next look tells.
    if (!(error instanceof Deno.errors.NotFound)) throw error;
    return false;
  }
}

function alive(pid: number): boolean {
  try {
    return /^State:\s*[^ZX]/m.test(Deno.readTextFileSync(`/proc/${pid}/status`));
  } catch {
    return false;
  }
}

function localNames(): string[] {
  return [...Deno.readDirSync(client.directory)].map(({ name }) => name).sort();
}

Deno.test("an interrupted put leaves no name and no bytes, and ends with 130", async () => {
  for (const signal of ["SIGINT", "SIGTERM"] as const) {
    const before = await usedBytes();
    const put = await startPut("/interrupted");
    assert.deepEqual(await client.names("/"), []);
    put.child.kill(signal);
    assert.deepEqual(await put.end(), { code: 130, stderr: "" });
    assert.deepEqual(await client.names("/"), []);
    // Aborted, it is collected at once, and not after its lease.
    await until(async () => await usedBytes() < before + 100_000);
  }
});

Deno.test("a put that was killed was never seen, and its name can be used at once", async () => {
  const put = await startPut("/killed");
  put.child.kill("SIGKILL");
  assert.equal((await put.end()).code, 137);
  assert.deepEqual(await client.names("/"), []);
  assert.equal((await client.run(["put", "-", "/killed"], { stdin: "again" })).code, 0);
  assert.equal(await client.ok("cat", "/killed"), "again");
  await client.ok("rm", "/killed");
});

Deno.test("an interrupted put -f leaves the old file", async () => {
  assert.equal((await client.run(["put", "-", "/old"], { stdin: "old" })).code, 0);
  const put = await startPut("/old", "-f");
  put.child.kill("SIGINT");
  assert.equal((await put.end()).code, 130);
  assert.equal(await client.ok("cat", "/old"), "old");
  await client.ok("rm", "/old");
});

Deno.test("an interrupted or killed get leaves no local file under any name", async () => {
  const file = await Deno.open(client.local("source"), { write: true, create: true });
  await file.truncate(128 * 1024 * 1024);
  file.close();
  await client.ok("put", "source", "/big");
  const before = localNames();
  for (const [signal, codeWanted] of [["SIGINT", 130], ["SIGKILL", 137]] as const) {
    // A fast machine may be done before it is interrupted; then it is asked again.
    for (let code = 0; code === 0;) {
      const child = client.spawn(["get", "/big", "big"]);
      await until(() => Promise.resolve(isWriting(child)));
      interrupt(child, signal);
      await child.stdout.cancel();
      const stderr = await new Response(child.stderr).text();
      ({ code } = await child.status);
      if (code === 0) await Deno.remove(client.local("big"));
      else assert.deepEqual([code, stderr], [codeWanted, ""]);
      assert.deepEqual(localNames(), before);
    }
  }
  await client.ok("rm", "/big");
});

Deno.test("an interrupted put -r and rm -r can be started again", async () => {
  await Deno.mkdir(client.local("many"));
  for (let index = 0; index < 400; index++) {
    await Deno.mkdir(client.local(`many/${index % 20}`), { recursive: true });
    await Deno.writeTextFile(client.local(`many/${index % 20}/${index}`), `${index}`);
  }
  const put = client.spawn(["put", "-r", "many", "/many"]);
  await until(async () => (await client.names("/")).includes("many"));
  interrupt(put);
  const { code } = await put.output();
  assert.ok(code === 130 || code === 0, `put ended with ${code}`);
  await client.ok("put", "-rf", "many", "/");
  await client.ok("get", "-r", "/many", "many-back");
  const diff = new Deno.Command("diff", {
    args: ["-r", "many", "many-back"],
    cwd: client.directory,
  });
  assert.equal((await diff.output()).code, 0);
  const remove = client.spawn(["rm", "-r", "/many"]);
  await until(async () => (await client.names("/many").catch(() => [])).length < 20);
  interrupt(remove);
  const removed = await remove.output();
  assert.ok(removed.code === 130 || removed.code === 0, `rm ended with ${removed.code}`);
  await client.ok("rm", "-rf", "/many");
  assert.deepEqual(await client.names("/"), []);
});
