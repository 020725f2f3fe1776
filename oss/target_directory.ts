// The directory of an OST: whose it is, and that one daemon alone uses it.
//
//   {directory}/lock              locked with flock(2) as long as a daemon uses the directory; the
//                                 lock goes with the process, however that ends
//   {directory}/rustre-ost.json   cluster, OST index, node id, format
//   {directory}/objects/, journal/   file_store.ts

import fs from "node:fs";
import { dirname } from "node:path";
import * as v from "valibot";
import { assert } from "../shared/assert.ts";
import { type Environment, randomHex } from "../shared/environment.ts";
import { isRustreError, RustreError } from "../shared/errors.ts";
import { limits } from "../shared/limits.ts";
import { idSchema, targetIndexSchema } from "../shared/model.ts";
import { platformReason } from "../shared/platform_errors.ts";
import { FileObjectStore, type FileObjectStoreOptions } from "./file_store.ts";
import type { WorkerPlace } from "../shared/workers/peers.ts";
import { codeOf, localFiles } from "./files.ts";
import type { OpenTarget, TargetOwner, TargetStorage } from "./object_store.ts";

const identityName = "rustre-ost.json";
const temporaryName = `${identityName}.tmp`;
const lockName = "lock";
/** Raised by every change to what is in the directory that an older version would misread. */
const formatVersion = 3;
/** What an empty directory may hold: a new file system's own, and what a claim leaves on its way. */
const namesBeforeClaim: readonly string[] = ["lost+found", lockName, temporaryName];

const identitySchema = v.object({
  format: v.literal(formatVersion),
  clusterId: idSchema,
  clusterName: v.string(),
  targetIndex: targetIndexSchema,
  nodeId: idSchema,
});
type Identity = v.InferOutput<typeof identitySchema>;

type Shard = Pick<WorkerPlace, "index" | "count">;

export class TargetDirectory implements TargetStorage {
  readonly #directory: string;
  readonly #environment: Pick<Environment, "clock" | "random">;
  readonly #shard: Shard | undefined;
  #lock: Deno.FsFile | undefined;

  /** `shard`: in a worker of a process whose main thread has the lock. */
  constructor(
    directory: string,
    environment: Pick<Environment, "clock" | "random">,
    shard?: Shard,
  ) {
    this.#directory = directory;
    this.#environment = environment;
    this.#shard = shard;
  }

  /** Makes the directory where it is missing, and refuses one that is no OST's and not empty. */
  async lock(): Promise<void> {
    if (this.#shard) return;
    const action = `use "${this.#directory}" as an OST's directory`;
    try {
      await this.#makeDirectory(action);
      this.#refuseForeignFiles();
      const path = `${this.#directory}/${lockName}`;
      const file = await Deno.open(path, { read: true, write: true, create: true, mode: 0o600 });
      if (file.tryLockSync(true)) {
        this.#lock = file;
        return;
      }
      file.close();
    } catch (error) {
      throw asRustreError(action, error);
    }
    throw new RustreError("EBUSY", `Cannot ${action}: another oss uses it`);
  }

  unlock(): void {
    this.#lock?.close();
    this.#lock = undefined;
  }

  async open(owner: TargetOwner): Promise<OpenTarget> {
    assert(this.#lock ?? this.#shard, "an OST's directory is opened without its lock");
    const { targetIndex } = owner;
    const identity = this.#read(targetIndex) ?? await this.#claim(owner);
    this.#refuseOthers(identity, owner);
    const objects = await FileObjectStore.open({
      directory: this.#directory,
      targetIndex,
      random: this.#environment.random,
      clock: this.#environment.clock,
      ...shardOptions(this.#shard),
    });
    return { nodeId: identity.nodeId, objects };
  }

  async #makeDirectory(action: string): Promise<void> {
    try {
      await makeDirectories(this.#directory);
    } catch (error) {
      throw asRustreError(`${action}: it cannot be made`, error);
    }
  }

  #refuseForeignFiles(): void {
    const names = fs.readdirSync(this.#directory);
    if (names.includes(identityName)) return;
    const foreign = names.find((name) => !namesBeforeClaim.includes(name));
    if (foreign === undefined) return;
    throw new RustreError(
      "ENOTEMPTY",
      `Cannot use "${this.#directory}" as an OST's directory: it holds "${foreign}" and no ` +
        `"${identityName}", so it is not an OST's; give an empty or new directory`,
    );
  }

  /** The identity on disk; `undefined` where there is none yet. */
  #read(targetIndex: number): Identity | undefined {
    const path = `${this.#directory}/${identityName}`;
    const action = `use "${this.#directory}" as OST ${targetIndex}`;
    let content: unknown;
    try {
      content = JSON.parse(fs.readFileSync(path, "utf8"));
    } catch (error) {
      if (codeOf(error) === "ENOENT") return undefined;
      if (!(error instanceof SyntaxError)) throw asRustreError(action, error);
    }
    const format = v.safeParse(v.object({ format: v.number() }), content);
    if (format.success && format.output.format !== formatVersion) {
      const versions = `format ${format.output.format}, this version knows only ${formatVersion}`;
      throw new RustreError("STORE_FORMAT", `Cannot ${action}: it has ${versions}`);
    }
    const identity = v.safeParse(identitySchema, content);
    if (identity.success) return identity.output;
    throw new RustreError(
      "STORE_FORMAT",
      `Cannot ${action}: its "${identityName}" is damaged; restore that file, or give an empty ` +
        "directory",
    );
  }

  #refuseOthers(identity: Identity, owner: TargetOwner): void {
    const action = `use "${this.#directory}" as OST ${owner.targetIndex}`;
    if (identity.clusterId !== owner.clusterId) {
      const theirs = `"${identity.clusterName}" (${identity.clusterId})`;
      const ours = `"${owner.clusterName}" (${owner.clusterId})`;
      throw new RustreError(
        "WRONG_CLUSTER",
        `Cannot ${action} of cluster ${ours}: it belongs to cluster ${theirs}`,
      );
    }
    if (identity.targetIndex !== owner.targetIndex) {
      throw new RustreError(
        "WRONG_TARGET",
        `Cannot ${action}: it is the directory of OST ${identity.targetIndex}`,
      );
    }
  }

  /** Writes the identity: whole and on disk, or not at all. */
  async #claim(owner: TargetOwner): Promise<Identity> {
    const { clusterId, clusterName, targetIndex } = owner;
    const nodeId = randomHex(this.#environment.random, 16);
    const identity: Identity = {
      format: formatVersion,
      clusterId,
      clusterName,
      targetIndex,
      nodeId,
    };
    const temporary = `${this.#directory}/${temporaryName}`;
    try {
      this.#refuseForeignFiles();
      writeSynced(temporary, `${JSON.stringify(identity, null, 2)}\n`);
      fs.renameSync(temporary, `${this.#directory}/${identityName}`);
      await localFiles.syncDirectory(this.#directory);
    } catch (error) {
      throw asRustreError(`claim "${this.#directory}" as OST ${targetIndex}`, error);
    }
    return identity;
  }
}

/** Shards share the descriptors of their process. */
function shardOptions(shard: Shard | undefined): Pick<
  FileObjectStoreOptions,
  "shard" | "openObjectsMax"
> {
  if (!shard) return {};
  return { shard, openObjectsMax: Math.ceil(limits.openObjectsMax / shard.count) };
}

/** Makes what is missing of a path, each directory on disk before what goes into it. */
async function makeDirectories(path: string): Promise<void> {
  if (fs.existsSync(path)) return;
  const parent = dirname(path);
  await makeDirectories(parent);
  if (localFiles.makeDirectory(path)) await localFiles.syncDirectory(parent);
}

function writeSynced(path: string, text: string): void {
  const descriptor = fs.openSync(path, "w", 0o600);
  try {
    fs.writeFileSync(descriptor, text);
    fs.fsyncSync(descriptor);
  } finally {
    fs.closeSync(descriptor);
  }
}

function asRustreError(action: string, error: unknown): RustreError {
  if (isRustreError(error)) return error;
  const { code, reason } = platformReason(error);
  return new RustreError(code, `Cannot ${action}: ${reason}`, { cause: error });
}
