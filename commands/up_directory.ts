// The directory of `rustre up`: locked by one process, with the node ids that stay over restarts.
//
//   {directory}/lock       locked with flock(2) while a process serves it
//   {directory}/up.json    node ids of its mgs and mds
//   {directory}/meta.db    the store, unless --store says otherwise
//   {directory}/ost{N}     the directory of OST N

import * as v from "valibot";
import { type Random, randomHex } from "../shared/environment.ts";
import { RustreError } from "../shared/errors.ts";
import { limits } from "../shared/limits.ts";
import { idSchema } from "../shared/model.ts";
import { platformCode, platformReason } from "../shared/platform_errors.ts";

const stateSchema = v.object({
  format: v.literal(1),
  mgsNodeId: idSchema,
  mdsNodeId: idSchema,
});
export type UpState = v.InferOutput<typeof stateSchema>;

export const osts = { min: 1, max: limits.targetsMax, atFirst: 4 } as const;

export class UpDirectory {
  readonly #path: string;
  readonly #lock: Deno.FsFile;
  readonly state: UpState;

  private constructor(path: string, lock: Deno.FsFile, state: UpState) {
    this.#path = path;
    this.#lock = lock;
    this.state = state;
  }

  /** Makes it where it is missing. Rejects with EBUSY while another process serves it. */
  static async open(path: string, random: Random): Promise<UpDirectory> {
    let lock: Deno.FsFile | undefined;
    try {
      await makeDirectory(path);
      lock = await Deno.open(`${path}/lock`, { write: true, create: true });
      if (!lock.tryLockSync(true)) {
        throw new RustreError("EBUSY", `Cannot serve "${path}": another rustre serves it`);
      }
      return new UpDirectory(path, lock, await readOrMakeState(`${path}/up.json`, random));
    } catch (error) {
      lock?.close();
      if (error instanceof RustreError) throw error;
      const message = `Cannot use the directory "${path}": ${platformReason(error).reason}`;
      throw new RustreError("EINVAL", message, { cause: error });
    }
  }

  get storeUrl(): string {
    return `sqlite:${this.#path}/meta.db`;
  }

  pathOfTarget(index: number): string {
    return `${this.#path}/ost${index}`;
  }

  /**
   * How many OSTs to serve. Without a wish as many as there are, or the default. Throws EINVAL
   * where some that are there would be left out: their objects would be missing.
   */
  async targetCount(wish: number | undefined): Promise<number> {
    const indices: number[] = [];
    for await (const entry of Deno.readDir(this.#path)) {
      const match = /^ost(0|[1-9][0-9]*)$/.exec(entry.name);
      if (match && entry.isDirectory) indices.push(Number(match[1]));
    }
    const needed = indices.length === 0 ? 0 : Math.max(...indices) + 1;
    const count = wish ?? Math.max(needed, needed === 0 ? osts.atFirst : 0);
    if (count >= needed) return count;
    const missing = indices.filter((index) => index >= count).sort((a, b) => a - b);
    throw new RustreError(
      "EINVAL",
      `Cannot serve "${this.#path}" with --osts ${count}: it has ${needed} OSTs, and the files on ` +
        `${missing.map((index) => `OST ${index}`).join(", ")} would be missing`,
    );
  }

  close(): void {
    this.#lock.close();
  }
}

async function makeDirectory(path: string): Promise<void> {
  try {
    await Deno.mkdir(path, { recursive: true });
  } catch (error) {
    const isThere = platformCode(error) === "EEXIST";
    const reason = isThere
      ? "it is not a directory"
      : `it cannot be made: ${platformReason(error).reason}`;
    const message = `Cannot use the directory "${path}": ${reason}`;
    throw new RustreError("EINVAL", message, { cause: error });
  }
}

async function readOrMakeState(path: string, random: Random): Promise<UpState> {
  let text: string;
  try {
    text = await Deno.readTextFile(path);
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
    const state: UpState = {
      format: 1,
      mgsNodeId: randomHex(random, 16),
      mdsNodeId: randomHex(random, 16),
    };
    // New ids after a crash before this is on disk are as good: nothing else depends on them.
    await Deno.writeTextFile(`${path}.tmp`, JSON.stringify(state) + "\n");
    await Deno.rename(`${path}.tmp`, path);
    return state;
  }
  try {
    return v.parse(stateSchema, JSON.parse(text));
  } catch (error) {
    const message = `Cannot read "${path}": it is not of this version of rustre, or damaged`;
    throw new RustreError("EINVAL", message, { cause: error });
  }
}
