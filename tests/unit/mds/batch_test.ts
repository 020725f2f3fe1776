import assert from "node:assert/strict";
import type { MdsContext, Mutation } from "../../../mds/context.ts";
import { addInode } from "../../../mds/inodes.ts";
import { batch } from "../../../mds/ops/batch.ts";
import { Schema } from "../../../mds/schema.ts";
import { encodeStoredReply, type Inode } from "../../../mds/values.ts";
import { nowNs } from "../../../shared/environment.ts";
import { limits } from "../../../shared/limits.ts";
import type { Target } from "../../../shared/model.ts";
import { MemoryStore } from "../../../shared/store/memory.ts";
import { transact } from "../../../shared/store/transact.ts";
import { noUsage } from "../../../shared/usage.ts";
import { SeededRandom } from "../../support/seeded_random.ts";
import { SleepingClock } from "../../support/sleeping_clock.ts";

const caller = { uid: 0, gid: 0, groups: [] };
const clientId = "ab".repeat(16);

function contextWith(osts: number): MdsContext {
  const clock = new SleepingClock();
  const environment = { clock, random: new SeededRandom(1) };
  const targets = Array.from({ length: osts }, (_, index) => {
    const usage = { ...noUsage, freeBytes: 2 ** 40 };
    return { index, hostName: `host${index}`, state: "up", usage } as Target;
  });
  const maps = { current: { targets } };
  const [store, schema] = [new MemoryStore(clock), new Schema("test")];
  return { environment, store, schema, maps } as unknown as MdsContext;
}

function inTransaction<T>(
  context: MdsContext,
  run: (mutation: Mutation) => Promise<T>,
): Promise<T> {
  const own = { context, clientId, nowNs: nowNs(context.environment.clock) };
  const notes = { noteGarbage: () => {}, noteCut: () => {} };
  return transact(context, (transaction) => run({ ...own, ...notes, transaction }));
}

async function withRoot(osts: number): Promise<MdsContext> {
  const context = contextWith(osts);
  const times = { atimeNs: 0n, mtimeNs: 0n, ctimeNs: 0n };
  const owned = { mode: 0o755, uid: 0, gid: 0, links: 1, sizeBytes: 0, dataEndBytes: 0 };
  const root: Inode = { ino: 1, type: "directory", ...owned, ...times, parent: 1 };
  await inTransaction(context, (mutation) => Promise.resolve(addInode(mutation, root)));
  return context;
}

const creates = Array.from({ length: limits.batchFilesMax }, (_, index) => {
  const directory = { ino: 1, path: "" };
  return { directory, name: `f${index}`, mode: 0o644, layout: {}, replace: false };
});
const inos = creates.map((_, index) => 2 + index);

async function create(context: MdsContext) {
  const request = { clientId, requestId: 1, caller, commits: [], creates };
  return await inTransaction(
    context,
    (mutation) => batch(mutation, request, inos),
  );
}

Deno.test("a full batch of usual files has an answer for each of them", async () => {
  const reply = await create(await withRoot(16));
  assert.deepEqual(reply.created.map(({ inode }) => inode?.ino), inos);
});

Deno.test("a batch of files that are striped over all OSTs ends before its reply is too large", async () => {
  const reply = await create(await withRoot(limits.stripeCountMax));
  const made = reply.created.filter(({ inode }) => inode).length;
  assert(made > 10 && made < limits.batchFilesMax, `${made} files were made`);
  for (const { error } of reply.created.slice(made)) assert.equal(error?.code, 1013);
  const stored = encodeStoredReply({ requestId: 1, opcode: 1, reply });
  assert(stored.length < limits.valueBytesMax, `${stored.length} bytes`);
});

Deno.test("a batch leaves what a newer map may allow to the create alone", async () => {
  const reply = await create(await withRoot(0));
  for (const { error } of reply.created) assert.equal(error?.code, 1103);
});
