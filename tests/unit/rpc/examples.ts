// One example of every message of the protocol. A method without one does not compile.

import { limits } from "../../../shared/limits.ts";
import type { Attributes, ClusterMap } from "../../../shared/model.ts";
import type { mdsService } from "../../../shared/protocol/mds.ts";
import type { mgsService, Registration } from "../../../shared/protocol/mgs.ts";
import type { ossService } from "../../../shared/protocol/oss.ts";
import { type HelloReply, type HelloRequest, protocolVersion } from "../../../shared/rpc/hello.ts";
import type { ReplyOf, RequestOf, Service } from "../../../shared/rpc/service.ts";

export type Examples<S extends Service> = {
  readonly [Name in keyof S["methods"]]: {
    readonly request: RequestOf<S, Name>;
    readonly reply: ReplyOf<S, Name>;
  };
};

const clusterId = "0123456789abcdef0123456789abcdef";
const nodeId = "fedcba9876543210fedcba9876543210";
const clientId = "00112233445566778899aabbccddeeff";
const address = { host: "10.0.0.7", port: 9402 };
const usage = {
  capacityBytes: 2 ** 40,
  usedBytes: 12345,
  freeBytes: 2 ** 39,
  objects: 3,
  corruptBlocks: 5,
  repairedBlocks: 4,
};

export const helloExample: { request: HelloRequest; reply: HelloReply } = {
  request: {
    protocol: protocolVersion,
    clusterId,
    wants: "oss",
    targetIndex: 3,
    caller: "client",
    credentials: { token: "none yet" },
  },
  reply: {
    protocol: protocolVersion,
    clusterId,
    clusterName: "rustre",
    role: "oss",
    nodeId,
    targetIndex: 3,
    workers: [9500, 0],
  },
};

export const errorExample = { code: 2, message: 'Cannot stat "/a": no such file or directory' };

const clusterMap: ClusterMap = {
  clusterId,
  clusterName: "rustre",
  epoch: 7,
  mgs: [{ nodeId, address, hostName: "alpha", version: "0.1.0", state: "up" }],
  mds: [{ nodeId, address, hostName: "beta", version: "0.1.0", state: "down" }],
  targets: [
    {
      index: 3,
      nodeId,
      address,
      hostName: "gamma",
      version: "0.1.0",
      state: "up",
      usage,
      dataPath: "zero-copy",
    },
  ],
};

const file: Attributes = {
  ino: limits.inodeMax,
  type: "file",
  mode: 0o644,
  uid: 0xffff_fffe,
  gid: 1000,
  links: 1,
  sizeBytes: limits.fileBytesMax,
  dataEndBytes: 5_000_000_000,
  atimeNs: -(2n ** 63n),
  mtimeNs: 1_700_000_000_123_456_789n,
  ctimeNs: 2n ** 63n - 1n,
  layout: { stripeBytes: 1 << 20, stripesPerObject: 64, targets: [[0, 1], [1, 65535]] },
};
const directory: Attributes = {
  ino: 1,
  type: "directory",
  mode: 0o7777,
  uid: 0,
  gid: 0,
  links: 2,
  sizeBytes: 0,
  dataEndBytes: 0,
  atimeNs: 0n,
  mtimeNs: 0n,
  ctimeNs: 0n,
  defaults: { stripeCount: 0, stripeBytes: 1 << 16, replicas: 2 },
};

const mutation = { clientId, requestId: 42 };
const caller = { uid: 1000, gid: 1000, groups: [4, 24, 1000] };
const place = { ino: 1, path: "some/dir" };
const entry = { directory: place, name: "naïve file \u{1f600}" };
const reply = { attributes: file };
const registration: Registration = {
  role: "oss",
  nodeId,
  address,
  hostName: "gamma",
  version: "0.1.0",
  targetIndex: 3,
  usage,
};
const probe = {
  request: { epoch: 7, mgs: [address, { host: "::1", port: 0 }] },
  reply: { nodeId, usage },
};

export const mgsExamples: Examples<typeof mgsService> = {
  probe,
  register: { request: registration, reply: { epoch: 8 } },
  unregister: { request: { nodeId }, reply: {} },
  getMap: { request: { knownEpoch: 6 }, reply: { map: clusterMap } },
  status: { request: {}, reply: { map: clusterMap, heartbeatAgesMs: { [nodeId]: 12.5 } } },
  reaches: { request: { role: "oss", nodeId, address, targetIndex: 3 }, reply: { reached: true } },
  raiseEpoch: { request: {}, reply: { epoch: 8 } },
};

const handle = nodeId;

export const mdsExamples: Examples<typeof mdsService> = {
  probe,
  openSession: { request: {}, reply: { clientId, leaseMs: 30_000 } },
  renewSession: { request: { clientId }, reply: {} },
  closeSession: { request: { clientId }, reply: {} },
  stat: { request: { caller, place, follow: true, access: 7 }, reply },
  readlink: { request: { caller, place }, reply: { target: "../elsewhere" } },
  readdir: {
    request: { caller, directory: place, after: "", limit: 1000, withAttributes: true },
    reply: {
      entries: [
        { name: "a", ino: 2, type: "file", attributes: file },
        { name: "b", ino: 3, type: "directory" },
        { name: "c", ino: 4, type: "symlink" },
      ],
      more: true,
    },
  },
  statfs: { request: {}, reply: { inodes: 10, usage, targetsUp: 4 } },
  mkdir: {
    request: { ...mutation, caller, ...entry, mode: 0o755 },
    reply: { attributes: directory },
  },
  symlink: { request: { ...mutation, caller, ...entry, target: "/x" }, reply },
  create: {
    request: {
      ...mutation,
      caller,
      ...entry,
      mode: 0o600,
      layout: { stripeCount: 4, replicas: 2 },
      pending: true,
      replace: false,
    },
    reply,
  },
  commit: {
    request: {
      ...mutation,
      caller,
      ino: 2,
      sizeBytes: 10,
      dataEndBytes: 10,
      mtimeNs: 1_700_000_000_000_000_001n,
    },
    reply,
  },
  abort: { request: { ...mutation, ino: 2 }, reply: {} },
  link: { request: { ...mutation, caller, source: place, ...entry }, reply },
  unlink: { request: { ...mutation, caller, ...entry }, reply: {} },
  rmdir: { request: { ...mutation, caller, ...entry }, reply: {} },
  rename: {
    request: {
      ...mutation,
      caller,
      ...entry,
      newDirectory: { ino: 5, path: "" },
      newName: "new",
      noReplace: true,
    },
    reply: {},
  },
  setattr: {
    request: {
      ...mutation,
      caller,
      place,
      follow: false,
      mode: 0o4755,
      uid: 0,
      gid: 0,
      atimeNs: "now",
      mtimeNs: -1n,
      sizeBytes: 0,
    },
    reply,
  },
  setLayoutDefaults: {
    request: { ...mutation, caller, directory: place, defaults: { stripeBytes: 1 << 26 } },
    reply: { attributes: directory },
  },
  openWrite: { request: { ...mutation, caller, place, handle }, reply },
  commitWrite: { request: { ...mutation, ino: 2, handle, dataEndBytes: 9, mtimeNs: 0n }, reply },
  closeWrite: { request: { ...mutation, ino: 2, handle, clean: true }, reply: {} },
  batch: {
    request: {
      ...mutation,
      caller,
      commits: [{ ino: 2, sizeBytes: 9, dataEndBytes: 8, mtimeNs: 1n, clean: true }],
      creates: [{ directory: place, name: "n", mode: 0o644, layout: {}, replace: false }],
    },
    reply: {
      timeNs: 5n,
      committed: [{}, { error: { code: 2, message: "the create was not pending any more" } }],
      created: [{
        inode: {
          ino: 3,
          gid: 0,
          mode: 0o644,
          layout: { stripeBytes: 1 << 20, stripesPerObject: 64, targets: [[0], [1]] },
        },
      }],
    },
  },
};

const object = { epoch: 7, object: "0000000000000002:00000001" };
/** Of the bytes 00, 7f, 80 and ff. */
const checksums = Uint8Array.of(0x84, 0xbe, 0xfb, 0x04);
const verifier = "5be6a3d2c0f94e0f9d3c1a7b6e8f2041";

const scrubPlace = { object: object.object, offsetBytes: 4096 };

export const ossExamples: Examples<typeof ossService> = {
  probe,
  writeObject: {
    request: { ...object, offsetBytes: 4096, replicas: [1, 2], sync: true, checksums },
    reply: { verifiers: [verifier, "0".repeat(32), verifier] },
  },
  readObject: {
    request: {
      ...object,
      offsetBytes: 0,
      lengthBytes: limits.framePayloadBytesMax,
      verified: false,
    },
    reply: { checksums },
  },
  resizeObject: {
    request: { ...object, lengthBytes: 1, extend: false },
    reply: { verifier },
  },
  syncObjects: { request: { epoch: 7, objects: [object.object], verifier }, reply: {} },
  statObject: { request: { object: object.object }, reply: { lengthBytes: 100 } },
  repairObject: {
    request: { ...object, offsetBytes: 4096, lengthBytes: 8192, replicas: [1, 2] },
    reply: { repairedBlocks: 2, lostBlocks: 1 },
  },
  scrubObjects: {
    request: { from: scrubPlace, bytesMax: limits.scrubBytesMax },
    reply: {
      objects: 3,
      bytes: 12_345,
      damaged: [{ object: object.object, offsetBytes: 4096, lengthBytes: 4096 }],
      next: scrubPlace,
    },
  },
  listObjects: {
    request: { after: object.object, limit: limits.objectsPerListMax },
    reply: { objects: [{ object: object.object, lengthBytes: 4096 }] },
  },
  listInode: {
    request: object,
    reply: { objects: [{ object: object.object, lengthBytes: 4096 }] },
  },
  statObjects: {
    request: { objects: [object.object, object.object] },
    reply: { lengthsBytes: [4096, null] },
  },
  destroyInodes: { request: { inodes: [2, 3] }, reply: { objects: 5 } },
};
