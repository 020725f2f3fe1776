import assert from "node:assert/strict";
import { FileBatches, type FileMutations, type NewFile } from "../../../client/file_batches.ts";
import { codeOfNumber, type ErrorCode, RustreError } from "../../../shared/errors.ts";
import { limits } from "../../../shared/limits.ts";
import type { Attributes, Caller } from "../../../shared/model.ts";
import { VirtualClock } from "../../support/virtual_clock.ts";

type BatchRequest = Parameters<FileMutations["batch"]>[0];
type BatchReply = Awaited<ReturnType<FileMutations["batch"]>>;

const caller: Caller = { uid: 5, gid: 6, groups: [] };
const layout = { stripeBytes: 1 << 20, stripesPerObject: 64, targets: [[0]] };

function newFile(name: string): NewFile {
  return { directory: { ino: 1, path: "" }, name, mode: 0o644, layout: {}, replace: false };
}

function inodeOf(ino: number) {
  return { ino, gid: 6, mode: 0o644, layout };
}

function attributesOf(ino: number): Attributes {
  const times = { atimeNs: 7n, mtimeNs: 7n, ctimeNs: 7n };
  const { gid, mode } = inodeOf(ino);
  const owned = { mode, uid: 5, gid, links: 1 };
  return { ino, type: "file", ...owned, sizeBytes: 0, dataEndBytes: 0, ...times, layout };
}

/** A message that waits for its answer. */
interface Sent<Request, Reply> {
  readonly request: Request;
  readonly signal: AbortSignal | undefined;
  readonly answer: (reply: Reply) => void;
  readonly fail: (error: unknown) => void;
}

/** An mds that answers when it is told to. */
class Mds implements FileMutations {
  readonly alone: Sent<unknown, Attributes>[] = [];
  readonly batches: Sent<BatchRequest, BatchReply>[] = [];

  create(request: unknown, signal: AbortSignal | undefined): Promise<Attributes> {
    return sent(this.alone, request, signal);
  }

  commit(request: unknown, signal: AbortSignal | undefined): Promise<Attributes> {
    return sent(this.alone, request, signal);
  }

  batch(request: BatchRequest, signal: AbortSignal): Promise<BatchReply> {
    return sent(this.batches, request, signal);
  }
}

function sent<Request, Reply>(
  all: Sent<Request, Reply>[],
  request: Request,
  signal: AbortSignal | undefined,
): Promise<Reply> {
  const { promise, resolve, reject } = Promise.withResolvers<Reply>();
  all.push({ request, signal, answer: resolve, fail: reject });
  signal?.addEventListener("abort", () => reject(signal.reason));
  return promise;
}

function setUp() {
  const clock = new VirtualClock();
  const mds = new Mds();
  return { clock, mds, files: new FileBatches(clock, mds) };
}

/** As many as keep all further ones waiting. */
function keepBusy(files: FileBatches): Promise<Attributes>[] {
  return Array.from(
    { length: limits.batchesInFlight },
    (_, index) => files.create(caller, newFile(`busy-${index}`), undefined),
  );
}

async function settled(): Promise<void> {
  await new Promise((resolve) => setTimeout(resolve, 0));
}

function rejectsWith(promise: Promise<unknown>, code: ErrorCode): Promise<void> {
  return assert.rejects(promise, { code });
}

Deno.test("FileBatches sends at once what nothing is under way before, and the rest together", async () => {
  const { mds, files } = setUp();
  const busy = keepBusy(files);
  assert.equal(mds.alone.length, limits.batchesInFlight);
  const created = files.create(caller, newFile("a"), undefined);
  const commit = { ino: 9, sizeBytes: 3, dataEndBytes: 3, mtimeNs: 1n, clean: true };
  const committed = files.commit(caller, { commit, created: attributesOf(9) }, undefined);
  assert.equal(mds.batches.length, 0);
  mds.alone[0]!.answer(attributesOf(1));
  await busy[0];
  await settled();
  const { request, answer } = mds.batches[0]!;
  assert.deepEqual(request, { caller, commits: [commit], creates: [newFile("a")] });
  answer({ timeNs: 7n, committed: [{}], created: [{ inode: inodeOf(2) }] });
  assert.deepEqual(await created, attributesOf(2));
  assert.deepEqual(await committed, {
    ...attributesOf(9),
    ...{ sizeBytes: 3, dataEndBytes: 3, mtimeNs: 1n },
  });
});

Deno.test("FileBatches sends no more in one message than it takes", async () => {
  const { mds, files } = setUp();
  keepBusy(files);
  const names = Array.from({ length: 2 * limits.batchFilesMax }, (_, index) => `n${index}`);
  for (const name of names) files.create(caller, newFile(name), undefined);
  const long = { ino: 1, path: "x".repeat(4_000) };
  for (const name of ["a", "b", "c", "d", "e", "f"]) {
    files.create(caller, { ...newFile(name), directory: long }, undefined);
  }
  for (const { answer } of mds.alone) answer(attributesOf(1));
  for (let answered = 0; answered < 4; answered++) {
    await settled();
    const { request, answer } = mds.batches[answered]!;
    const created = request.creates.map(() => ({ inode: inodeOf(2) }));
    answer({ timeNs: 7n, committed: [], created });
  }
  const sizes = mds.batches.map(({ request }) => request.creates.length);
  assert.deepEqual(sizes, [limits.batchFilesMax, limits.batchFilesMax, 4, 2]);
});

Deno.test("FileBatches lets no caller wait for another, nor mixes them", async () => {
  const { mds, files } = setUp();
  keepBusy(files);
  const callers = [
    { ...caller, uid: 8 },
    { ...caller, gid: 8 },
    { ...caller, groups: [8, 9] },
    { ...caller, groups: [89] },
  ];
  for (const other of callers) files.create(other, newFile("first"), undefined);
  assert.equal(mds.alone.length, limits.batchesInFlight + callers.length);
  for (const other of [...callers, ...callers, caller, caller]) {
    files.create(other, newFile("more"), undefined);
    files.create({ ...other }, newFile("more"), undefined);
  }
  for (const { answer } of [...mds.alone]) answer(attributesOf(1));
  await settled();
  const batches = mds.batches.map(({ request }) => request);
  assert.deepEqual(new Set(batches.map(({ caller }) => caller)), new Set([...callers, caller]));
  for (const { creates } of batches) assert(creates.length >= 3, `${creates.length}`);
});

Deno.test("FileBatches gives each its own error, and sends alone what may pass", async () => {
  const { mds, files } = setUp();
  keepBusy(files);
  const [taken, crowded] = ["taken", "crowded"].map((name) =>
    files.create(caller, newFile(name), undefined)
  );
  mds.alone.pop()!.answer(attributesOf(1));
  await settled();
  const errorOf = (code: ErrorCode) => ({ code: new RustreError(code, "").number, message: "so" });
  mds.batches[0]!.answer({
    timeNs: 7n,
    committed: [],
    created: [{ error: errorOf("EEXIST") }, { error: errorOf("OVERLOADED") }],
  });
  await rejectsWith(taken!, "EEXIST");
  await settled();
  assert.deepEqual(mds.alone.at(-1)!.request, { caller, ...newFile("crowded"), pending: true });
  mds.alone.at(-1)!.answer(attributesOf(3));
  assert.deepEqual(await crowded, attributesOf(3));
  assert.equal(codeOfNumber(errorOf("OVERLOADED").code), "OVERLOADED");
});

Deno.test("FileBatches sends each of a batch alone when the batch is malformed", async () => {
  const { mds, files } = setUp();
  keepBusy(files);
  const [sound, malformed] = ["sound", "malformed"].map((name) =>
    files.create(caller, newFile(name), undefined)
  );
  const leaving = new AbortController();
  const left = files.create(caller, newFile("left"), leaving.signal);
  mds.alone.pop()!.answer(attributesOf(1));
  await settled();
  leaving.abort();
  await rejectsWith(left, "INTERRUPTED");
  const badRequest = new RustreError("BAD_REQUEST", "so");
  mds.batches[0]!.fail(badRequest);
  await settled();
  const [first, second, ...more] = mds.alone.slice(1);
  assert.deepEqual(first!.request, { caller, ...newFile("sound"), pending: true });
  assert.deepEqual(second!.request, { caller, ...newFile("malformed"), pending: true });
  assert.deepEqual(more, [], "nobody waits for the third");
  first!.answer(attributesOf(3));
  second!.fail(badRequest);
  assert.deepEqual(await sound, attributesOf(3));
  await rejectsWith(malformed!, "BAD_REQUEST");
});

for (
  const [what, code, end] of [
    ["its error", "TIMED_OUT", ({ fail }) => fail(new RustreError("TIMED_OUT", "no answer"))],
    ["an answer of another length", "BAD_FRAME", ({ answer }) => {
      answer({ timeNs: 7n, committed: [], created: [] });
    }],
    ["an answer without inodes", "BAD_FRAME", ({ answer }) => {
      answer({ timeNs: 7n, committed: [], created: [{}, {}] });
    }],
  ] as [string, ErrorCode, (batch: Sent<BatchRequest, BatchReply>) => void][]
) {
  Deno.test(`FileBatches fails all of a batch with ${what}`, async () => {
    const { mds, files } = setUp();
    keepBusy(files);
    const both = ["a", "b"].map((name) => files.create(caller, newFile(name), undefined));
    mds.alone[0]!.answer(attributesOf(1));
    await settled();
    end(mds.batches[0]!);
    for (const each of both) await rejectsWith(each, code);
  });
}

Deno.test("FileBatches does not send what was interrupted, and stops a batch that all have left", async () => {
  const { mds, files } = setUp();
  keepBusy(files);
  const [waiting, one, two] = [new AbortController(), new AbortController(), new AbortController()];
  const left = files.create(caller, newFile("left"), waiting.signal);
  waiting.abort();
  await rejectsWith(left, "INTERRUPTED");
  const both = [files.create(caller, newFile("a"), one.signal)];
  both.push(files.create(caller, newFile("b"), two.signal));
  mds.alone[0]!.answer(attributesOf(1));
  await settled();
  const { request, signal } = mds.batches[0]!;
  assert.deepEqual(request.creates.map(({ name }) => name), ["a", "b"]);
  one.abort();
  await rejectsWith(both[0]!, "INTERRUPTED");
  assert.equal(signal!.aborted, false);
  two.abort();
  await rejectsWith(both[1]!, "INTERRUPTED");
  assert.equal(signal!.aborted, true);
});

Deno.test("FileBatches does not wait for a message that takes long", async () => {
  const { clock, mds, files } = setUp();
  keepBusy(files);
  files.create(caller, newFile("a"), undefined);
  files.create(caller, newFile("b"), undefined);
  await clock.run(new Promise<void>((resolve) => clock.setTimer(resolve, limits.batchWaitMs + 1)));
  assert.equal(mds.batches.length, 1);
});

Deno.test("FileBatches fails what waits or is under way when it is closed", async () => {
  const { mds, files } = setUp();
  keepBusy(files);
  const first = ["a", "b"].map((name) => files.create(caller, newFile(name), undefined));
  mds.alone[0]!.answer(attributesOf(1));
  await settled();
  const second = files.create(caller, newFile("c"), undefined);
  files.close();
  for (const each of [...first, second]) await rejectsWith(each, "SHUTTING_DOWN");
  await rejectsWith(files.create(caller, newFile("d"), undefined), "SHUTTING_DOWN");
});
