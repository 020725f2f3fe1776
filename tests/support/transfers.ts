// What tests of puts and gets begin with: bytes, a cluster with a local directory, a watched client.

import assert from "node:assert/strict";
import { type FileSystem } from "../../client/mod.ts";
import { root, type TestCluster, withCluster } from "./cluster.ts";
import { inDirectory } from "./directory.ts";
import { WatchingTransport, type WatchOptions } from "./watching_transport.ts";

export function bytesOf(length: number, seed = 1): Uint8Array<ArrayBuffer> {
  const words = new Uint32Array(Math.ceil(length / 4));
  for (let at = 0; at < words.length; at++) words[at] = Math.imul(at + seed, 0x9e3779b1);
  return new Uint8Array(words.buffer, 0, length);
}

export function same(actual: Uint8Array, expected: Uint8Array): void {
  assert.equal(Buffer.compare(actual, expected), 0);
}

/** A cluster and a local directory. */
export function inCluster(
  options: Parameters<typeof withCluster>[0],
  test: (cluster: TestCluster, directory: string) => Promise<void>,
): Promise<void> {
  return inDirectory((directory) => withCluster(options, (cluster) => test(cluster, directory)));
}

export async function store(
  fileSystem: FileSystem,
  path: string,
  bytes: Uint8Array,
): Promise<void> {
  await using file = await fileSystem.create(path);
  await file.write(0, bytes);
  await file.close();
}

/** A client whose network is watched, and an environment for transfers over it. */
export function watched(cluster: TestCluster, options: WatchOptions) {
  const transport = new WatchingTransport(cluster.network.transport("watched"), options);
  const client = cluster.connect("watched", { transport });
  const environment = { ...cluster.environment("watched"), transport };
  return { client, fileSystem: client.fileSystem(root), environment };
}
