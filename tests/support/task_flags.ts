// deno-lint-ignore-file no-console -- it tells people what they mistyped
// The flags of a development task.

import { parseArgs, type ParseArgsConfig } from "node:util";

/** Those of this process; ends it with exit status 2 where they are none of `config`. */
export function taskFlags<Config extends ParseArgsConfig>(
  config: Config,
): ReturnType<typeof parseArgs<Config>> {
  try {
    return parseArgs<Config>({ args: Deno.args, ...config });
  } catch (error) {
    if (!(error instanceof TypeError)) throw error;
    console.error(error.message);
    Deno.exit(2);
  }
}
