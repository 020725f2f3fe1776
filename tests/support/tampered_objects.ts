// An object store that lies, or fails, where a test says so.

import type { ObjectStore } from "../../oss/object_store.ts";

/** An ObjectStore that does some things otherwise. */
export function tamperedObjects(inner: ObjectStore, otherwise: Partial<ObjectStore>): ObjectStore {
  return {
    writeVerifier: inner.writeVerifier,
    write: (...all) => inner.write(...all),
    read: (...all) => inner.read(...all),
    verify: (...all) => inner.verify(...all),
    list: (...all) => inner.list(...all),
    resize: (...all) => inner.resize(...all),
    sync: (...all) => inner.sync(...all),
    stat: (...all) => inner.stat(...all),
    destroy: (...all) => inner.destroy(...all),
    usage: () => inner.usage(),
    close: () => inner.close(),
    [Symbol.asyncDispose]: () => inner.close(),
    ...otherwise,
  };
}
