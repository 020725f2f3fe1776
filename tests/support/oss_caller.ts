// Calls to the OSTs of a test cluster that say exactly what a test wants said.

import assert from "node:assert/strict";
import { checksumsOf, encodeChecksums } from "../../shared/checksums.ts";
import { endpointOfTarget, targetOf } from "../../shared/cluster_map.ts";
import { objectId } from "../../shared/layout.ts";
import type { ClusterMap } from "../../shared/model.ts";
import { RpcClient } from "../../shared/rpc/client.ts";
import { ossService } from "../../shared/protocol/oss.ts";
import type { RequestOf } from "../../shared/rpc/service.ts";
import { type TestCluster, withCluster } from "./cluster.ts";

/** The object of every call, unless it says otherwise. */
export const object = objectId(7, 0);

/** Calls OSTs as a client does, with the newest map unless a request says otherwise. */
export class OssCaller {
  readonly rpc: RpcClient;
  map: ClusterMap;

  constructor(rpc: RpcClient, map: ClusterMap) {
    this.rpc = rpc;
    this.map = map;
  }

  write(
    index: number,
    bytes: Uint8Array,
    fields: Partial<RequestOf<typeof ossService, "writeObject">> = {},
  ) {
    const { epoch } = this.map;
    const { offsetBytes = 0 } = fields;
    const place = { epoch, object, ...this.withChecksums(offsetBytes, bytes) };
    const request = { ...place, replicas: [], sync: false, ...fields };
    return this.rpc.call(this.#at(index), ossService, "writeObject", request, { payload: bytes });
  }

  withChecksums(offsetBytes: number, bytes: Uint8Array) {
    return { offsetBytes, checksums: encodeChecksums(checksumsOf(offsetBytes, bytes)) };
  }

  /** Bytes whose checksums are right. */
  async read(
    index: number,
    offsetBytes: number,
    lengthBytes: number,
    fields: { epoch?: number; verified?: boolean } = {},
  ): Promise<Uint8Array> {
    const { epoch } = this.map;
    const request = { epoch, object, offsetBytes, lengthBytes, verified: false, ...fields };
    const endpoint = this.#at(index);
    const { reply, payload } = await this.rpc.download(endpoint, ossService, "readObject", request);
    assert.deepEqual(reply.checksums, encodeChecksums(checksumsOf(offsetBytes, payload)));
    return payload;
  }

  call<Name extends keyof typeof ossService["methods"]>(
    index: number,
    name: Name,
    request: RequestOf<typeof ossService, Name>,
  ) {
    return this.rpc.call(this.#at(index), ossService, name, request);
  }

  #at(index: number) {
    return endpointOfTarget(targetOf(this.map, index));
  }
}

/** A test on a cluster of three OSTs without files. */
export function testOss(
  name: string,
  test: (caller: OssCaller, cluster: TestCluster) => Promise<void>,
): void {
  Deno.test(`oss ${name}`, () =>
    withCluster({ osts: 3, uncheckedBecause: "objects without files" }, async (cluster) => {
      const map = await cluster.connect().map();
      const environment = cluster.environment("caller");
      await using rpc = new RpcClient({ environment, caller: "client" });
      await test(new OssCaller(rpc, map), cluster);
    }));
}
