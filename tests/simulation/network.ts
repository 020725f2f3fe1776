// A network between simulated hosts: streams of bytes that take their time, keep their order and
// nothing else. Two hosts can be cut off from each other, connections break with what is on its way,
// requests come twice, bits of payloads flip.

import type { Address, Clock, Connection, Listener, Transport } from "../../shared/environment.ts";
import { RustreError } from "../../shared/errors.ts";
import type { SeededRandom } from "../support/seeded_random.ts";
import type { Frame } from "./frames.ts";
import { SimulatedListener } from "./listener.ts";
import type { HostProcess, World } from "./process.ts";
import { Stream, type StreamNetwork } from "./stream.ts";

/** How often the network does what it does by chance, each one in so many; 0 for never. */
export interface NetworkHabits {
  readonly duplicates: number;
  readonly bitFlips: number;
}

class Link {
  readonly there: Stream;
  readonly back: Stream;
  /** Ends that are open. */
  openEnds = 2;

  constructor(there: Stream, back: Stream) {
    this.there = there;
    this.back = back;
  }

  has(host: string): boolean {
    return this.there.sender.host === host || this.there.receiver.host === host;
  }

  ofProcess(process: HostProcess): boolean {
    return this.there.sender === process || this.there.receiver === process;
  }

  break(): void {
    this.there.break();
    this.back.break();
  }

  /** One end is gone; what it sent before arrives. */
  abandonedBy(process: HostProcess): void {
    const [from, to] = this.there.sender === process
      ? [this.there, this.back]
      : [this.back, this.there];
    from.close();
    to.break();
  }

  flush(): void {
    this.there.flush();
    this.back.flush();
  }
}

export class SimulatedNetwork implements StreamNetwork {
  readonly world: World;
  /** What no process of a host decides. */
  readonly #random: SeededRandom;
  #habits: NetworkHabits;
  readonly #listeners = new Map<string, SimulatedListener>();
  readonly #links = new Set<Link>();
  /** Pairs of hosts that do not reach each other. */
  readonly #apart = new Set<string>();
  /** Hosts without power: they answer nobody, not even that nobody listens. */
  readonly #dark = new Set<string>();
  /** Pairs of hosts between which everything takes long. */
  readonly #slow = new Set<string>();

  constructor(world: World, random: SeededRandom, habits: NetworkHabits) {
    this.world = world;
    this.#random = random;
    this.#habits = habits;
  }

  transport(process: HostProcess): Transport {
    return {
      listen: (address) => Promise.resolve().then(() => this.#listen(process, address)),
      connect: (address, { signal }) => this.#connect(process, address, signal),
      dataPath: () => Promise.resolve("streaming"),
    };
  }

  // ── faults ───────────────────────────────────────────────────────────────────────────────────

  /** Nothing passes between the two until {@link join}. */
  part(one: string, other: string): void {
    this.#apart.add(pairOf(one, other));
  }

  /** What waited arrives now, or with `broken` the connections of before are gone. */
  join(one: string, other: string, { broken }: { broken: boolean }): void {
    if (!this.#apart.delete(pairOf(one, other))) return;
    for (const link of this.#between(one, other)) {
      if (broken) this.#break(link);
      else link.flush();
    }
  }

  areApart(one: string, other: string): boolean {
    return this.#apart.has(pairOf(one, other)) || this.#dark.has(one) || this.#dark.has(other);
  }

  /** Breaks the connections between two hosts; what is on its way is lost. */
  disconnect(one: string, other: string): void {
    for (const link of this.#between(one, other)) this.#break(link);
  }

  setSlow(one: string, other: string, slow: boolean): void {
    if (slow) this.#slow.add(pairOf(one, other));
    else this.#slow.delete(pairOf(one, other));
  }

  /** The process is gone. Its host tells its peers, or with `dark` does not until it is back. */
  kill(process: HostProcess, { dark }: { dark: boolean }): void {
    for (const [key, listener] of this.#listeners) {
      if (listener.process === process) this.#listeners.delete(key);
    }
    if (dark) this.#dark.add(process.host);
    else this.#breakAllOf(process);
  }

  /** A host that was dark is back: it knows nothing of the connections of before. */
  revive(host: string): void {
    this.#dark.delete(host);
    for (const link of this.#links) {
      const { sender, receiver } = link.there;
      if (link.has(host) && (sender.isDead || receiver.isDead)) this.#break(link);
    }
  }

  /** All is well from now on. */
  heal(): void {
    this.#habits = { duplicates: 0, bitFlips: 0 };
    this.#slow.clear();
    this.#apart.clear();
    for (const host of [...this.#dark]) this.revive(host);
    for (const link of this.#links) link.flush();
  }

  #breakAllOf(process: HostProcess): void {
    for (const link of this.#links) {
      if (!link.ofProcess(process)) continue;
      if (this.#random.below(2) === 0) this.#break(link);
      else link.abandonedBy(process);
    }
  }

  #break(link: Link): void {
    this.#links.delete(link);
    link.break();
  }

  #between(one: string, other: string): Link[] {
    return [...this.#links].filter((link) => link.has(one) && link.has(other));
  }

  // ── for streams ──────────────────────────────────────────────────────────────────────────────

  get clock(): Clock {
    return this.world.clock;
  }

  /** Mostly far below a millisecond, sometimes long enough for others to come in between. */
  delayMs(from: string, to: string): number {
    const { delays } = this.world;
    if (this.#slow.has(pairOf(from, to))) return 50 + delays.below(400);
    const kind = delays.below(20);
    if (kind === 0) return 1 + delays.below(20);
    if (kind < 4) return 0.1 + delays.below(20) / 10;
    return 0.05 + delays.below(10) / 100;
  }

  tamper(bytes: Uint8Array, isPayload: boolean): void {
    if (!isPayload || this.#habits.bitFlips === 0) return;
    if (this.#random.below(this.#habits.bitFlips) > 0) return;
    bytes[this.#random.below(bytes.length)]! ^= 1 << this.#random.below(8);
  }

  /**
   * A request comes twice: to an mds at any later time, which is to know it again; to others
   * without anything in between, for a stream itself repeats nothing later: the second copy of a
   * write must not come after the write of another client that began when the first was answered.
   */
  duplicate(stream: Stream, frame: Frame): void {
    const { duplicates } = this.#habits;
    if (duplicates === 0 || !frame.isRequest || this.#random.below(duplicates) > 0) return;
    if (!stream.receiver.host.startsWith("mds")) return stream.sendTwice(frame.bytes);
    const delayMs = this.#random.below(2) * this.#random.below(4_000);
    this.world.clock.setTimer(() => stream.sendAgain(frame.bytes), delayMs);
  }

  // ── for processes ────────────────────────────────────────────────────────────────────────────

  #listen(process: HostProcess, { port }: Address): Listener {
    const { host } = process;
    const key = `${host}:${port}`;
    if (this.#listeners.has(key)) {
      throw new RustreError("EBUSY", `Cannot listen on ${key}: the address is in use`);
    }
    const listener = new SimulatedListener({ host, port }, process, () => {
      if (this.#listeners.get(key) === listener) this.#listeners.delete(key);
    });
    this.#listeners.set(key, listener);
    return listener;
  }

  async #connect(from: HostProcess, address: Address, signal: AbortSignal): Promise<Connection> {
    const key = `${address.host}:${address.port}`;
    const delayMs = this.delayMs(from.host, address.host);
    const aborted = new Promise<"aborted">((resolve) =>
      signal.addEventListener("abort", () => resolve("aborted"), { once: true })
    );
    const tried = from.after(2 * delayMs, "connection", `to ${key}`);
    const outcome = signal.aborted ? "aborted" : await Promise.race([tried, aborted]);
    if (outcome !== "aborted" && this.areApart(from.host, address.host)) await aborted;
    const listener = this.#listeners.get(key);
    if (!listener || signal.aborted) {
      throw new RustreError("UNREACHABLE", `Cannot connect to ${key}`);
    }
    return this.#newLink(from, listener, key);
  }

  #newLink(from: HostProcess, listener: SimulatedListener, key: string): Connection {
    const there = new Stream(this, from, listener.process);
    const back = new Stream(this, listener.process, from);
    const link = new Link(there, back);
    this.#links.add(link);
    const onClose = () => {
      if (--link.openEnds === 0) this.#links.delete(link);
    };
    const accepted = connectionOf(from.host, there, back, onClose);
    listener.process.step("connection", `from ${from.host}`, () => listener.deliver(accepted));
    return connectionOf(key, back, there, onClose);
  }
}

function connectionOf(
  remote: string,
  incoming: Stream,
  outgoing: Stream,
  onClose: () => void,
): Connection {
  let isOpen = true;
  return {
    remote,
    read: (buffer) => incoming.read(buffer),
    write: (data) => outgoing.write(data),
    close: () => {
      if (!isOpen) return;
      isOpen = false;
      incoming.drop();
      outgoing.close();
      onClose();
    },
  };
}

function pairOf(one: string, other: string): string {
  return one < other ? `${one} ${other}` : `${other} ${one}`;
}
