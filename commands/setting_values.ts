// Values of settings from outside the command line: from the environment and from the file. They are
// checked by what checks those of the flag.

import { CommanderError } from "commander";
import { UsageError } from "../shared/command_line.ts";
import type { Setting } from "./settings.ts";

export interface SettingValue {
  /** As a person would write it for the flag; of one without a value "true" or "false". */
  readonly text: string;
  /** As the command takes it. */
  readonly value: unknown;
}

/** `from`: where it stands, for the message. Throws a {@link UsageError}. */
export function parseSetting({ option, key }: Setting, text: string, from: string): SettingValue {
  const refuse = (reason: string) =>
    new UsageError(`Cannot use "${text}" from ${from} as ${key}: ${reason}`);
  if (option.isBoolean()) {
    if (/^(true|1)$/.test(text)) return { text: "true", value: true };
    if (/^(false|0)$/.test(text)) return { text: "false", value: false };
    throw refuse("it must be true or false");
  }
  if (!option.parseArg) return { text, value: text };
  try {
    return { text, value: option.parseArg(text, undefined) };
  } catch (error) {
    // What the parser of a flag throws for a wrong value.
    if (error instanceof CommanderError) throw refuse(asReason(error.message));
    throw error;
  }
}

/** Whether the flag takes a number and nothing else. */
export function isNumber({ option }: Setting): boolean {
  return /<(COUNT|INDEX)>/.test(option.flags);
}

/** Whether the flag takes several values, with commas between them. */
export function isList({ option }: Setting): boolean {
  return option.flags.includes(",...>");
}

/** A sentence, as it stands behind a colon. */
function asReason(sentence: string): string {
  return (sentence.charAt(0).toLowerCase() + sentence.slice(1)).replace(/\.$/, "");
}
