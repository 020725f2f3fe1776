// What a store's URL tells without opening the store.

/** The forms that there are, for messages. */
export const storeUrlForms = "memory:, sqlite:PATH or fdb:CLUSTER_FILE";

/** Whether it has one of those forms. What it names need not be there. */
export function isStoreUrl(url: string): boolean {
  return url === "memory:" || /^(sqlite|fdb):./s.test(url);
}

/** Whether several threads of a process may open it, each for itself, and see the same. */
export function isSharedAmongThreads(url: string): boolean {
  return url !== "memory:" && !url.startsWith("fdb:");
}
