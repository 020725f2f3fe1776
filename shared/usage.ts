// What OSTs say of their space and their damage, added up.

import type { Usage } from "./model.ts";

/** Of an OST that has not said anything yet. */
export const noUsage: Usage = {
  capacityBytes: 0,
  usedBytes: 0,
  freeBytes: 0,
  objects: 0,
  corruptBlocks: 0,
  repairedBlocks: 0,
};

const fields = Object.keys(noUsage) as (keyof Usage)[];

export function totalUsage(usages: Iterable<Usage>): Usage {
  const total = { ...noUsage };
  for (const usage of usages) {
    for (const field of fields) total[field] += usage[field];
  }
  return total;
}

export function isSameUsage(a: Usage, b: Usage): boolean {
  return fields.every((field) => a[field] === b[field]);
}
