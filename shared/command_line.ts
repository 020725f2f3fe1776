// What the commands of every role share: the global flags, and what main.ts gives an action.

import type { Command } from "commander";
import type { Address, Environment } from "./environment.ts";
import type { LogFormat, LogLevelName } from "./logging.ts";
import type { DataPathChoice } from "./tcp_transport.ts";

/** The global flags of docs and `rustre --help`, checked. */
export interface Globals {
  readonly mgs: readonly Address[];
  readonly clusterName: string;
  /** By default a server's is info, a client's warn. */
  readonly logLevel: LogLevelName | undefined;
  readonly logDirectory: string | undefined;
  readonly logFormat: LogFormat;
  readonly dataPath: DataPathChoice;
  readonly json: boolean;
}

/** What the action of a command is given, beside its own flags. */
export interface CommandContext {
  readonly environment: Environment;
  /** Fires at the first SIGINT or SIGTERM; the second one ends the process at once. */
  readonly signal: AbortSignal;
  /** The global flags that hold for `command`: one behind the command wins over one before it. */
  globalsOf(command: Command): Globals;
  /**
   * The exit status of an action that returns: for a command that has said on standard error what
   * failed and has gone on with the rest. An action that throws needs none.
   */
  setExitCode(code: 0 | 1): void;
}

/** Wrong usage or configuration: exit status 2 with this message and no stack. */
export class UsageError extends Error {
  override readonly name = "UsageError";
}
