// A cluster of several mgs, mds and OSTs, each a process of its own on one store, that can be
// killed, stopped and started again at the address that they had.

import { DatabaseSync } from "node:sqlite";
import { Cluster, parseAddress } from "../../client/mod.ts";
import type { Address } from "../../shared/environment.ts";
import { type ProcessStore, processStore } from "./foundationdb.ts";
import { type RustreProcess, startRustre } from "./processes.ts";

export type ServerKind = "mgs" | "mds" | "oss";

export interface ServerClusterOptions {
  readonly mgs?: number;
  readonly mds?: number;
  readonly osts?: number;
  /** Threads of each server that may have several; their default without it. */
  readonly workers?: number;
}

interface Server {
  readonly kind: ServerKind;
  /** Without the address to listen on. */
  readonly args: readonly string[];
  readonly address: string;
  process: RustreProcess;
}

export class ServerCluster implements AsyncDisposable {
  readonly directory: string;
  readonly #store: ProcessStore;
  readonly #servers = new Map<string, Server>();
  readonly #clients: Cluster[] = [];
  readonly #workers: readonly string[];

  private constructor(directory: string, store: ProcessStore, options: ServerClusterOptions) {
    this.directory = directory;
    this.#store = store;
    this.#workers = options.workers ? ["--workers", String(options.workers)] : [];
  }

  static async start(options: ServerClusterOptions = {}): Promise<ServerCluster> {
    const { mgs = 2, mds = 2, osts = 2 } = options;
    const directory = await Deno.makeTempDir({ prefix: "rustre-failover-" });
    const cluster = new ServerCluster(directory, await processStore(directory), options);
    const store = ["--store", cluster.storeUrl];
    try {
      for (let index = 0; index < mgs; index++) await cluster.#add("mgs", index, store);
      for (let index = 0; index < osts; index++) {
        const place = ["--index", String(index), "--dir", `${directory}/ost${index}`];
        await cluster.#add("oss", index, place);
      }
      for (let index = 0; index < mds; index++) await cluster.#add("mds", index, store);
      return cluster;
    } catch (error) {
      await cluster[Symbol.asyncDispose]();
      throw error;
    }
  }

  get storeUrl(): string {
    return this.#store.url;
  }

  /** As `mgs0`, `mds1`, `oss0`. */
  get names(): string[] {
    return [...this.#servers.keys()];
  }

  get mgsAddresses(): Address[] {
    return this.#addressesOf("mgs").map((each) => parseAddress(each));
  }

  process(name: string): RustreProcess {
    return this.#server(name).process;
  }

  /** A client that the cluster closes where its user does not. */
  connect(): Cluster {
    const client = new Cluster({ mgs: this.mgsAddresses });
    this.#clients.push(client);
    return client;
  }

  async disconnect(): Promise<void> {
    for (const client of this.#clients.splice(0)) await client.close();
  }

  /** Ends a server; resolves with its exit status when the process is gone. */
  async end(name: string, signal: "SIGKILL" | "SIGTERM"): Promise<Deno.CommandStatus> {
    const { process } = this.#server(name);
    process.kill(signal);
    return await process.status;
  }

  /**
   * Stops a server in its tracks, where it does not hold the lock of the sqlite store: all others
   * would wait for that, which is documented, as long as the process is there.
   */
  async stopBetweenCommits(name: string): Promise<void> {
    if (!this.storeUrl.startsWith("sqlite:")) return this.process(name).kill("SIGSTOP");
    using store = new DatabaseSync(this.storeUrl.slice("sqlite:".length), { timeout: 1_000 });
    for (let tries = 0; tries < 20; tries++) {
      this.process(name).kill("SIGSTOP");
      if (isUnlocked(store)) return;
      this.process(name).kill("SIGCONT");
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
    throw new Error(`${name} was never found without the lock`);
  }

  /** Starts one that has ended, where it was; resolves when the map has it. */
  async startAgain(name: string): Promise<void> {
    const server = this.#server(name);
    await server.process.stop();
    server.process = await this.#start(server.args, server.address);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.disconnect();
    // The mgs last, so that the others can tell it that they leave.
    for (const { process } of [...this.#servers.values()].reverse()) {
      // One that was stopped in its tracks takes no other signal.
      process.kill("SIGCONT");
      await process.stop();
    }
    await this.#store[Symbol.asyncDispose]();
    await Deno.remove(this.directory, { recursive: true });
  }

  async #add(kind: ServerKind, index: number, own: readonly string[]): Promise<void> {
    const known = this.#addressesOf("mgs");
    const mgs = known.length > 0 ? ["--mgs", known.join(",")] : [];
    const args = [
      "--cluster-name",
      "test",
      "--log-level",
      "info",
      ...mgs,
      kind,
      ...own,
      ...(kind !== "oss" && this.storeUrl.startsWith("fdb:") ? [] : this.#workers),
    ];
    const process = await this.#start(args, "127.0.0.1:0");
    const address = process.ready.slice(process.ready.indexOf("=") + 1);
    this.#servers.set(`${kind}${index}`, { kind, args, address, process });
  }

  #start(args: readonly string[], listen: string): Promise<RustreProcess> {
    return startRustre([...args, "--listen", listen]);
  }

  #addressesOf(kind: ServerKind): string[] {
    return [...this.#servers.values()].filter((each) => each.kind === kind)
      .map(({ address }) => address);
  }

  #server(name: string): Server {
    const server = this.#servers.get(name);
    if (!server) throw new Error(`There is no server ${name}`);
    return server;
  }
}

function isUnlocked(store: DatabaseSync): boolean {
  try {
    store.exec("BEGIN IMMEDIATE");
    store.exec("ROLLBACK");
    return true;
  } catch (error) {
    if (String(error).includes("database is locked")) return false;
    throw error;
  }
}
