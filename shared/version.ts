import { buildInfo } from "./build_info.ts";

/** The version of rustre, as deno.json has it. */
export const version = "0.1.0";

/** For people: the version, and what it was built from, how, and for what. */
export function describeVersion(): string {
  const { kind, commit } = buildInfo;
  const { os, arch } = Deno.build;
  const source = commit === undefined ? "" : `commit ${commit}, `;
  return `${version} (${source}${kind}, Deno ${Deno.version.deno}, ${os}-${arch})`;
}
