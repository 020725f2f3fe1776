// File data through the client library, against mgs, mds and four OSTs in processes of their own,
// each figure beside what the machine itself does in the same run.

import { fileURLToPath } from "node:url";
import { type Cluster, download, type FileSystem, upload } from "../client/mod.ts";
import {
  type BenchCluster,
  makeDirectory,
  median,
  operationsPerSecond,
  type Options,
  peakBytes,
  Profile,
  report,
  startCluster,
} from "./harness.ts";
import { descriptorOf } from "../shared/connection_descriptor.ts";
import { startClient } from "./client_process.ts";

const MiB = 2 ** 20;
const GiB = 2 ** 30;
const caller = { uid: 0, gid: 0, groups: [] };
/** Six processes and the client share the machine: one thread each is more than it has cores for. */
const servers = { osts: 4, separate: true, workers: { mgs: 1, mds: 1, oss: 1 } } as const;
/** The machine's speed drifts: what is compared is measured in turns, and the median counts. */
const rounds = 5;

export async function io({ wants }: Options): Promise<boolean> {
  await using directory = await makeDirectory();
  const { path } = directory;
  const source = `${path}/source`;
  await makeFile(source, GiB);
  let ok = true;
  if (wants("io.put", "io.get", "io.read")) ok = await largeFiles(path, source, wants);
  if (wants("io.small")) ok = await smallFiles(path) && ok;
  if (wants("io.memory")) ok = await memory(path) && ok;
  return ok;
}

/** A file of bytes that no disk or network makes smaller. */
async function makeFile(path: string, lengthBytes: number): Promise<void> {
  using file = await Deno.open(path, { write: true, create: true });
  const block = new Uint8Array(8 * MiB);
  for (let start = 0; start < block.length; start += 65_536) {
    crypto.getRandomValues(block.subarray(start, start + 65_536));
  }
  for (let done = 0; done < lengthBytes; done += block.length) {
    block.fill(done / block.length & 0xff, 0, 8);
    await writeAll(file, block);
  }
  await file.syncData();
}

async function writeAll(file: Deno.FsFile, bytes: Uint8Array): Promise<void> {
  for (let done = 0; done < bytes.length;) done += await file.write(bytes.subarray(done));
}

async function seconds(action: () => Promise<unknown>): Promise<number> {
  const startMs = performance.now();
  await action();
  return (performance.now() - startMs) / 1000;
}

// ── one large file ─────────────────────────────────────────────────────────────────────────────

async function largeFiles(
  directory: string,
  source: string,
  wants: Options["wants"],
): Promise<boolean> {
  await using server = await startCluster(servers);
  await using cluster = server.connect();
  await using trusting = server.connect({ verifyChecksums: false });
  const fileSystem = cluster.fileSystem(caller);
  let ok = true;
  if (wants("io.put")) ok = await measurePuts(server, fileSystem, directory, source);
  else await upload(fileSystem, source, "/one");
  if (wants("io.get")) ok = await measureGets(server, { cluster, trusting }, source) && ok;
  if (wants("io.read")) ok = await measureRandomReads(fileSystem) && ok;
  return ok;
}

async function measurePuts(
  server: BenchCluster,
  fileSystem: FileSystem,
  directory: string,
  source: string,
): Promise<boolean> {
  const times = { copy: [] as number[], one: [] as number[], two: [] as number[] };
  const profiles = { one: new Profile(server), two: new Profile(server) };
  const twice = { replace: true, layout: { replicas: 2 } };
  const putOne = () => upload(fileSystem, source, "/one", { replace: true });
  const putTwo = () => upload(fileSystem, source, "/two", twice);
  for (let round = 0; round <= rounds; round++) {
    warmMemory();
    const copySeconds = await seconds(() => copyAndSync(source, `${directory}/copy`));
    await Deno.remove(`${directory}/copy`);
    const oneSeconds = await seconds(() => profiles.one.of(GiB / MiB, putOne));
    const twoSeconds = await seconds(() => profiles.two.of(GiB / MiB, putTwo));
    // The first round warms up code.
    if (round === 0) continue;
    times.copy.push(copySeconds);
    times.one.push(oneSeconds);
    times.two.push(twoSeconds);
  }
  await fileSystem.unlink("/two");
  const rate = (values: number[]) => GiB / MiB / median(values);
  const shared = { unit: "MiB/s", limit: rate(times.copy), of: "ratio" } as const;
  const one = report({
    ...{ bench: "io.put", value: rate(times.one), ...shared, target: 0.8 },
    processorMicrosecondsPerMiB: profiles.one.processorMicroseconds(),
  });
  const two = report({
    ...{ bench: "io.put.2", value: rate(times.two), ...shared, target: 0.45 },
    processorMicrosecondsPerMiB: profiles.two.processorMicroseconds(),
  });
  return one && two;
}

/**
 * Takes memory and gives it back. Where this is a virtual machine its host may have taken what is
 * free, and the first to touch it again waits for the host, half a millisecond for each MiB: that is
 * no part of what is measured here, on neither side.
 */
function warmMemory(): void {
  const path = "/dev/shm/rustre-bench";
  try {
    using file = Deno.openSync(path, { write: true, create: true, truncate: true });
    const block = new Uint8Array(8 * MiB).fill(1);
    for (let done = 0; done < warmBytes; done += block.length) file.writeSync(block);
  } finally {
    Deno.removeSync(path);
  }
}

/** More than the page cache takes for any one step. */
const warmBytes = 3 * GiB;

/** As cp and sync do. */
async function copyAndSync(source: string, copy: string): Promise<void> {
  await Deno.copyFile(source, copy);
  using file = await Deno.open(copy, { write: true });
  await file.sync();
}

async function measureGets(
  server: BenchCluster,
  { cluster, trusting }: { readonly cluster: Cluster; readonly trusting: Cluster },
  source: string,
): Promise<boolean> {
  const times = { loop: [] as number[], trusting: [] as number[], verifying: [] as number[] };
  const profiles = { trusting: new Profile(server), verifying: new Profile(server) };
  await using loop = await startLoop(source);
  for (let round = 0; round <= rounds; round++) {
    const loopSeconds = await seconds(() => receiveAll(loop.port));
    const trustingSeconds = await seconds(() =>
      profiles.trusting.of(GiB / MiB, () => readAll(trusting.fileSystem(caller)))
    );
    const verifyingSeconds = await seconds(() =>
      profiles.verifying.of(GiB / MiB, () => readAll(cluster.fileSystem(caller)))
    );
    // The first round warms up caches and code.
    if (round === 0) continue;
    times.loop.push(loopSeconds);
    times.trusting.push(trustingSeconds);
    times.verifying.push(verifyingSeconds);
  }
  const rate = (values: number[]) => GiB / MiB / median(values);
  const shared = { unit: "MiB/s", limit: rate(times.loop), of: "ratio" } as const;
  const plain = rate(times.trusting);
  const checked = rate(times.verifying);
  const off = report({
    ...{ bench: "io.get.unverified", value: plain, ...shared, target: 0.7 },
    processorMicrosecondsPerMiB: profiles.trusting.processorMicroseconds(),
  });
  const on = report({
    ...{ bench: "io.get", value: checked, ...shared, target: 0.5 },
    processorMicrosecondsPerMiB: profiles.verifying.processorMicroseconds(),
  });
  return off && on;
}

/** Reads all of a file into memory that is used again. */
async function readAll(fileSystem: FileSystem): Promise<void> {
  await using file = await fileSystem.open("/one");
  let readBytes = 0;
  const buffers: Uint8Array[] = [];
  await file.readPieces(async ({ lengthBytes, readInto }) => {
    const buffer = buffers.pop() ?? new Uint8Array(lengthBytes);
    const count = await readInto(buffer);
    readBytes += count;
    buffers.push(buffer);
  });
  if (readBytes !== file.sizeBytes) throw new Error(`${readBytes} bytes of ${file.sizeBytes}`);
}

interface Loop extends AsyncDisposable {
  readonly port: number;
}

async function startLoop(file: string): Promise<Loop> {
  const script = fileURLToPath(import.meta.resolve("./sendfile_loop.ts"));
  const args = ["run", "--quiet", "--no-check", "--allow-all", script, file];
  const child = new Deno.Command(Deno.execPath(), { args, stdout: "piped" }).spawn();
  const reader = child.stdout.getReader();
  const { value } = await reader.read();
  return {
    port: Number(new TextDecoder().decode(value)),
    async [Symbol.asyncDispose]() {
      child.kill("SIGKILL");
      await child.status;
      await reader.cancel();
    },
  };
}

/** The reader that discards: recv(2) with MSG_TRUNC, which does not even copy the bytes. */
async function receiveAll(port: number): Promise<void> {
  using connection = await Deno.connect({ hostname: "127.0.0.1", port });
  const socket = descriptorOf(connection)!;
  const interest = new Uint8Array(8);
  new DataView(interest.buffer).setInt32(0, socket, true);
  new DataView(interest.buffer).setInt16(4, pollIn, true);
  const buffer = new Uint8Array(MiB);
  let receivedBytes = 0;
  for (;;) {
    const count = Number(libc.recv(socket, buffer, BigInt(MiB), messageTruncate));
    if (count > 0) receivedBytes += count;
    else if (count < 0) await libc.poll(interest, 1n, 1000);
    else break;
  }
  if (receivedBytes !== GiB) throw new Error(`${receivedBytes} bytes came`);
}

const pollIn = 1;
const messageTruncate = 0x20;
const { symbols: libc } = Deno.dlopen("libc.so.6", {
  recv: { parameters: ["i32", "buffer", "usize", "i32"], result: "isize" },
  poll: { parameters: ["buffer", "u64", "i32"], result: "i32", nonblocking: true },
});

async function measureRandomReads(fileSystem: FileSystem): Promise<boolean> {
  await using file = await fileSystem.open("/one");
  const blocks = GiB / 4096;
  // A prime, so that the steps meet every block before one twice.
  const read = (index: number) => file.read((index * 104_729 % blocks) * 4096, 4096);
  await operationsPerSecond(20_000, 32, read);
  const perSecond = await operationsPerSecond(60_000, 32, read);
  const alone = await operationsPerSecond(10_000, 1, read);
  const many = report({
    bench: "io.read.4k",
    value: perSecond,
    unit: "ops/s",
    target: 20_000,
    inFlight: 32,
  });
  const one = report({
    bench: "io.read.4k.latency",
    value: 1000 / alone,
    unit: "ms",
    target: 0.25,
    lowerIsBetter: true,
  });
  return many && one;
}

// ── many small files ───────────────────────────────────────────────────────────────────────────

const smallCount = 10_000;

async function smallFiles(directory: string): Promise<boolean> {
  const tree = `${directory}/tree`;
  for (let index = 0; index < smallCount; index++) {
    const folder = `${tree}/${String(index % 100).padStart(2, "0")}`;
    if (index < 100) await Deno.mkdir(folder, { recursive: true });
    const bytes = crypto.getRandomValues(new Uint8Array(4096));
    await Deno.writeFile(`${folder}/file-${index}`, bytes);
  }
  await using server = await startCluster(servers);
  await using cluster = server.connect();
  const fileSystem = cluster.fileSystem(caller);
  const rates = { local: [] as number[], put: [] as number[], get: [] as number[] };
  const profiles = { put: new Profile(server), get: new Profile(server) };
  for (let round = 0; round <= 3; round++) {
    const localSeconds = await seconds(() => copyTreeAndSync(tree, `${directory}/local-${round}`));
    const put = () => upload(fileSystem, tree, `/tree-${round}`, { recursive: true });
    const putSeconds = await seconds(() => profiles.put.of(smallCount, put));
    // Not removed meanwhile, so that nothing near by was deleted lately: see makeDirectory().
    const copy = `${directory}/copy-${round}`;
    const get = () => download(fileSystem, `/tree-${round}`, copy, { recursive: true });
    const getSeconds = await seconds(() => profiles.get.of(smallCount, get));
    // The first round warms up the code.
    if (round === 0) continue;
    rates.local.push(smallCount / localSeconds);
    rates.put.push(smallCount / putSeconds);
    rates.get.push(smallCount / getSeconds);
  }
  const limit = median(rates.local);
  const shared = { unit: "files/s", limit, files: smallCount, fileBytes: 4096 };
  const up = report({
    ...{ bench: "io.small.put", value: median(rates.put), ...shared, target: 3_000 },
    processorMicrosecondsPerFile: profiles.put.processorMicroseconds(),
  });
  const down = report({
    ...{ bench: "io.small.get", value: median(rates.get), ...shared, target: 8_000 },
    processorMicrosecondsPerFile: profiles.get.processorMicroseconds(),
  });
  return up && down;
}

/** What the machine does with the same files in the same minute, without a network. */
async function copyTreeAndSync(tree: string, copy: string): Promise<void> {
  for (const [command, ...args] of [["cp", "-r", tree, copy], ["sync", "-f", copy]] as const) {
    const { success } = await new Deno.Command(command, { args }).output();
    if (!success) throw new Error(`${command} ${args.join(" ")} failed`);
  }
}

// ── memory ─────────────────────────────────────────────────────────────────────────────────────

async function memory(directory: string): Promise<boolean> {
  const small = await peakMemory(directory, GiB);
  const large = await peakMemory(directory, 10 * GiB);
  let ok = true;
  for (const [role, value] of Object.entries(large)) {
    const shared = { unit: "MiB", target: 256, lowerIsBetter: true };
    const of1GiB = small[role] ?? NaN;
    ok = report({ bench: `io.memory.${role}`, value, ...shared, of1GiB }) && ok;
    const growth = { value: value / of1GiB, unit: "times", target: 1.1, lowerIsBetter: true };
    ok = report({ bench: `io.memory.${role}.growth`, ...growth }) && ok;
  }
  return ok;
}

/** Peak resident memory of each process while a sparse file is put and read back, in MiB. */
async function peakMemory(directory: string, lengthBytes: number): Promise<Record<string, number>> {
  const source = `${directory}/sparse`;
  await Deno.writeFile(source, new Uint8Array(0));
  await Deno.truncate(source, lengthBytes);
  await using server: BenchCluster = await startCluster(servers);
  const put = await startClient(server, ["put", source, "/sparse"]);
  const get = await startClient(server, ["get", "/sparse", "-"]);
  await Deno.remove(source);
  const peaks: Record<string, number> = {};
  for (const { role, pid } of server.processes) {
    peaks[role] = Math.max(peaks[role] ?? 0, peakBytes(pid) / MiB);
  }
  return { put: put.peakBytes / MiB, get: get.peakBytes / MiB, ...peaks };
}
