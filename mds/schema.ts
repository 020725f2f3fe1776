// THE key table of the metadata: every key that an mds reads or writes, and what its value is.
// values.ts has the coding of the values.
//
//   {cluster}/mds_meta/…                        value
//   ino/{ino:016x}                              inode: type, owner, times, links, size, layout
//   children/{parent:016x}/{name}               inode number and type; existence is membership
//   dir_links/{ino:016x}                        count of subdirectories, an atomic counter
//   dir_times/{ino:016x}                        a directory's mtime and ctime, written blindly
//   next_ino                                    the first inode number that nobody has taken
//   inodes                                      count of inodes, an atomic counter
//   session/{clientId}                          when the client's lease ends; whether it has
//   idem/{clientId}/{slot:04x}                  request id and reply, or error, of a mutation
//   pending/{clientId}/{ino:016x}               a create that is not committed: inode and its name
//   writer/{ino:016x}/{clientId}/{handle}       the client has the file open for writing
//   writing/{clientId}/{handle}/{ino:016x}      the same, found by the client
//   truncate/{ino:016x}                         objects are still to be cut to the inode's data end
//   gc/{target:08x}/{ino:016x}                  the OST is to destroy the inode's objects
//
// {cluster}/lease/collector is the lease of the mds that collects, {cluster}/lease/fsck that of a
// check that repairs.
//
// A directory's links and times have keys of their own so that creates in one directory
// do not conflict with each other: they add to or overwrite these without reading them, and only
// read the directory's inode, which a mkdir or create does not change.

import {
  type Key,
  type KeyRange,
  keyToText,
  prefixRange,
  textToKey,
} from "../shared/store/store.ts";
import type { Writer } from "./values.ts";

function hex16(number: number): string {
  return number.toString(16).padStart(16, "0");
}

function hex8(number: number): string {
  return number.toString(16).padStart(8, "0");
}

/** What the part of a key behind `mds_meta/` begins with, of keys that are not alone of their kind. */
export type KeyKind =
  | "ino"
  | "children"
  | "dir_links"
  | "dir_times"
  | "session"
  | "idem"
  | "pending"
  | "writer"
  | "writing"
  | "truncate"
  | "gc";

/** The keys of one cluster. */
export class Schema {
  readonly #prefix: Key;
  readonly collectorLease: Key;
  readonly fsckLease: Key;
  readonly nextIno: Key;
  readonly inodeCount: Key;

  constructor(clusterName: string) {
    this.#prefix = `${textToKey(clusterName)}/mds_meta/`;
    this.collectorLease = `${textToKey(clusterName)}/lease/collector`;
    this.fsckLease = `${textToKey(clusterName)}/lease/fsck`;
    this.nextIno = `${this.#prefix}next_ino`;
    this.inodeCount = `${this.#prefix}inodes`;
  }

  /** Every key of the metadata. */
  all(): KeyRange {
    return prefixRange(this.#prefix);
  }

  /** Every key of a kind. */
  allOf(kind: KeyKind): KeyRange {
    return prefixRange(`${this.#prefix}${kind}/`);
  }

  inode(ino: number): Key {
    return `${this.#prefix}ino/${hex16(ino)}`;
  }

  child(parent: number, name: string): Key {
    return `${this.#prefix}children/${hex16(parent)}/${textToKey(name)}`;
  }

  children(parent: number): KeyRange {
    return prefixRange(`${this.#prefix}children/${hex16(parent)}/`);
  }

  /** The name in a key of {@link children}. */
  childName(parent: number, key: Key): string {
    return keyToText(key.slice(this.children(parent).begin.length));
  }

  directoryLinks(ino: number): Key {
    return `${this.#prefix}dir_links/${hex16(ino)}`;
  }

  directoryTimes(ino: number): Key {
    return `${this.#prefix}dir_times/${hex16(ino)}`;
  }

  session(clientId: string): Key {
    return `${this.#prefix}session/${clientId}`;
  }

  sessions(): KeyRange {
    return prefixRange(`${this.#prefix}session/`);
  }

  clientOfSession(key: Key): string {
    return key.slice(this.sessions().begin.length);
  }

  reply(clientId: string, slot: number): Key {
    return `${this.#prefix}idem/${clientId}/${slot.toString(16).padStart(4, "0")}`;
  }

  replies(clientId: string): KeyRange {
    return prefixRange(`${this.#prefix}idem/${clientId}/`);
  }

  pending(clientId: string, ino: number): Key {
    return `${this.#prefix}pending/${clientId}/${hex16(ino)}`;
  }

  pendingOf(clientId: string): KeyRange {
    return prefixRange(`${this.#prefix}pending/${clientId}/`);
  }

  writer({ ino, clientId, handle }: Writer): Key {
    return `${this.#prefix}writer/${hex16(ino)}/${clientId}/${handle}`;
  }

  writers(ino: number): KeyRange {
    return prefixRange(`${this.#prefix}writer/${hex16(ino)}/`);
  }

  writing({ ino, clientId, handle }: Writer): Key {
    return `${this.#prefix}writing/${clientId}/${handle}/${hex16(ino)}`;
  }

  /** The writer of a key of {@link writingOf}. */
  writerOf(clientId: string, key: Key): Writer {
    const handle = key.slice(this.writingOf(clientId).begin.length, -hex16(0).length - 1);
    return { ino: this.inoOf(key), clientId, handle };
  }

  writingOf(clientId: string): KeyRange {
    return prefixRange(`${this.#prefix}writing/${clientId}/`);
  }

  truncation(ino: number): Key {
    return `${this.#prefix}truncate/${hex16(ino)}`;
  }

  truncations(): KeyRange {
    return prefixRange(`${this.#prefix}truncate/`);
  }

  garbage(target: number, ino: number): Key {
    return `${this.#prefix}gc/${hex8(target)}/${hex16(ino)}`;
  }

  garbageOf(target: number): KeyRange {
    return prefixRange(`${this.#prefix}gc/${hex8(target)}/`);
  }

  /** The inode number at the end of a key of `pending`, `writing`, `truncate` or `gc`. */
  inoOf(key: Key): number {
    return Number.parseInt(key.slice(-16), 16);
  }
}
