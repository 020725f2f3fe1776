// The npm packages that the program loads, as Deno's cache has them.

import { existsSync, readFileSync } from "node:fs";
import process from "node:process";
import { root } from "./stage.ts";
import { run } from "./run.ts";

export interface Package {
  readonly name: string;
  readonly version: string;
  readonly directory: string;
}

interface ModuleGraph {
  readonly modules: readonly { readonly kind: string; readonly npmPackage?: string }[];
  readonly npmPackages: Readonly<Record<string, PackageInfo>>;
}

interface PackageInfo {
  readonly name: string;
  readonly version: string;
  readonly dependencies: readonly string[];
  readonly localPath: string;
}

/** Those that what ships imports, and theirs, as far as they are for this platform; by name. */
export async function shippedPackages(): Promise<Package[]> {
  const found = new Map<string, Package>();
  const entries = ["main.ts", "commands/worker.ts"];
  const deno = (...args: string[]) =>
    run(Deno.execPath(), args, { cwd: root, env: { NO_COLOR: "1" } });
  await deno("cache", "--quiet", ...entries);
  for (const entry of entries) {
    const { stdout } = await deno("info", "--quiet", "--json", entry);
    const graph = JSON.parse(stdout) as ModuleGraph;
    for (const { npmPackage } of graph.modules) if (npmPackage) add(found, graph, npmPackage);
  }
  const byName = (a: Package, b: Package) => a.name < b.name ? -1 : a.name > b.name ? 1 : 0;
  return [...found.values()].sort(byName);
}

function add(found: Map<string, Package>, graph: ModuleGraph, key: string): void {
  const info = graph.npmPackages[key];
  if (!info || found.has(key) || !isForThisPlatform(info.localPath)) return;
  const { name, version, localPath: directory } = info;
  found.set(key, { name, version, directory });
  for (const dependency of info.dependencies) add(found, graph, dependency);
}

/** Those for others are in the graph, and may be on the disk. */
function isForThisPlatform(directory: string): boolean {
  const path = `${directory}/package.json`;
  if (!existsSync(path)) return false;
  const { os, cpu, libc } = JSON.parse(readFileSync(path, "utf8")) as Record<string, unknown>;
  const allows = (list: unknown, own: string) => !Array.isArray(list) || list.includes(own);
  return allows(os, process.platform) && allows(cpu, process.arch) && allows(libc, "glibc");
}
