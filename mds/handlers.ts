// What an mds answers: one line for each message. Reads and mutations are wrapped once, below.

import type { Registration } from "../shared/registration.ts";
import { limits } from "../shared/limits.ts";
import { mdsService } from "../shared/protocol/mds.ts";
import type { Handlers } from "../shared/rpc/service.ts";
import { readOnly } from "../shared/store/transact.ts";
import type { Collector } from "./collector.ts";
import type { MdsContext, MdsRequest, Mutation, ReadOperation } from "./context.ts";
import { type MutationId, rememberFailure, runMutation } from "./mutation.ts";
import * as attributes from "./ops/attributes.ts";
import { batch, mayBeOfOldMap } from "./ops/batch.ts";
import * as create from "./ops/create.ts";
import * as lookup from "./ops/lookup.ts";
import * as remove from "./ops/remove.ts";
import { rename } from "./ops/rename.ts";
import * as write from "./ops/write.ts";
import { endSession, openSession, renewSession } from "./sessions.ts";

type MdsMethod = keyof typeof mdsService["methods"];

/**
 * Whether a layout can be had is told by the cluster map, and ours may be a moment old: a refusal is
 * given only on the newest one.
 */
function withNewestMap<Request, Reply>(
  { maps }: MdsContext,
  handler: (request: Request) => Promise<Reply>,
): (request: Request) => Promise<Reply> {
  return async (request) => {
    const epoch = maps.current?.epoch;
    try {
      return await handler(request);
    } catch (error) {
      if (!mayBeOfOldMap(error)) throw error;
      if ((await maps.refresh()).epoch === epoch) throw error;
      return await handler(request);
    }
  };
}

export function mdsHandlers(
  context: MdsContext,
  parts: { collector: Collector; registration: Registration },
): Handlers<typeof mdsService> {
  const { collector, registration } = parts;

  function read<Request, Reply>(
    operation: (operation: ReadOperation, request: Request) => Promise<Reply>,
  ): (request: Request) => Promise<Reply> {
    return (request) =>
      readOnly(context, (transaction) => operation({ context, transaction }, request));
  }

  /** A mutation that is answered in the same way however often it comes. */
  function answeredOnce<Request extends MutationId, Reply>(
    name: MdsMethod,
    handler: (request: Request) => Promise<Reply>,
  ): (request: Request) => Promise<Reply> {
    const { opcode } = mdsService.methods[name];
    return (request) => rememberFailure(context, request, opcode, () => handler(request));
  }

  function mutate<Name extends MdsMethod, Reply>(
    name: Name,
    operation: (mutation: Mutation, request: MdsRequest<Name>) => Promise<Reply>,
  ): (request: MdsRequest<Name> & MutationId) => Promise<Reply> {
    const { opcode } = mdsService.methods[name];
    return answeredOnce(name, async (request) => {
      const run = (mutation: Mutation) => operation(mutation, request);
      const { reply, leftGarbage, leftCut } = await runMutation(context, request, opcode, run);
      if (leftGarbage || leftCut) collector.kick({ cuts: leftCut });
      return reply;
    });
  }

  /** A mutation that needs an inode number: taken before, for it is a transaction of its own. */
  function mutateNew<Name extends MdsMethod, Reply>(
    name: Name,
    operation: (mutation: Mutation, request: MdsRequest<Name>, ino: number) => Promise<Reply>,
  ): (request: MdsRequest<Name> & MutationId) => Promise<Reply> {
    return async (request) => {
      const ino = await context.allocator.next();
      const withIno = (mutation: Mutation) => operation(mutation, request, ino);
      const { opcode } = mdsService.methods[name];
      return (await runMutation(context, request, opcode, withIno)).reply;
    };
  }

  /** The numbers are taken before, as for one file. */
  async function runBatch(request: MdsRequest<"batch">) {
    const { opcode } = mdsService.methods.batch;
    const inos = await Promise.all(request.creates.map(() => context.allocator.next()));
    const run = (mutation: Mutation) => batch(mutation, request, inos);
    const { reply, leftGarbage, leftCut } = await runMutation(context, request, opcode, run);
    if (leftGarbage || leftCut) collector.kick({ cuts: leftCut });
    return reply;
  }

  return {
    probe: (request) => Promise.resolve(registration.probed(request)),

    openSession: async () => {
      const clientId = await openSession(context);
      return { clientId, leaseMs: limits.sessionLeaseMs };
    },
    renewSession: async ({ clientId }) => {
      await renewSession(context, clientId);
      return {};
    },
    closeSession: async ({ clientId }) => {
      const { leftGarbage, leftCut } = await endSession(context, clientId);
      if (leftGarbage || leftCut) collector.kick({ cuts: leftCut });
      return {};
    },

    stat: read(lookup.stat),
    readlink: read(lookup.readlink),
    readdir: read(lookup.readdir),
    statfs: read(lookup.statfs),

    mkdir: answeredOnce("mkdir", mutateNew("mkdir", create.mkdir)),
    symlink: answeredOnce("symlink", mutateNew("symlink", create.symlink)),
    create: answeredOnce("create", withNewestMap(context, mutateNew("create", create.create))),
    commit: mutate("commit", create.commit),
    abort: mutate("abort", create.abort),
    link: mutate("link", create.link),
    unlink: mutate("unlink", remove.unlink),
    rmdir: mutate("rmdir", remove.rmdir),
    rename: mutate("rename", rename),
    setattr: mutate("setattr", attributes.setattr),
    setLayoutDefaults: mutate("setLayoutDefaults", attributes.setLayoutDefaults),
    openWrite: mutate("openWrite", write.openWrite),
    commitWrite: mutate("commitWrite", write.commitWrite),
    closeWrite: mutate("closeWrite", write.closeWrite),
    batch: answeredOnce("batch", runBatch),
  };
}
