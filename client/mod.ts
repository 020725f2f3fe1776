// The client library's public face.

export { Cluster, type ClusterOptions, type ClusterStatus } from "./cluster.ts";
export {
  type AttributeChanges,
  type CallOptions,
  type EntryWithAttributes,
  FileSystem,
  type NewFileOptions,
  type WriteFileOptions,
} from "./file_system.ts";
export { OpenFile, type WriteOptions } from "./open_file.ts";
export { parseAddress, parseAddressList } from "../shared/address.ts";
export { isRustreError, RustreError } from "../shared/errors.ts";
export type { Attributes, Caller, ClusterMap, Layout, LayoutWish } from "../shared/model.ts";
export type { DirectoryEntry } from "../shared/rpc/protocol.ts";
