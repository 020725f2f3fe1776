// The sample of a configuration file: every key there is, commented out, with its default or else an
// example.

import type { Command } from "commander";
import {
  commonSection,
  defaultLogLevel,
  globalSettings,
  ownSettings,
  roleSections,
  type Setting,
} from "./settings.ts";

/** Of keys whose default is none, or is worked out; those of one section first. */
const examples: Readonly<Record<string, string | number>> = {
  "oss.dir": "/disk0/ost",
  "advertise": "10.0.0.1",
  "dir": "/srv/rustre",
  "log-dir": "/var/log/rustre",
  "log-level": defaultLogLevel("mgs"),
  "osts": 4,
  "store": "sqlite:/var/lib/rustre/meta.db",
  "workers": 4,
};

/** What each section is about. */
const headings: Readonly<Record<string, string>> = {
  common: "All commands. Every key of this section may also stand in those below, and wins there.",
  up: "rustre up: a whole cluster in one process.",
  mgs: "rustre mgs, rustre-mgs.service",
  mds: "rustre mds, rustre-mds.service",
  oss: "rustre oss, all of this host: rustre-oss@0.service, rustre-oss@1.service",
  client: "rustre client, status, admin and all other commands.",
};

/** What the description of a flag does not say, because it holds for the file alone. */
const notes: Readonly<Record<string, string>> = {
  "common.log-dir": "; here of servers alone: clients have it in [client]",
};

const head =
  `# The configuration of rustre on this host. Flags win over environment variables, and those
# over this file. Lines that begin with "#" are comments: those with a key show its default, or an
# example where it has none. "rustre config show" prints what is in force, and finds mistakes.
`;

/** Sections of OSTs: two of them, as a host has them that has two disks. */
const targets = `
# One section for each OST, with all keys of [oss] but index; they win over those of [oss].
#[oss.0]
#dir = "/disk0/ost"
#listen = "0.0.0.0:9402"

#[oss.1]
#dir = "/disk1/ost"
#listen = "0.0.0.0:9403"
`;

export function sampleConfiguration(program: Command): string {
  const sections = [
    section(commonSection, globalSettings(program)),
    ...roleSections.map((role) => section(role, ownSettings(program, role))),
  ];
  return head + sections.join("");
}

function section(name: string, settings: readonly Setting[]): string {
  const keys = settings.map(({ key, option, isRequired }) => {
    const choices = option.argChoices ? `: ${option.argChoices.join(", ")}` : "";
    const required = isRequired ? "; required" : "";
    const note = notes[`${name}.${key}`] ?? "";
    return `# ${option.description}${choices}${required}${note}\n#${key} = ${
      exampleOf(name, key, option)
    }\n`;
  });
  const more = name === "oss" ? targets : "";
  return `\n# ${headings[name]}\n[${name}]\n${keys.join("")}${more}`;
}

function exampleOf(section: string, key: string, option: Setting["option"]): string {
  if (option.isBoolean()) return "false";
  const { defaultValue, defaultValueDescription } = option;
  const example = examples[`${section}.${key}`] ?? examples[key];
  const value = example ?? defaultValueDescription ?? defaultValue ?? option.argChoices?.[0] ?? "";
  return typeof value === "number" ? String(value) : JSON.stringify(value);
}
