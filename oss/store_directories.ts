// What a file store finds and makes in its OST's directory before it reads a journal.

import { RustreError } from "../shared/errors.ts";
import { usesAttributes } from "./attribute_support.ts";
import type { Files } from "./files.ts";

export interface StoreDirectories {
  /** Of the store's own journal. */
  readonly journal: string;
  /** Of journals that others have left, which it takes over. */
  readonly otherJournals: readonly string[];
  readonly usesAttributes: boolean;
}

/** Makes what is missing; it is on disk when this resolves. */
export async function prepareDirectories(
  files: Files,
  { directory, objects, shard }: {
    directory: string;
    /** Of all objects. */
    objects: string;
    shard: { readonly index: number; readonly count: number };
  },
): Promise<StoreDirectories> {
  const journals = `${directory}/journal`;
  const journal = `${journals}/${shard.count}-${shard.index}`;
  if (files.lengthOf(journals) === undefined && (await files.list(objects)).length > 0) {
    throw journalIsGone(journals);
  }
  for (const path of [objects, journals, journal]) files.makeDirectory(path);
  const isWhole = shard.count === 1;
  // Where the store of all objects, which is opened before its shards, has not settled it, the file
  // system keeps none; shards that all tried again would meet at the draft.
  const hasAttributes = await usesAttributes(files, directory, { maySettle: isWhole });
  for (const path of [directory, journals]) await files.syncDirectory(path);
  // A store of all objects also takes over what shards have left.
  const found = isWhole ? await files.list(journals) : [];
  const paths = found.filter((name) => journalName.test(name)).map((name) => `${journals}/${name}`);
  const otherJournals = paths.filter((path) => path !== journal);
  return { journal, otherJournals, usesAttributes: hasAttributes };
}

/** Of `{shards}-{shard}`. */
const journalName = /^[1-9]\d*-\d+$/;

/** The directories of both are on disk before there is any object: one without the other is a loss. */
function journalIsGone(path: string): RustreError {
  return new RustreError(
    "STORE_FORMAT",
    `Cannot read the journal "${path}": it is gone, and with it changes that were acknowledged; ` +
      "check its disk, and if it stays so, take the OST for lost",
  );
}
