// The log: one LogTape configuration for the process, lines as text or JSON, on standard output or
// error and in a file for each role. The message of a record is fixed text; what varies goes into
// its fields: log.warn("Cannot reach any mgs", { tried }).

import { existsSync } from "node:fs";
import {
  configureSync,
  getLogger,
  type Logger,
  type LogLevel,
  type LogRecord,
} from "@logtape/logtape";
import { isRustreError, meaningOf, RustreError } from "./errors.ts";
import { otherThanFile } from "./file_kind.ts";
import { LineWriter } from "./line_writer.ts";
import { platformCode, platformReason } from "./platform_errors.ts";

export type { Logger } from "@logtape/logtape";

export const logLevelNames = ["error", "warn", "info", "debug", "trace"] as const;
export type LogLevelName = (typeof logLevelNames)[number];

export const logFormats = ["text", "json"] as const;
export type LogFormat = (typeof logFormats)[number];

export interface LogOptions {
  readonly level: LogLevelName;
  readonly format: LogFormat;
  /** Servers log to standard output, clients to standard error: their results are the former. */
  readonly stream: "stdout" | "stderr";
  /** The roles of this process. Lines of no role, as the network's, count as the first one's. */
  readonly roles: readonly [string, ...string[]];
  /** Also write `{directory}/{role}.log`. */
  readonly directory?: string;
}

/** The process's output, once logging is set up. */
export interface LogOutput {
  /**
   * Prints a result line on standard output, in order with the log lines that are there. Resolves
   * when it is written, rejects when it cannot be.
   */
  print(line: string): Promise<void>;
  /** Writes a line that {@link configureLog} of another thread made. */
  write(role: string, line: string): void;
  /** Opens the files again by their names: whoever rotates logs has moved them. */
  reopen(): void;
  /** Resolves when every line so far is written. To be awaited before the process ends. */
  flush(): Promise<void>;
}

/** The logger of a role. Says nothing until {@link setUpLogging}. */
export function loggerOf(role: string): Logger {
  return getLogger(["rustre", role]);
}

/** Configures the log of the whole process. Throws EINVAL where the directory cannot be used. */
export function setUpLogging(options: LogOptions): LogOutput {
  const stdout = new LineWriter(Deno.stdout);
  const stream = options.stream === "stdout" ? stdout : new LineWriter(Deno.stderr);
  const files = openFiles(options);
  const write = (role: string, line: string) => {
    stream.write(line);
    const file = files.get(role) ?? files.get(options.roles[0]);
    file?.writer.write(line);
  };
  configureLog(options, write);
  const writers = new Set([stdout, stream]);
  for (const { writer } of files.values()) writers.add(writer);
  return {
    print: async (line) => {
      stdout.write(line, true);
      await stdout.flush();
      if (stdout.failure !== undefined) throw unwritable(stdout.failure);
    },
    write,
    reopen: () => files.forEach((file) => file.reopen()),
    flush: async () => void await Promise.all(Array.from(writers, (writer) => writer.flush())),
  };
}

/**
 * Configures the log of this thread. For one whose lines another thread writes: two that write to
 * one pipe would cut each other's lines.
 */
export function configureLog(
  { level, format }: Pick<LogOptions, "level" | "format">,
  write: (role: string, line: string) => void,
): void {
  const formatted = format === "json" ? formatJson : formatText;
  configureSync({
    reset: true,
    sinks: { sink: (record) => write(roleOf(record), formatted(record)) },
    loggers: [
      { category: "rustre", sinks: ["sink"], lowestLevel: logTapeLevel(level) },
      { category: ["logtape", "meta"], sinks: ["sink"], lowestLevel: "error" },
    ],
  });
}

function unwritable(failure: unknown): RustreError {
  const { code, reason } = platformReason(failure);
  return new RustreError(code, `Cannot write "standard output": ${reason}`, { cause: failure });
}

function openFiles(options: LogOptions): Map<string, LogFile> {
  const files = new Map<string, LogFile>();
  if (options.directory === undefined) return files;
  for (const role of options.roles) {
    const path = `${options.directory}/${role}.log`;
    try {
      Deno.mkdirSync(options.directory, { recursive: true });
      files.set(role, new LogFile(path));
    } catch (error) {
      // Of the directory: a file has its name.
      const isFile = platformCode(error) === "EEXIST";
      const reason = isFile ? meaningOf("ENOTDIR") : platformReason(error).reason;
      throw new RustreError("EINVAL", `Cannot log to "${path}": ${reason}`, { cause: error });
    }
  }
  return files;
}

class LogFile {
  readonly writer: LineWriter;
  readonly #path: string;
  #file: Deno.FsFile;

  constructor(path: string) {
    this.#path = path;
    this.#file = openToAppend(path);
    this.writer = new LineWriter(this.#file);
  }

  /** Where that fails, lines go on into the file that is open. */
  reopen(): void {
    const log = loggerOf("process");
    let file: Deno.FsFile;
    try {
      file = openToAppend(this.#path);
    } catch (error) {
      const { reason } = platformReason(error);
      log.error("Cannot open a log file again", { path: this.#path, reason });
      return;
    }
    const before = this.#file;
    this.#file = file;
    this.writer.replaceSink(file).then(() => before.close());
    log.info("A log file is opened again", { path: this.#path });
  }
}

function openToAppend(path: string): Deno.FsFile {
  const other = existsSync(path) ? otherThanFile(Deno.statSync(path)) : undefined;
  if (other !== undefined) {
    throw new RustreError("EINVAL", `it is ${other}; name another directory`);
  }
  return Deno.openSync(path, { append: true, create: true });
}

function logTapeLevel(level: LogLevelName): LogLevel {
  return level === "warn" ? "warning" : level;
}

function levelName(level: LogLevel): string {
  return level === "warning" ? "warn" : level;
}

function roleOf(record: LogRecord): string {
  return record.category.at(1) ?? "rustre";
}

/**
 * The message as it was given. LogTape would replace words in braces, which a name in a message may
 * have.
 */
function textOf(record: LogRecord): string {
  return typeof record.rawMessage === "string" ? record.rawMessage : record.rawMessage.join("");
}

// ── text ───────────────────────────────────────────────────────────────────────────────────────

/** `2026-01-31 12:00:00.123 +01:00 INFO  mgs  Serving address=127.0.0.1:9400` */
export function formatText(record: LogRecord): string {
  const level = levelName(record.level).toUpperCase().padEnd(5);
  let line = `${formatLocalTime(record.timestamp)} ${level} ${roleOf(record).padEnd(4)} ` +
    onOneLine(textOf(record));
  let stacks = "";
  for (const [name, value] of Object.entries(record.properties)) {
    if (value === undefined) continue;
    line += ` ${name}=${formatValue(value)}`;
    stacks += stackOf(value);
  }
  return line + stacks;
}

/** `2026-01-31 12:00:00.123 +01:00` */
export function formatLocalTime(timestampMs: number): string {
  const time = new Date(timestampMs);
  const offset = -time.getTimezoneOffset();
  const two = (value: number) => String(value).padStart(2, "0");
  const date = `${time.getFullYear()}-${two(time.getMonth() + 1)}-${two(time.getDate())}`;
  const clock = `${two(time.getHours())}:${two(time.getMinutes())}:${two(time.getSeconds())}`;
  const milliseconds = String(time.getMilliseconds()).padStart(3, "0");
  const sign = offset < 0 ? "-" : "+";
  const zone = `${sign}${two(Math.trunc(Math.abs(offset) / 60))}:${two(Math.abs(offset) % 60)}`;
  return `${date} ${clock}.${milliseconds} ${zone}`;
}

function formatValue(value: unknown): string {
  if (typeof value === "string") {
    return /^[^\s"=\\\p{C}]+$/u.test(value) ? value : JSON.stringify(value);
  }
  if (value instanceof Error) return JSON.stringify(describeError(value));
  return JSON.stringify(plainValue(value)) ?? String(value);
}

/** Lines below the record for the stack of a bug; operating errors say all in their message. */
function stackOf(value: unknown): string {
  if (!(value instanceof Error) || isRustreError(value)) return "";
  return (value.stack ?? "").split("\n").slice(1).map((line) => `\n    ${onOneLine(line.trim())}`)
    .join("");
}

/** A name with a line break in it must not look like another record. */
function onOneLine(text: string): string {
  return text.replace(/\p{Cc}/gu, (character) => JSON.stringify(character).slice(1, -1));
}

// ── JSON ───────────────────────────────────────────────────────────────────────────────────────

/** `{"time":"…Z","level":"info","role":"mgs","message":"…","fields":{…}}` */
export function formatJson(record: LogRecord): string {
  return JSON.stringify({
    time: new Date(record.timestamp).toISOString(),
    level: levelName(record.level),
    role: roleOf(record),
    message: textOf(record),
    fields: plainValue(record.properties),
  });
}

/** `value` with everything that JSON cannot say as text. */
function plainValue(value: unknown): unknown {
  if (typeof value === "bigint") return String(value);
  if (value instanceof Error) {
    return isRustreError(value) ? describeError(value) : value.stack ?? describeError(value);
  }
  if (value instanceof Uint8Array) return `${value.length} bytes`;
  if (Array.isArray(value)) return value.map(plainValue);
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([name, each]) => [name, plainValue(each)]));
}

function describeError(error: Error): string {
  return isRustreError(error) ? `${error.message} (${error.code})` : String(error);
}
