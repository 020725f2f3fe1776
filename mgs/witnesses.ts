// What one mgs sees is not always so: its own network may be at fault. Before it takes a server out
// of the map it asks other mgs whether they reach it, and where it looks cut off it leaves the
// probes to another one. All this says nothing where there is no other mgs.

import { sameAddress } from "../shared/address.ts";
import { withDeadline } from "../shared/deadline.ts";
import type { Address, Environment } from "../shared/environment.ts";
import { isRustreError } from "../shared/errors.ts";
import { limits } from "../shared/limits.ts";
import type { RpcClient } from "../shared/rpc/client.ts";
import { mgsService, type Registration } from "../shared/protocol/mgs.ts";
import type { ClusterState, ProbedNode } from "./cluster_state.ts";

/** What other mgs say of a node that does not answer this one. */
export type Opinion = "reached" | "silent" | "nobody answers";

/** What one round has found out about one node. */
export interface Finding {
  readonly node: ProbedNode;
  readonly hostName: string;
  /** Whether the map calls it up. */
  readonly wasUp: boolean;
  readonly answered: boolean;
  /** How many probes in a row have failed, with this one. */
  readonly failures: number;
  /** Where one more failure would take it out of the map. */
  readonly opinion: Opinion | undefined;
}

export interface WitnessesOptions {
  readonly environment: Environment;
  readonly rpc: RpcClient;
  readonly self: Registration;
}

/** So many are asked about one node. */
const witnessesMax = 3;

export class Witnesses {
  readonly #options: WitnessesOptions;
  readonly #addresses: readonly Address[];

  /** The other mgs that the map calls up. */
  constructor(state: ClusterState, options: WitnessesOptions) {
    this.#options = options;
    this.#addresses = [...state.mgs.values()]
      .filter(({ state, nodeId }) => state === "up" && nodeId !== options.self.nodeId)
      .map(({ address }) => address);
  }

  /** Asks them about `node`; itself is none. Takes as long as a probe at most. */
  async opinionOn({ role, nodeId, address, targetIndex }: ProbedNode): Promise<Opinion> {
    const others = this.#addresses.filter((each) => !sameAddress(each, address));
    const about = { role, nodeId, address, ...(targetIndex === undefined ? {} : { targetIndex }) };
    const answers = await Promise.all(
      others.slice(0, witnessesMax).map((each) => this.#ask(each, about)),
    );
    if (answers.includes(true)) return "reached";
    return answers.includes(false) ? "silent" : "nobody answers";
  }

  async #ask(
    address: Address,
    about: {
      readonly role: ProbedNode["role"];
      readonly nodeId: string;
      readonly address: Address;
    },
  ): Promise<boolean | undefined> {
    const { environment, rpc } = this.#options;
    try {
      const { reached } = await withDeadline(
        environment.clock,
        limits.probeTimeoutMs,
        (signal) => rpc.call({ role: "mgs", address }, mgsService, "reaches", about, { signal }),
      );
      return reached;
    } catch (error) {
      if (!isRustreError(error)) throw error;
      return undefined;
    }
  }

  /**
   * Whether it looks as if not they are gone, but this mgs: there are other mgs, none of them
   * answers, and the hosts that do are, with this one, no majority of all. Servers of this host say
   * nothing, for they would answer however cut off it is.
   */
  isCutOff(findings: readonly Finding[]): boolean {
    const isMgs = ({ node }: Finding) => node.role === "mgs";
    if (this.#addresses.length === 0 || this.answer(findings)) return false;
    const others = findings.filter(({ wasUp, hostName }) =>
      wasUp && hostName !== this.#options.self.hostName
    );
    if (!others.some(isMgs)) return false;
    const hosts = new Set(others.map(({ hostName }) => hostName));
    const reached = new Set(
      others.filter(({ answered }) => answered).map(({ hostName }) => hostName),
    );
    return 2 * reached.size < hosts.size;
  }

  /** Whether any other mgs has answered a probe, or said something about a node. */
  answer(findings: readonly Finding[]): boolean {
    return findings.some(({ node, answered, wasUp, opinion }) =>
      (node.role === "mgs" && wasUp && answered) ||
      (opinion !== undefined && opinion !== "nobody answers")
    );
  }
}
