// Three hosts on one switch, 10.0.0.1 to 10.0.0.3: network namespaces that nothing else reaches, and
// for each a home, /etc, /srv, /var/cache and /usr/local/bin of its own. Needs root and the command
// `ip` (Debian: iproute2).

import { copyFile, mkdir, stat } from "node:fs/promises";
import { run } from "../../packaging/run.ts";
import { obstacleToEmptyRoot } from "./empty_root.ts";

/** What each host has of its own, by the name in the host's directory. */
const own = {
  home: "/root",
  etc: "/etc",
  srv: "/srv",
  cache: "/var/cache",
  bin: "/usr/local/bin",
} as const;

/** Why this machine cannot have them, if it cannot. */
export async function obstacleToThreeHosts(): Promise<string | undefined> {
  const obstacle = await obstacleToEmptyRoot();
  if (obstacle !== undefined) return obstacle;
  const name = `rustre-probe${Deno.pid}`;
  try {
    for (const path of Object.values(own)) await stat(path);
    await run("ip", ["netns", "add", name]);
    await run("ip", ["netns", "delete", name]);
    return undefined;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return "no ip command (iproute2)";
    return error instanceof Error ? error.message : String(error);
  }
}

export class ThreeHosts implements AsyncDisposable {
  readonly #directory: string;
  readonly #made: string[] = [];

  private constructor(directory: string) {
    this.#directory = directory;
  }

  /** `directory`: where they keep their files; it is the caller's to remove. */
  static async make(directory: string): Promise<ThreeHosts> {
    const hosts = new ThreeHosts(directory);
    try {
      await hosts.#make();
      return hosts;
    } catch (error) {
      await hosts[Symbol.asyncDispose]();
      throw error;
    }
  }

  async #make(): Promise<void> {
    const switched = await this.#namespace(0);
    await run("ip", ["-n", switched, "link", "add", "switch0", "type", "bridge"]);
    await run("ip", ["-n", switched, "link", "set", "switch0", "up"]);
    for (const host of [1, 2, 3]) {
      const name = await this.#namespace(host);
      const far = ["peer", "name", "eth0", "netns", name];
      const near = `port${host}`;
      await run("ip", ["-n", switched, "link", "add", near, "type", "veth", ...far]);
      await run("ip", ["-n", switched, "link", "set", near, "master", "switch0", "up"]);
      await run("ip", ["-n", name, "addr", "add", `10.0.0.${host}/24`, "dev", "eth0"]);
      await run("ip", ["-n", name, "link", "set", "lo", "up"]);
      await this.setConnected(host, true);
      for (const each of Object.keys(own)) await mkdir(this.path(host, each), { recursive: true });
      // Commands show the names of users.
      for (const file of ["passwd", "group"]) {
        await copyFile(`/etc/${file}`, this.path(host, `etc/${file}`));
      }
    }
  }

  async #namespace(host: number): Promise<string> {
    const name = nameOf(host);
    await run("ip", ["netns", "add", name]);
    this.#made.push(name);
    return name;
  }

  /** Where this machine sees what a host has of its own, such as `home/file`. */
  path(host: number, inside: keyof typeof own | string): string {
    return `${this.#directory}/host${host}/${inside}`;
  }

  /** Put before a command line to run it there, in the home, with nothing set that a login does not. */
  prefix(host: number): string[] {
    const mounts = Object.entries(own).map(([name, path]) => `mount --bind "$0/${name}" ${path}`);
    const script = [...mounts, "cd /root", 'exec env -i "$@"'].join(" && ");
    return [
      ...["ip", "netns", "exec", nameOf(host), "unshare", "--mount"],
      ...["sh", "-c", script, this.path(host, "").replace(/\/$/, "")],
      ...["HOME=/root", "PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"],
    ];
  }

  /** Runs a script of a shell there, which ends where a command fails; gives what it prints. */
  async shell(host: number, script: string): Promise<string> {
    const [program, ...args] = [...this.prefix(host), "sh", "-ec", script];
    return (await run(program!, args)).stdout;
  }

  /** Plugs its cable in or out. */
  async setConnected(host: number, isConnected: boolean): Promise<void> {
    await run("ip", ["-n", nameOf(host), "link", "set", "eth0", isConnected ? "up" : "down"]);
  }

  /** Ends all processes there, as a power failure does. */
  async kill(host: number): Promise<void> {
    const { stdout } = await run("ip", ["netns", "pids", nameOf(host)]);
    for (const pid of stdout.split("\n").filter((line) => line !== "")) {
      try {
        Deno.kill(Number(pid), "SIGKILL");
      } catch (error) {
        // It has ended meanwhile.
        if (!(error instanceof Deno.errors.NotFound)) throw error;
      }
    }
  }

  /** Cables go with their namespaces. */
  async [Symbol.asyncDispose](): Promise<void> {
    for (const name of this.#made) await run("ip", ["netns", "delete", name]);
  }
}

/** The number keeps concurrent runs of the suite apart. */
function nameOf(host: number): string {
  return `rustre-${Deno.pid}-${host}`;
}
