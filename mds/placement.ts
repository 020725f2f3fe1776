// Chooses the OSTs of a new file, pure: those that are up, with more weight where more is free,
// replicas on different hosts where there are any.

import { RustreError } from "../shared/errors.ts";
import { limits } from "../shared/limits.ts";
import type { Random } from "../shared/environment.ts";
import type { Layout, LayoutWish, Target } from "../shared/model.ts";

export interface FullLayoutWish {
  readonly stripeCount: number;
  readonly stripeBytes: number;
  readonly replicas: number;
}

/** The first of `wishes` that says something decides each field; then the defaults do. */
export function mergeWishes(...wishes: (LayoutWish | undefined)[]): FullLayoutWish {
  const merged = { stripeCount: 0, stripeBytes: limits.stripeBytesDefault, replicas: 1 };
  for (const wish of wishes.toReversed()) Object.assign(merged, wish);
  return merged;
}

/**
 * The layout of a new file. Fewer OSTs up than stripes wanted makes fewer stripes, for these are a
 * wish for speed; fewer than replicas is an error, for those are a promise.
 */
export function chooseLayout(
  targets: readonly Target[],
  wish: FullLayoutWish,
  random: Random,
): Layout {
  checkWish(targets, wish);
  const up = targets.filter((target) => target.state === "up");
  if (up.length < wish.replicas || up.length === 0) {
    const need = wish.replicas > 1
      ? `${wish.replicas} replicas need as many OSTs`
      : "a file needs an OST";
    throw new RustreError(
      "NOT_ENOUGH_TARGETS",
      `${need}, and ${up.length} of ${targets.length} are up; start more of them`,
    );
  }
  const usable = withoutFull(up, wish.replicas);
  const wanted = wish.stripeCount === 0 ? usable.length : wish.stripeCount;
  const stripeCount = Math.min(wanted, usable.length, limits.stripeCountMax);
  const order = new RandomOrder(usable, random);
  return {
    stripeBytes: wish.stripeBytes,
    stripesPerObject: limits.stripesPerObject,
    targets: Array.from(
      { length: stripeCount },
      (_, position) => replicasOf(order, position, wish.replicas).map((target) => target.index),
    ),
  };
}

function checkWish(targets: readonly Target[], wish: FullLayoutWish): void {
  if (wish.stripeCount > targets.length && targets.length > 0) {
    throw new RustreError(
      "EINVAL",
      `${wish.stripeCount} stripes are asked for, and the cluster has ${targets.length} OSTs`,
    );
  }
  if (wish.replicas > targets.length && targets.length > 0) {
    throw new RustreError(
      "EINVAL",
      `${wish.replicas} replicas are asked for, and the cluster has ${targets.length} OSTs`,
    );
  }
  checkStripeBytes(wish.stripeBytes);
}

/** So that stripes begin at the pages of every file system and kernel. */
export function checkStripeBytes(stripeBytes: number | undefined): void {
  if (stripeBytes === undefined || stripeBytes % limits.stripeBytesMin === 0) return;
  throw new RustreError(
    "EINVAL",
    `the stripe size ${stripeBytes} is no multiple of ${limits.stripeBytesMin} bytes`,
  );
}

/** A file on a full OST could not be written: those get none while there are enough others. */
function withoutFull(up: readonly Target[], replicas: number): readonly Target[] {
  const roomy = up.filter(({ usage }) => usage.freeBytes >= limits.targetReserveBytes);
  return roomy.length >= replicas ? roomy : up;
}

/**
 * Targets drawn without putting back, each draw weighted by free space. A draw takes the longer the
 * more targets there are, so no more are drawn than are asked for.
 */
class RandomOrder {
  readonly length: number;
  readonly #random: Random;
  readonly #drawn: Target[] = [];
  readonly #left: Target[];
  /** Of those that are left. */
  readonly #weights: number[];
  #weight: number;

  constructor(targets: readonly Target[], random: Random) {
    this.length = targets.length;
    this.#random = random;
    this.#left = [...targets];
    this.#weights = targets.map(({ usage }) => 1 + Math.floor(usage.freeBytes / 2 ** 20));
    this.#weight = this.#weights.reduce((sum, weight) => sum + weight, 0);
  }

  at(position: number): Target {
    while (this.#drawn.length <= position) this.#draw();
    return this.#drawn[position]!;
  }

  #draw(): void {
    let ticket = this.#random.below(this.#weight);
    let index = 0;
    for (; index < this.#left.length - 1; index++) {
      const weight = this.#weights[index]!;
      if (ticket < weight) break;
      ticket -= weight;
    }
    this.#weight -= this.#weights.splice(index, 1)[0]!;
    this.#drawn.push(...this.#left.splice(index, 1));
  }
}

/** The primary is the position's own; the others follow it in the order, other hosts first. */
function replicasOf(order: RandomOrder, position: number, replicas: number): Target[] {
  const chosen: Target[] = [];
  for (const onlyNewHosts of [true, false]) {
    for (let step = 0; step < order.length && chosen.length < replicas; step++) {
      const target = order.at((position + step) % order.length);
      if (chosen.includes(target)) continue;
      if (onlyNewHosts && chosen.some((other) => other.hostName === target.hostName)) continue;
      chosen.push(target);
    }
  }
  return chosen;
}
