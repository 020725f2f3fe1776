// Servers that listen on every address are reached from another machine: here a network namespace
// with a cable to this one. Only root can make one, with iproute2, which .ci/run installs.

import assert from "node:assert/strict";
import { runRustre, type RustreProcess, startRustre } from "../support/processes.ts";

interface OtherMachine extends AsyncDisposable {
  /** This machine's address on the cable, and the other's. */
  readonly near: string;
  readonly far: string;
  /** Put before a command line to run it over there. */
  readonly prefix: readonly string[];
}

async function ip(...args: string[]): Promise<void> {
  const { success, stderr } = await new Deno.Command("ip", { args, stderr: "piped" }).output();
  assert(success, `ip ${args.join(" ")}: ${new TextDecoder().decode(stderr)}`);
}

/** Why this machine cannot run the test, if it cannot. */
async function obstacle(): Promise<string | undefined> {
  const name = `rustre-probe${Deno.pid}`;
  try {
    await ip("netns", "add", name);
    await ip("netns", "delete", name);
    return undefined;
  } catch (error) {
    return error instanceof Deno.errors.NotFound ? "no ip command (iproute2)" : String(error);
  }
}

const reason = await obstacle();

/** The number keeps concurrent runs of the suite apart. */
async function otherMachine(): Promise<OtherMachine> {
  const number = Deno.pid % 250;
  const name = `rustre${number}`;
  const [near, far] = [`10.213.${number}.1`, `10.213.${number}.2`];
  await ip("netns", "add", name);
  try {
    await ip("link", "add", `${name}a`, "type", "veth", "peer", "name", "far", "netns", name);
    await ip("addr", "add", `${near}/24`, "dev", `${name}a`);
    await ip("link", "set", `${name}a`, "up");
    await ip("-n", name, "addr", "add", `${far}/24`, "dev", "far");
    await ip("-n", name, "link", "set", "far", "up");
    await ip("-n", name, "link", "set", "lo", "up");
    await ip("-n", name, "route", "add", "default", "via", near);
  } catch (error) {
    await ip("netns", "delete", name);
    throw error;
  }
  // The cable goes with the namespace.
  const dispose = () => ip("netns", "delete", name);
  return { near, far, prefix: ["ip", "netns", "exec", name], [Symbol.asyncDispose]: dispose };
}

const title = "servers on 0.0.0.0 are reached from another machine, both ways" +
  (reason === undefined ? "" : ` (skipped: ${reason})`);

Deno.test({ name: title, ignore: reason !== undefined }, async () => {
  const directory = await Deno.makeTempDir({ prefix: "rustre-test-" });
  await using there = await otherMachine();
  const store = `sqlite:${directory}/meta.db`;
  const started: RustreProcess[] = [];
  try {
    const mgs = await startRustre(["mgs", "-l", "0.0.0.0:0", "--store", store]);
    started.push(mgs);
    const port = mgs.ready.split(":").at(-1);
    // This machine's servers know the mgs by loopback, as with the defaults.
    const near = ["--mgs", `127.0.0.1:${port}`];
    const far = ["--mgs", `${there.near}:${port}`];
    started.push(await startRustre([...near, "mds", "-l", "0.0.0.0:0", "--store", store]));
    const ost = (
      index: number,
    ) => ["oss", "-l", "0.0.0.0:0", "-i", `${index}`, "-d", `${directory}/ost${index}`];
    started.push(await startRustre([...near, ...ost(0)]));
    started.push(await startRustre([...far, ...ost(1)], { prefix: there.prefix }));
    assert.equal(started.at(-1)?.ready.split(":")[0], `oss=${there.far}`);

    const status = await runRustre([...far, "status", "--json"], { prefix: there.prefix });
    assert.equal(status.code, 0, status.stderr);
    const { mgs: known, mds, osts } = JSON.parse(status.stdout);
    for (const { address } of [...known, ...mds, ...osts]) {
      assert.doesNotMatch(address, /^(0\.0\.0\.0|127\.|\[::)/);
    }
    const text = new TextEncoder().encode("from the other machine");
    const put = await runRustre([...far, "client", "put", "-R", "2", "-", "/file"], {
      prefix: there.prefix,
      stdin: text,
    });
    assert.equal(put.code, 0, put.stderr);
    const got = await runRustre([...near, "client", "cat", "/file"]);
    assert.equal(got.stdout, "from the other machine");
  } finally {
    await Promise.all(started.map((process) => process.stop()));
    await Deno.remove(directory, { recursive: true });
  }
});
