// The client library's public face.

export { Cluster, type ClusterOptions, type ClusterStatus } from "./cluster.ts";
export {
  type AttributeChanges,
  type CallOptions,
  type EntryWithAttributes,
  FileSystem,
  type ListedAttributes,
  type NewFileOptions,
  type WriteFileOptions,
} from "./file_system.ts";
export type { FileBytes, PieceToRead, PieceToWrite } from "./file_pieces.ts";
export { type ContentOf, contentOfBytes, type PieceContent } from "./object_client.ts";
export type { IntegrityCounts } from "./object_parts.ts";
export type {
  ScrubFinding,
  ScrubOptions,
  ScrubOutcome,
  ScrubProgress,
  ScrubSummary,
} from "./scrub.ts";
export { OpenFile, type WriteOptions } from "./open_file.ts";
export { download, downloadStream } from "./transfer/download.ts";
export { removeTree } from "./transfer/remove_tree.ts";
export type { TransferOptions, TransferProgress, TransferSummary } from "./transfer/transfer.ts";
export { treeUsage } from "./transfer/tree_usage.ts";
export { upload, uploadStream } from "./transfer/upload.ts";
export { walkTree } from "./transfer/walk_tree.ts";
export { parseAddress, parseAddressList } from "../shared/address.ts";
export { isRustreError, RustreError } from "../shared/errors.ts";
export type { Attributes, Caller, ClusterMap, Layout, LayoutWish } from "../shared/model.ts";
export type { DirectoryEntry } from "../shared/protocol/mds.ts";
