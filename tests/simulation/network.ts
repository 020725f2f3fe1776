// A network between simulated hosts: streams of bytes that take their time, keep their order and
// nothing else. Two hosts can be cut off from each other, connections break with what is on its way,
// requests come twice, bits of payloads flip.

import type { Address, Connection, Listener, Transport } from "../../shared/environment.ts";
import { RustreError } from "../../shared/errors.ts";
import type { SeededRandom } from "../support/seeded_random.ts";
import { type Frame, FrameTracker } from "./frames.ts";
import { SimulatedListener } from "./listener.ts";
import type { HostProcess, World } from "./process.ts";
import { digest } from "./trace.ts";

/** Bytes on their way in one direction of a connection; the sender waits above. */
const streamBytesMax = 512 * 1024;

/** How often the network does what it does by chance, each one in so many; 0 for never. */
export interface NetworkHabits {
  readonly duplicates: number;
  readonly bitFlips: number;
}

/** One direction of a connection. */
class Stream {
  readonly #network: SimulatedNetwork;
  readonly sender: HostProcess;
  readonly receiver: HostProcess;
  readonly #frames = new FrameTracker();
  /** Sent, not received; `null` is the end. */
  #underWay: (Uint8Array | null)[] = [];
  #received: Uint8Array[] = [];
  #bytes = 0;
  #lastDueMs = 0;
  #isCut = false;
  /** Nothing more arrives, or can be sent. */
  #ended = false;
  #closed = false;
  #reader: (() => void) | undefined;
  #writers: (() => void)[] = [];

  constructor(network: SimulatedNetwork, sender: HostProcess, receiver: HostProcess) {
    this.#network = network;
    this.sender = sender;
    this.receiver = receiver;
  }

  async write(data: Uint8Array): Promise<void> {
    while (!this.#closed && this.#bytes >= streamBytesMax) {
      await new Promise<void>((resolve) => this.#writers.push(resolve));
    }
    if (this.#closed) throw new RustreError("CONNECTION_LOST", "The connection is closed");
    const copy = data.slice();
    const frames = this.#frames.track(copy);
    this.#network.tamper(this, copy, this.#frames.isInPayload);
    this.#send(copy);
    for (const frame of frames) this.#network.duplicate(this, frame);
  }

  /** Once more what was sent before, where a frame may begin. */
  sendAgain(bytes: Uint8Array): void {
    if (!this.#closed && this.#frames.isBetweenFrames) this.#send(bytes.slice());
  }

  async read(buffer: Uint8Array): Promise<number | null> {
    while (this.#received.length === 0 && !this.#ended) {
      await new Promise<void>((resolve) => this.#reader = resolve);
    }
    const chunk = this.#received[0];
    if (!chunk) return null;
    const count = Math.min(chunk.length, buffer.length);
    buffer.set(chunk.subarray(0, count));
    if (count === chunk.length) this.#received.shift();
    else this.#received[0] = chunk.subarray(count);
    this.#bytes -= count;
    this.#wakeWriters();
    return count;
  }

  /** The sender says that nothing more comes; what is on its way arrives. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#underWay.push(null);
    this.#deliverLater();
    this.#wakeWriters();
  }

  /** The receiver reads nothing more. */
  drop(): void {
    this.#received = [];
    this.#closed = this.#ended = true;
    this.#reader?.();
    this.#wakeWriters();
  }

  /** What is on its way is lost, and both ends hear of it. */
  break(): void {
    this.#underWay = [];
    this.#closed = true;
    this.#wakeWriters();
    this.#network.world.clock.setTimer(
      () => this.receiver.step("connection", `broken by ${this.sender.host}`, () => this.#end()),
      this.#network.delayMs(this.sender.host, this.receiver.host),
    );
  }

  /** Goes on with what arrived while the hosts were cut off from each other. */
  flush(): void {
    if (!this.#isCut) return;
    this.#isCut = false;
    for (let count = this.#underWay.length; count > 0; count--) this.#deliverLater();
  }

  #send(bytes: Uint8Array): void {
    this.#bytes += bytes.length;
    this.#underWay.push(bytes);
    this.#deliverLater();
  }

  /** One of those under way arrives; always the oldest. */
  #deliverLater(): void {
    if (this.#isCut) return;
    const { clock } = this.#network.world;
    const delayMs = this.#network.delayMs(this.sender.host, this.receiver.host);
    this.#lastDueMs = Math.max(this.#lastDueMs, clock.monotonicMs() + delayMs);
    clock.setTimer(() => this.#arrive(), this.#lastDueMs - clock.monotonicMs());
  }

  #arrive(): void {
    if (this.#underWay.length === 0 || this.#isCut) return;
    if (this.#network.areApart(this.sender.host, this.receiver.host)) {
      this.#isCut = true;
      return;
    }
    const bytes = this.#underWay.shift()!;
    const what = bytes ? `${bytes.length} ${digest(bytes)}` : "end";
    this.receiver.step("message", `${what} from ${this.sender.host}`, () => {
      if (!bytes) return this.#end();
      this.#received.push(bytes);
      this.#wakeReader();
    });
  }

  #end(): void {
    this.#ended = true;
    this.#wakeReader();
  }

  #wakeReader(): void {
    const reader = this.#reader;
    this.#reader = undefined;
    reader?.();
  }

  #wakeWriters(): void {
    if (this.sender.isDead) return;
    for (const resolve of this.#writers.splice(0)) resolve();
  }
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

export class SimulatedNetwork {
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

  /** Mostly far below a millisecond, sometimes long enough for others to come in between. */
  delayMs(from: string, to: string): number {
    const { delays } = this.world;
    if (this.#slow.has(pairOf(from, to))) return 50 + delays.below(400);
    const kind = delays.below(20);
    if (kind === 0) return 1 + delays.below(20);
    if (kind < 4) return 0.1 + delays.below(20) / 10;
    return 0.05 + delays.below(10) / 100;
  }

  tamper(_stream: Stream, bytes: Uint8Array, isPayload: boolean): void {
    if (!isPayload || this.#habits.bitFlips === 0) return;
    if (this.#random.below(this.#habits.bitFlips) > 0) return;
    bytes[this.#random.below(bytes.length)]! ^= 1 << this.#random.below(8);
  }

  /**
   * A request comes twice: to an mds at any later time, which is to know it again; to others
   * without anything in between, for a stream itself repeats nothing later.
   */
  duplicate(stream: Stream, frame: Frame): void {
    const { duplicates } = this.#habits;
    if (duplicates === 0 || !frame.isRequest || this.#random.below(duplicates) > 0) return;
    if (!stream.receiver.host.startsWith("mds")) return stream.sendAgain(frame.bytes);
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
