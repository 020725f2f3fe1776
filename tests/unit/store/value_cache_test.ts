import assert from "node:assert/strict";
import { limits } from "../../../shared/limits.ts";
import { ValueCache } from "../../../shared/store/value_cache.ts";

const value = new Uint8Array([1]);

Deno.test("ValueCache gives the same array again, until the key is forgotten", () => {
  const cache = new ValueCache();
  cache.add("a", value);
  assert.equal(cache.get("a"), value);
  cache.forget("a");
  assert.equal(cache.get("a"), undefined);
});

Deno.test("ValueCache is bounded, and keeps what is read again and again", () => {
  const cache = new ValueCache();
  cache.add("hot", value);
  const count = 10 * limits.storeCachedValues;
  for (let index = 0; index < count; index++) {
    cache.add(`cold ${index}`, value);
    assert.equal(cache.get("hot"), value);
  }
  let kept = 0;
  for (let index = 0; index < count; index++) if (cache.get(`cold ${index}`)) kept++;
  assert(kept <= 2 * limits.storeCachedValues, `${kept} of ${count} are kept`);
});

Deno.test("ValueCache forgets a key in both of its generations", () => {
  const cache = new ValueCache();
  cache.add("a", value);
  for (let index = 0; index < limits.storeCachedValues; index++) cache.add(`b ${index}`, value);
  // Now it is in the older one; a read puts it into the younger one as well.
  assert.equal(cache.get("a"), value);
  cache.forget("a");
  assert.equal(cache.get("a"), undefined);
  cache.add("a", value);
  cache.clear();
  assert.equal(cache.get("a"), undefined);
});

Deno.test("ValueCache takes no large values", () => {
  const cache = new ValueCache();
  cache.add("a", new Uint8Array(limits.storeCachedValueBytesMax + 1));
  assert.equal(cache.get("a"), undefined);
});
