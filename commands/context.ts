// What main.ts and the commands of the servers share.

import type { CommandContext } from "../shared/command_line.ts";
import type { Environment } from "../shared/environment.ts";
import type { LogOutput } from "../shared/logging.ts";

/** What main.ts gives to the program, and takes back when it has run. */
export interface ProgramContext extends CommandContext {
  /** The flags that it depends on are known when an action runs. */
  environment: Environment;
  /** Set before an action runs. */
  output: LogOutput | undefined;
}
