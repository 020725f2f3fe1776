// For each inode number: how many entries were seen that lead to it, of which types, and whether its
// inode was seen. The one thing that a check keeps of the whole tree: 4 bytes for each number, in
// pages of 256 numbers, so 4 MB for a million files that were made one after the other, and 1 KiB for
// a file all of whose neighbours are gone.

import type { FileType } from "../../shared/model.ts";

const numbersPerPage = 256;
const countMax = 0x00ff_ffff;
const typeBits: Record<FileType, number> = {
  file: 0x0100_0000,
  directory: 0x0200_0000,
  symlink: 0x0400_0000,
};
const inodeBit = 0x0800_0000;

export class LinkTable {
  readonly #pages = new Map<number, Uint32Array>();

  addEntry(ino: number, type: FileType): void {
    const { page, index } = this.#place(ino);
    const before = page[index]!;
    const counted = (before & countMax) < countMax ? before + 1 : before;
    page[index] = counted | typeBits[type];
  }

  addInode(ino: number): void {
    const { page, index } = this.#place(ino);
    page[index]! |= inodeBit;
  }

  entriesOf(ino: number): number {
    const page = this.#pages.get(Math.floor(ino / numbersPerPage));
    return (page?.[ino % numbersPerPage] ?? 0) & countMax;
  }

  /** Whether an entry says that it leads to something of another type. */
  hasOtherType(ino: number, type: FileType): boolean {
    const { page, index } = this.#place(ino);
    const types = typeBits.file | typeBits.directory | typeBits.symlink;
    return (page[index]! & types & ~typeBits[type]) !== 0;
  }

  /** The numbers that entries lead to and no inode has. */
  *namedOnly(): Generator<number> {
    for (const [pageNumber, page] of this.#pages) {
      for (const [index, value] of page.entries()) {
        if ((value & countMax) === 0 || (value & inodeBit) !== 0) continue;
        yield pageNumber * numbersPerPage + index;
      }
    }
  }

  #place(ino: number): { page: Uint32Array; index: number } {
    const pageNumber = Math.floor(ino / numbersPerPage);
    let page = this.#pages.get(pageNumber);
    if (!page) this.#pages.set(pageNumber, page = new Uint32Array(numbersPerPage));
    return { page, index: ino % numbersPerPage };
  }
}
