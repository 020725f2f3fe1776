import assert from "node:assert/strict";
import { Collector } from "../../../mds/collector.ts";
import type { MdsContext } from "../../../mds/context.ts";
import { Schema } from "../../../mds/schema.ts";
import { openSession } from "../../../mds/sessions.ts";
import { limits } from "../../../shared/limits.ts";
import { loggerOf } from "../../../shared/logging.ts";
import { Lease } from "../../../shared/store/lease.ts";
import { MemoryStore } from "../../../shared/store/memory.ts";
import { readOnly } from "../../../shared/store/transact.ts";
import { SeededRandom } from "../../support/seeded_random.ts";
import { SleepingClock } from "../../support/sleeping_clock.ts";

function contextWith(clock: SleepingClock): MdsContext {
  const environment = { clock, random: new SeededRandom(1) };
  const store = new MemoryStore(clock);
  const schema = new Schema("test");
  const maps = { current: undefined };
  return { environment, store, schema, maps, log: loggerOf("mds") } as unknown as MdsContext;
}

async function hasSession(context: MdsContext, clientId: string): Promise<boolean> {
  const key = context.schema.session(clientId);
  return await readOnly(context, (transaction) => transaction.get(key)) !== undefined;
}

function startCollector(context: MdsContext): Collector {
  const lease = new Lease({ context, key: context.schema.collectorLease, holder: "us" });
  const collector = new Collector(context, lease);
  collector.start();
  return collector;
}

Deno.test("a collector ends the session of a client that does not renew it", async () => {
  const clock = new SleepingClock();
  const context = contextWith(clock);
  const collector = startCollector(context);
  const clientId = await openSession(context);
  await clock.pass(limits.sessionLeaseMs - 2_000);
  assert(await hasSession(context, clientId));
  await clock.pass(5_000);
  assert(!(await hasSession(context, clientId)));
  await clock.passDuring(collector.close());
});

Deno.test("a collector whose host slept gives clients a whole lease to renew", async () => {
  const clock = new SleepingClock();
  const context = contextWith(clock);
  const collector = startCollector(context);
  await clock.pass(2 * limits.sessionLeaseMs);
  const clientId = await openSession(context);
  await clock.sleepThrough(10 * limits.sessionLeaseMs);
  await clock.pass(limits.sessionLeaseMs / 2);
  assert(await hasSession(context, clientId), "it could not renew while everything slept");
  await clock.pass(limits.sessionLeaseMs);
  assert(!(await hasSession(context, clientId)), "it had its time");
  await clock.passDuring(collector.close());
});
