// Hands out inode numbers, never the same twice: ranges are taken from the store in a transaction of
// their own, and what a crash leaves of a range is lost.

import { assert } from "../shared/assert.ts";
import { RustreError } from "../shared/errors.ts";
import { limits } from "../shared/limits.ts";
import { rootInode } from "../shared/model.ts";
import { transact, type TransactionContext } from "../shared/store/transact.ts";
import type { Schema } from "./schema.ts";
import { decodeNumber, encodeNumber } from "./values.ts";

export class InodeAllocator {
  readonly #context: TransactionContext;
  readonly #schema: Schema;
  #next = 0;
  #end = 0;
  #refilling: Promise<void> | undefined;

  constructor(context: TransactionContext, schema: Schema) {
    this.#context = context;
    this.#schema = schema;
  }

  async next(): Promise<number> {
    while (this.#next === this.#end) {
      this.#refilling ??= this.#refill().finally(() => this.#refilling = undefined);
      await this.#refilling;
    }
    return this.#next++;
  }

  async #refill(): Promise<void> {
    const first = await transact(this.#context, async (transaction) => {
      const value = await transaction.get(this.#schema.nextIno);
      const next = value ? decodeNumber(value) : rootInode + 1;
      if (next + limits.inodeRange > limits.inodeMax) {
        throw new RustreError("ENOSPC", "every inode number has been used");
      }
      transaction.set(this.#schema.nextIno, encodeNumber(next + limits.inodeRange));
      return next;
    });
    assert(this.#next === this.#end, "two refills at once");
    this.#next = first;
    this.#end = first + limits.inodeRange;
  }
}
