// Reads a piece of an object from whichever replica has it right. An OST sends bytes and checksums
// as they are on its disk and looks at neither; the reader compares them. A mismatch is no proof of
// damage, for a concurrent write may be half done: so that OST is asked again, and then checks its
// copy itself, in its own order of writes.

import { endpointOfTarget } from "../shared/cluster_map.ts";
import { decodeChecksums, firstMismatch, partCount } from "../shared/checksums.ts";
import { isRustreError, RustreError } from "../shared/errors.ts";
import { objectId, type Piece } from "../shared/layout.ts";
import { limits } from "../shared/limits.ts";
import type { ClusterMap, Target } from "../shared/model.ts";
import { ossService } from "../shared/protocol/oss.ts";
import {
  type FileObjects,
  type IntegrityCounts,
  isDown,
  type ObjectClientParts,
  replicasOf,
} from "./object_parts.ts";
import type { Repairs } from "./repairs.ts";

export interface ReplicaReaderOptions extends ObjectClientParts {
  readonly repairs: Repairs;
  readonly counts: IntegrityCounts;
  /** Whether the reader compares bytes and checksums. */
  readonly verifyChecksums: boolean;
}

/** One try to read a piece into a buffer of its length. */
export interface PieceRead {
  readonly map: ClusterMap;
  readonly file: FileObjects;
  readonly piece: Piece;
  readonly into: Uint8Array;
  /** The first of several tries; the others go by a fresh map. */
  readonly isFirst: boolean;
  readonly signal: AbortSignal | undefined;
  /** What a call may take. */
  readonly timeoutMs: number;
}

/** Why a replica did not give the bytes. */
interface Failure {
  readonly target: Target;
  readonly error: RustreError;
}

export class ReplicaReader {
  readonly #options: ReplicaReaderOptions;
  /** Copies whose damage was reported: a bad disk has a lot of it. */
  readonly #reported = new Set<string>();

  constructor(options: ReplicaReaderOptions) {
    this.#options = options;
  }

  /**
   * Fills `into`. Where another replica than a damaged one gave the bytes, the damage is being
   * repaired. DATA_CORRUPT where there is no good copy.
   */
  async read(read: PieceRead): Promise<void> {
    const { file, piece, isFirst, signal } = read;
    const targets = replicasOf(read.map, file, piece.seq);
    const up = targets.filter((target) => target.state === "up");
    const failures: Failure[] = targets.filter((target) => target.state !== "up")
      .map((target) => ({ target, error: isDown(target) }));
    for (const [position, target] of up.entries()) {
      // With another replica to turn to, a server that hangs is not waited for. Those that are down
      // may be up by now: the next attempt, with a fresh map, knows.
      const isLast = position === up.length - 1 && (!isFirst || targets.length === 1);
      const boundMs = isLast ? limits.callTimeoutMs : limits.replicaTimeoutMs;
      try {
        await this.#readFrom(target, { ...read, timeoutMs: Math.min(boundMs, read.timeoutMs) });
        this.#noticeSuccess(read, failures);
        return;
      } catch (error) {
        if (!isRustreError(error) || signal?.aborted) throw error;
        this.#noticeFailure(read, { target, error });
        failures.push({ target, error });
      }
    }
    throw errorOf(objectId(file.ino, piece.seq), failures);
  }

  async #readFrom(target: Target, read: PieceRead): Promise<void> {
    try {
      return await this.#ask(target, read, { verified: false });
    } catch (error) {
      if (!isRustreError(error, "CHECKSUM_MISMATCH")) throw error;
      this.#options.counts.mismatches++;
      this.#options.log.debug("Read bytes that do not match their checksums, reading them again", {
        ...whereOf(read, target),
        reason: error.message,
      });
    }
    await this.#ask(target, read, { verified: true });
  }

  async #ask(
    target: Target,
    { map, file, piece, into, signal, timeoutMs }: PieceRead,
    { verified }: { verified: boolean },
  ): Promise<void> {
    const { rpc, verifyChecksums } = this.#options;
    const { offsetInObjectBytes: offsetBytes, lengthBytes } = piece;
    const object = objectId(file.ino, piece.seq);
    const request = { epoch: map.epoch, object, offsetBytes, lengthBytes, verified };
    const { reply, payload } = await rpc.download(
      endpointOfTarget(target),
      ossService,
      "readObject",
      request,
      { into, signal, timeoutMs },
    );
    if (payload.length !== lengthBytes) {
      const message = `OST ${target.index} sent ${payload.length} of ${lengthBytes} bytes of ` +
        `object ${object}`;
      throw new RustreError("DATA_MISSING", message);
    }
    if (verifyChecksums) check(target, request, payload, reply.checksums);
  }

  #noticeFailure(read: PieceRead, { target, error }: Failure): void {
    if (error.code !== "DATA_CORRUPT") return;
    const { counts, log } = this.#options;
    counts.damagedCopies++;
    const where = whereOf(read, target);
    const fields = { ...where, reason: error.message };
    const key = `${where.object} ${target.index}`;
    if (this.#reported.has(key)) {
      log.debug("A copy of an object is damaged", fields);
      return;
    }
    if (this.#reported.size < limits.damagedCopiesReported) this.#reported.add(key);
    log.warn("A copy of an object is damaged", fields);
  }

  /**
   * Only what an OST itself found damaged is repaired. Bytes that are missing may just have been cut
   * off there and not yet on the replica that still has them.
   */
  #noticeSuccess({ file, piece }: PieceRead, failures: readonly Failure[]): void {
    if (failures.length > 0) this.#options.counts.otherReplicaReads++;
    const isDamaged = failures.some(({ error }) => error.code === "DATA_CORRUPT");
    if (isDamaged) this.#options.repairs.start(file, piece);
  }
}

/** Throws CHECKSUM_MISMATCH unless the bytes are those that the checksums were made of. */
function check(
  target: Target,
  { object, offsetBytes }: { object: string; offsetBytes: number },
  bytes: Uint8Array,
  encoded: Uint8Array,
): void {
  const checksums = decodeChecksums(encoded, partCount(offsetBytes, bytes.length));
  if (checksums && firstMismatch(offsetBytes, bytes, checksums) === undefined) return;
  throw new RustreError(
    "CHECKSUM_MISMATCH",
    `bytes of object ${object} from OST ${target.index} were changed on their way`,
  );
}

function whereOf({ file, piece }: PieceRead, target: Target) {
  const { offsetInObjectBytes: offsetBytes, lengthBytes } = piece;
  return { object: objectId(file.ino, piece.seq), ost: target.index, offsetBytes, lengthBytes };
}

/** A replica that may come back is worth another try, before bytes are reported lost. */
function errorOf(object: string, failures: readonly Failure[]): RustreError {
  const damaged = failures.filter(({ error }) => error.code === "DATA_CORRUPT");
  const others = failures.filter(({ error }) => error.code !== "DATA_CORRUPT")
    .map(({ error }) => error);
  const passing = others.find((error) => error.retry !== "never");
  if (damaged.length === 0) {
    return passing ?? others[0] ??
      new RustreError("DATA_MISSING", `object ${object} has no replica`);
  }
  const where = damaged.map(({ target }) => `OST ${target.index}`).join(" and ");
  const rest = others.length === 0
    ? "there is no other copy"
    : others.map(({ message }) => message).join(", ");
  return new RustreError(
    passing?.code ?? "DATA_CORRUPT",
    `object ${object} on ${where} is damaged, and ${rest}`,
    { cause: damaged[0]!.error },
  );
}
