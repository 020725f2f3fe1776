// `rustre config show`: every setting that is in force, and where it comes from. Whoever has changed
// the configuration file runs it to see whether it is right.

import type { Command } from "commander";
import { formatTable } from "../client/cli/table.ts";
import { Output } from "../client/cli/output.ts";
import { type CommandContext, UsageError } from "../shared/command_line.ts";
import { Configuration, type Effective, type Origin } from "./configuration.ts";
import { type RoleSection, roleSections } from "./settings.ts";

interface ShowFlags {
  readonly index?: number;
}

/** What is in force for one role, or one OST. */
interface Part {
  readonly section: string;
  readonly settings: readonly Effective[];
}

export async function showConfiguration(
  context: CommandContext,
  section: RoleSection | undefined,
  { index }: ShowFlags,
  command: Command,
): Promise<void> {
  if (index !== undefined && section !== "oss") {
    throw new UsageError("Cannot show OST settings of another section: --index is for oss");
  }
  const configuration = await Configuration.read(command);
  const sections = section ? [section] : roleSections;
  const parts = sections.flatMap((each) => partsOf(configuration, each, index));
  const output = new Output(Deno.stdout);
  if (context.globalsOf(command).json) await output.json(describe(configuration, parts));
  else await print(output, configuration, parts);
  await output.flush();
}

/** Each OST that has a section of its own is a part. */
function partsOf(
  configuration: Configuration,
  section: RoleSection,
  index: number | undefined,
): Part[] {
  if (section !== "oss") return [{ section, settings: configuration.effective(section) }];
  const known = [...configuration.file?.sections.keys() ?? []]
    .filter((name) => name.startsWith("oss."))
    .map((name) => Number(name.slice("oss.".length)));
  const indices = index === undefined ? known.sort((a, b) => a - b) : [index];
  if (indices.length === 0) return [{ section, settings: configuration.effective(section) }];
  return indices.map((each) => {
    const settings = configuration.effective("oss", each);
    return {
      section: `oss.${each}`,
      settings: settings.filter((one) => one.setting.key !== "index"),
    };
  });
}

// ── text ───────────────────────────────────────────────────────────────────────────────────────

async function print(output: Output, { file }: Configuration, parts: readonly Part[]) {
  const rows = parts.flatMap(({ section, settings }) =>
    settings.map(({ setting, text, origin }) => {
      return [section, setting.key, output.name(text ?? "-"), output.name(formatOrigin(origin))];
    })
  );
  await output.line(`configuration file: ${file === undefined ? "none" : output.name(file.path)}`);
  const table = formatTable([["SECTION", "KEY", "VALUE", "FROM"], ...rows], { right: [] });
  for (const line of table) await output.line(line);
}

function formatOrigin(origin: Origin): string {
  switch (origin.kind) {
    case "flag":
    case "default":
      return origin.kind;
    case "environment":
      return origin.variable;
    case "file":
      return `${origin.path}:${origin.line}`;
  }
}

// ── JSON ───────────────────────────────────────────────────────────────────────────────────────

function describe({ file }: Configuration, parts: readonly Part[]) {
  const settings = parts.flatMap(({ section, settings }) =>
    settings.map(({ setting, text, origin }) => {
      const { key, variable } = setting;
      return { section, key, variable, value: text ?? null, source: origin.kind, ...where(origin) };
    })
  );
  return { file: file?.path ?? null, settings };
}

function where(origin: Origin): { from?: string; line?: number } {
  if (origin.kind === "environment") return { from: origin.variable };
  return origin.kind === "file" ? { from: origin.path, line: origin.line } : {};
}
