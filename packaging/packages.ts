// The npm packages that the program loads, as Deno's cache has them.

import { existsSync } from "node:fs";
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
  for (const entry of ["main.ts", "commands/worker.ts"]) {
    const args = ["info", "--quiet", "--json", `${root}${entry}`];
    const { stdout } = await run(Deno.execPath(), args, { cwd: root, env: { NO_COLOR: "1" } });
    const graph = JSON.parse(stdout) as ModuleGraph;
    for (const { npmPackage } of graph.modules) if (npmPackage) add(found, graph, npmPackage);
  }
  const byName = (a: Package, b: Package) => a.name < b.name ? -1 : a.name > b.name ? 1 : 0;
  return [...found.values()].sort(byName);
}

function add(found: Map<string, Package>, graph: ModuleGraph, key: string): void {
  const info = graph.npmPackages[key];
  // Those for other platforms are in the graph, and not on the disk.
  if (!info || found.has(key) || !existsSync(`${info.localPath}/package.json`)) return;
  const { name, version, localPath: directory } = info;
  found.set(key, { name, version, directory });
  for (const dependency of info.dependencies) add(found, graph, dependency);
}
