// Keeps the documentation true: what it says of methods, keys, errors, limits, variables, commands,
// links and bytes is compared with the code.

import assert from "node:assert/strict";
import { dirname, join } from "node:path";
import type { Command } from "commander";
import * as v from "valibot";
import type { ProgramContext } from "../../commands/context.ts";
import { parseConfiguration } from "../../commands/configuration_file.ts";
import { buildProgram } from "../../commands/program.ts";
import { roleSections, settingsOf } from "../../commands/settings.ts";
import { errorCodes } from "../../shared/errors.ts";
import { limits } from "../../shared/limits.ts";
import * as model from "../../shared/model.ts";
import { decodeHeader, encodeHeader, headerBytes } from "../../shared/rpc/frame.ts";
import { decodeBody, encodeBody } from "../../shared/rpc/message_pack.ts";
import { directoryEntrySchema, mdsService } from "../../shared/protocol/mds.ts";
import { mgsService } from "../../shared/protocol/mgs.ts";
import { ossService } from "../../shared/protocol/oss.ts";
import * as hello from "../../shared/rpc/hello.ts";
import {
  anchorsOf,
  blocksOf,
  checkout,
  codesIn,
  filesEnding,
  numberOf,
  readDocument,
  rowsUnder,
  sectionOf,
  tablesOf,
} from "../support/markdown.ts";

const protocolPage = readDocument("docs/protocol.md");
const documents = await filesEnding(".md");

// ── protocol.md ────────────────────────────────────────────────────────────────────────────────

interface ObjectSchema {
  readonly entries: Record<string, { readonly type: string }>;
}

/** `name` or `name?` for each field. */
function fieldsOf(schema: unknown): string[] {
  return Object.entries((schema as ObjectSchema).entries)
    .map(([name, { type }]) => type === "optional" ? `${name}?` : name).sort();
}

/** The same of rows that have names in one cell and what they mean in another. */
function documentedFields(rows: string[][], nameCell: number, meaningCell: number): string[] {
  return rows.flatMap((row) => {
    const mark = row[meaningCell]!.startsWith("optional") ? "?" : "";
    return codesIn(row[nameCell]!).map((name) => name + mark);
  }).sort();
}

Deno.test("docs/protocol.md has the error table of the code", () => {
  const documented = rowsUnder(sectionOf(protocolPage, "Errors"), "number");
  const expected = errorCodes()
    .sort((a, b) => a.kind.number - b.kind.number)
    .map(({ code, kind: { number, errno, retry, applied, meaning } }) => {
      return [String(number), code, String(errno), retry, applied, meaning];
    });
  assert.deepEqual(documented, expected);
});

Deno.test("docs/protocol.md has every method with its opcode and fields", () => {
  const methods = [
    {
      name: "hello",
      opcode: hello.helloOpcode,
      request: hello.helloRequestSchema,
      reply: hello.helloReplySchema,
    },
    ...[mgsService, mdsService, ossService].flatMap((service) => {
      return Object.entries(service.methods).map(([name, method]) => {
        const { opcode, request, reply } = method;
        return { name: `${service.name}.${name}`, opcode, request, reply };
      });
    }),
  ];
  const headings = methods.map(({ name, opcode }) => {
    return `${name}, opcode 0x${opcode.toString(16).padStart(4, "0")}`;
  });
  const documented = [...protocolPage.matchAll(/^### (.*, opcode .*)$/gm)].map(([, text]) => text);
  assert.deepEqual(documented, headings);
  for (const [index, { name, request, reply }] of methods.entries()) {
    const [[, ...rows] = []] = tablesOf(sectionOf(protocolPage, headings[index]!));
    for (const [part, schema] of [["request", request], ["reply", reply]] as const) {
      const fields = documentedFields(rows.filter(([first]) => first === part), 1, 3);
      assert.deepEqual(fields, fieldsOf(schema), `${name}: ${part}`);
    }
  }
});

Deno.test("docs/protocol.md has every shared type with its fields", () => {
  const types = {
    Address: model.addressSchema,
    Caller: model.callerSchema,
    Place: mdsService.methods.stat.request.entries.place,
    Layout: model.layoutSchema,
    LayoutWish: model.layoutWishSchema,
    Attributes: model.attributesSchema,
    DirectoryEntry: directoryEntrySchema,
    Usage: model.usageSchema,
    Server: model.serverSchema,
    Target: model.targetSchema,
    ClusterMap: model.clusterMapSchema,
  };
  for (const [name, schema] of Object.entries(types)) {
    const rows = rowsUnder(sectionOf(protocolPage, `Type ${name}`), "field");
    assert.deepEqual(documentedFields(rows, 0, 2), fieldsOf(schema), name);
  }
});

Deno.test("docs/protocol.md shows frames as the code writes them", () => {
  const { stat } = mdsService.methods;
  const schemas = [
    hello.helloRequestSchema,
    hello.helloReplySchema,
    stat.request,
    stat.reply,
    hello.errorReplySchema,
  ];
  const blocks = blocksOf(protocolPage, "hex");
  assert.equal(blocks.length, schemas.length);
  for (const [index, block] of blocks.entries()) {
    const bytes = bytesOfDump(block);
    const bounds = { bodyBytesMax: limits.replyBodyBytesMax, payloadBytesMax: 0 };
    const header = decodeHeader(new DataView(bytes.buffer), 0, bounds);
    const body = decodeBody(bytes.subarray(headerBytes));
    assert.deepEqual(v.parse(schemas[index]!, body), body);
    const encoded = encodeBody(body);
    const again = new Uint8Array(headerBytes + encoded.length);
    encodeHeader(new DataView(again.buffer), 0, { ...header, bodyBytes: encoded.length });
    again.set(encoded, headerBytes);
    assert.deepEqual(again, bytes);
  }
});

/** Lines of an offset and up to 16 bytes, in hexadecimal digits. */
function bytesOfDump(dump: string): Uint8Array<ArrayBuffer> {
  const bytes: number[] = [];
  for (const line of dump.trim().split("\n")) {
    const [offset, ...more] = line.split(/\s+/).map((text) => Number.parseInt(text, 16));
    assert.equal(offset, bytes.length);
    bytes.push(...more);
  }
  return Uint8Array.from(bytes);
}

// ── operating.md ───────────────────────────────────────────────────────────────────────────────

Deno.test("docs/operating.md has every setting with its variable, sections and default", () => {
  const program = buildProgram({ output: undefined } as ProgramContext);
  const rows = rowsUnder(
    sectionOf(readDocument("docs/operating.md"), "Configuration"),
    "flag, key",
  );
  const documented = rows.map(([flags, variable, sections]) => {
    const [name = ""] = codesIn(flags!).filter((code) => code.startsWith("--"));
    return [name.replace(/^--([a-z-]+).*$/, "$1"), codesIn(variable!)[0], sections];
  });
  const keys = new Map<string, { variable: string; sections: string[] }>();
  for (const section of roleSections) {
    for (const { key, variable, isGlobal } of settingsOf(program, section)) {
      const sections = isGlobal ? ["all"] : [...keys.get(key)?.sections ?? [], section];
      keys.set(key, { variable, sections });
    }
  }
  const expected = [...keys].map(([key, { variable, sections }]) => {
    return [key, variable, sections.join(", ")];
  });
  assert.deepEqual(documented.sort(), expected.sort());
  for (const section of roleSections) {
    for (const { key, option } of settingsOf(program, section)) {
      const row = rows.find(([flags]) => new RegExp(`--${key}\\b`).test(flags!))!;
      assert(!option.short || codesIn(row[0]!).includes(option.short), `${key}: ${option.short}`);
      const defaultText = option.defaultValueDescription ?? option.defaultValue;
      if (defaultText === undefined) continue;
      assert(codesIn(row[3]!).includes(String(defaultText)), `${section}.${key}: ${defaultText}`);
    }
  }
});

Deno.test("documents show configurations that are valid", () => {
  const program = buildProgram({ output: undefined } as ProgramContext);
  let checked = 0;
  for (const [path, document] of documents) {
    for (const block of blocksOf(document, "toml")) {
      assert.doesNotThrow(() => parseConfiguration(path, block, program));
      checked++;
    }
  }
  assert(checked > 0);
});

// ── all documents ──────────────────────────────────────────────────────────────────────────────

const units: Record<string, number> = {
  B: 1,
  KiB: 2 ** 10,
  MiB: 2 ** 20,
  PiB: 2 ** 50,
  ms: 1,
  s: 1000,
  min: 60_000,
};

/** A limit's value in the unit of its name; NaN where the text has another kind of unit or none. */
function valueOfLimit(name: string, text: string): number {
  const [, number = "", unit = ""] = /^([\d,.]+)(?: (\w+))?$/.exec(text) ?? [];
  const kind = /Ms$/.test(name) ? /^(ms|s|min)$/ : /Bytes/.test(name) ? /^[KMP]?i?B$/ : /^$/;
  return kind.test(unit) ? numberOf(number) * (units[unit] ?? 1) : NaN;
}

Deno.test("documents give limits the values of shared/limits.ts", () => {
  let checked = 0;
  for (const [path, document] of documents) {
    const inTables = tablesOf(document).filter(([head]) => head?.[0] === "limit")
      .flatMap(([, ...rows]) => rows.map(([name, value]) => [codesIn(name!)[0]!, value!]));
    const inText = [...document.matchAll(/`(\w+)`\s+\(([^)]*)\)/g)]
      .map(([, name, value]) => [name!, value!.replace(/\s+/g, " ")]).filter(([name]) =>
        name! in limits
      );
    for (const [name, value] of [...inTables, ...inText] as [string, string][]) {
      const expected = limits[name as keyof typeof limits];
      assert.equal(valueOfLimit(name, value), expected, `${path}: ${name} is ${value}`);
      checked++;
    }
  }
  assert.ok(checked > 50, `only ${checked} limits found`);
});

Deno.test("links of documents lead to files and headings that are there", async () => {
  for (const [path, document] of documents) {
    for (const [, link] of document.matchAll(/\]\(([^)\s]+)\)/g)) {
      if (/^https?:/.test(link!)) continue;
      const [file = "", anchor] = link!.split("#");
      const target = file === "" ? path : join(dirname(path), file);
      await assert.doesNotReject(Deno.stat(join(checkout, target)), `${path}: ${link}`);
      if (anchor === undefined) continue;
      assert.ok(anchorsOf(documents.get(target)!).has(anchor), `${path}: ${link}`);
    }
  }
});

Deno.test("documents name tasks that deno.json has", () => {
  const tasks = Object.keys(JSON.parse(readDocument("deno.json")).tasks);
  for (const [path, document] of documents) {
    for (const [, task] of document.matchAll(/deno(?:@[\d.]+)? task (?:--quiet )?([a-z]+)/g)) {
      assert.ok(tasks.includes(task!), `${path}: deno task ${task}`);
    }
  }
});

Deno.test("documents name the environment variables that the code reads, and all of them", async () => {
  const variable = /\bRUSTRE_[A-Z]+(_[A-Z]+)*\b/g;
  const namesIn = (texts: Iterable<string>) =>
    [...new Set([...texts].flatMap((text) => text.match(variable) ?? []))].sort();
  const sources = await filesEnding(".ts");
  const program = buildProgram({ output: undefined } as ProgramContext);
  const settings = roleSections.flatMap((section) => settingsOf(program, section));
  const read = [...sources.values(), ...settings.map((setting) => setting.variable)];
  assert.deepEqual(namesIn(documents.values()), namesIn(read));
});

Deno.test("documents show commands with flags that the program has", () => {
  const program = buildProgram({ output: undefined } as ProgramContext);
  let checked = 0;
  for (const [path, document] of documents) {
    for (const line of blocksOf(document, "sh").flatMap((block) => block.split("\n"))) {
      for (const [, words] of line.matchAll(/(?:^|&& )rustre ([^#&]*)/g)) {
        checkCommand(program, words!.trim().split(/\s+/), `${path}: ${line}`);
        checked++;
      }
    }
  }
  assert.ok(checked > 10, `only ${checked} commands found`);
});

/** The first words that are commands, then flags of the last of them or of the program. */
function checkCommand(program: Command, words: readonly string[], where: string): void {
  let command = program;
  for (const word of words) {
    const next = command.commands.find((each) => each.name() === word);
    if (next) command = next;
    if (!/^-\w|^--\w/.test(word)) continue;
    const known = command.options.flatMap(({ short, long }) => [short, long]);
    const flags = /^--/.test(word) ? [word] : [...word.slice(1)].map((letter) => `-${letter}`);
    for (const flag of flags) assert.ok(known.includes(flag), `${where}: ${flag}`);
  }
  assert.notEqual(command, program, `${where}: no command`);
}
