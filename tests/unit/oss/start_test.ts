// An oss on a real directory, over real TCP: what it refuses, and what it keeps.

import assert from "node:assert/strict";
import { startMgs } from "../../../mgs/start.ts";
import { type RunningOss, startOss } from "../../../oss/start.ts";
import type { Address } from "../../../shared/environment.ts";
import { objectId } from "../../../shared/layout.ts";
import { loggerOf } from "../../../shared/logging.ts";
import { systemEnvironment } from "../../../shared/platform.ts";
import { checksumsOf, encodeChecksums } from "../../../shared/checksums.ts";
import { RpcClient } from "../../../shared/rpc/client.ts";
import { mgsService } from "../../../shared/protocol/mgs.ts";
import { ossService } from "../../../shared/protocol/oss.ts";
import { MemoryStore } from "../../../shared/store/memory.ts";
import { pattern, rejects } from "../../support/object_bytes.ts";
import { RecordedLog } from "../../support/fake_mgs.ts";

const environment = systemEnvironment();
const common = {
  environment,
  listen: { host: "127.0.0.1", port: 0 },
  advertise: (listening: Address) => Promise.resolve(listening),
  hostName: "here",
  version: "test",
};

function startMgsOf(clusterName: string) {
  const store = new MemoryStore(environment.clock);
  const nodeId = "a".repeat(32);
  return startMgs({ ...common, store, clusterName, nodeId, log: loggerOf("mgs") });
}

function startOssOn(mgs: Address, directory: string, targetIndex: number): Promise<RunningOss> {
  return startOss({ ...common, mgs: [mgs], storage: directory, targetIndex, log: loggerOf("oss") });
}

Deno.test("startOss() serves a directory to one daemon of its cluster and index", async () => {
  const directory = await Deno.makeTempDir();
  await using mgs = await startMgsOf("mine");
  await using rpc = new RpcClient({ environment, caller: "client" });
  const object = objectId(1, 0);
  const call = async (oss: RunningOss) => {
    const { epoch } =
      (await rpc.call({ address: mgs.address, role: "mgs" }, mgsService, "getMap", {}))
        .map!;
    return { endpoint: { address: oss.address, role: "oss", targetIndex: 2 } as const, epoch };
  };
  {
    await using oss = await startOssOn(mgs.address, directory, 2);
    await oss.registered;
    const { endpoint, epoch } = await call(oss);
    const payload = pattern(1, 200_000);
    const checksums = encodeChecksums(checksumsOf(0, payload));
    const write = { epoch, object, offsetBytes: 0, replicas: [], sync: true, checksums };
    await rpc.call(endpoint, ossService, "writeObject", write, { payload });
    const again = () => startOssOn(mgs.address, directory, 2);
    await rejects("EBUSY", again, [directory, "another oss uses it"]);
    assert.equal(oss.targetIndex, 2);
  }
  await rejects("WRONG_TARGET", () => startOssOn(mgs.address, directory, 3), [directory, "OST 2"]);
  {
    await using other = await startMgsOf("theirs");
    const asTheirs = () => startOssOn(other.address, directory, 2);
    await rejects("WRONG_CLUSTER", asTheirs, [directory, '"mine"', '"theirs"']);
  }
  {
    await using oss = await startOssOn(mgs.address, directory, 2);
    await oss.registered;
    const { endpoint, epoch } = await call(oss);
    const read = { epoch, object, offsetBytes: 0, lengthBytes: 200_000, verified: false };
    const { payload } = await rpc.download(endpoint, ossService, "readObject", read);
    assert.deepEqual(payload, pattern(1, 200_000));
  }
  await Deno.remove(directory, { recursive: true });
});

Deno.test("startOss() lets go of everything when it cannot listen", async () => {
  const directory = await Deno.makeTempDir();
  const { lines, logger: log } = new RecordedLog();
  await using mgs = await startMgsOf("mine");
  const options = {
    ...common,
    mgs: [mgs.address],
    storage: directory,
    targetIndex: 0,
    log,
  };
  await rejects("EBUSY", () => startOss({ ...options, listen: mgs.address }), ["Cannot listen"]);
  assert.deepEqual(lines, [], "what never served has not stopped");
  await using oss = await startOss(options);
  await oss.close();
  assert.deepEqual([lines[0], lines.at(-1)], ["info Serving", "info Stopped"]);
  await Deno.remove(directory, { recursive: true });
});
