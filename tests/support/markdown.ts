// What the tests of the documentation read out of Markdown: sections, tables, blocks of code, links.

import { fileURLToPath } from "node:url";

export const checkout = fileURLToPath(import.meta.resolve("../../"));

/** Every file of the checkout with this ending, by its path in it, with its text. */
export async function filesEnding(suffix: string): Promise<Map<string, string>> {
  const files = new Map<string, string>();
  await collect("", suffix, files);
  return files;
}

async function collect(directory: string, suffix: string, files: Map<string, string>) {
  for await (const { name, isDirectory } of Deno.readDir(checkout + directory)) {
    if (name === ".git" || name === "node_modules") continue;
    const path = directory + name;
    if (isDirectory) await collect(`${path}/`, suffix, files);
    else if (name.endsWith(suffix)) files.set(path, await Deno.readTextFile(checkout + path));
  }
}

export function readDocument(path: string): string {
  return Deno.readTextFileSync(checkout + path);
}

/** The text under a heading, up to the next one. Throws where there is no such heading. */
export function sectionOf(document: string, heading: string): string {
  const lines = document.split("\n");
  const start = lines.findIndex((line) => line.replace(/^#+ /, "") === heading && line !== heading);
  if (start < 0) throw new Error(`There is no heading "${heading}"`);
  const length = lines.slice(start + 1).findIndex((line) => /^#+ /.test(line));
  return lines.slice(start + 1, length < 0 ? undefined : start + 1 + length).join("\n");
}

/** Tables in order: rows of cells, the first one the head. */
export function tablesOf(text: string): string[][][] {
  const tables: string[][][] = [];
  let inTable = false;
  for (const line of text.split("\n")) {
    const isRow = line.startsWith("|");
    if (isRow && !inTable) tables.push([]);
    inTable = isRow;
    if (!isRow || /^[|\s:-]+$/.test(line)) continue;
    tables.at(-1)!.push(line.split("|").slice(1, -1).map((cell) => cell.trim()));
  }
  return tables;
}

/** The rows below the head of the table that begins with this cell. */
export function rowsUnder(text: string, firstHead: string): string[][] {
  const table = tablesOf(text).find(([head]) => head?.[0] === firstHead);
  if (!table) throw new Error(`There is no table that begins with "${firstHead}"`);
  return table.slice(1);
}

/** What stands in `code`. */
export function codesIn(text: string): string[] {
  return [...text.matchAll(/`([^`\n]+)`/g)].map(([, code]) => code!);
}

/** The contents of fenced blocks of a language. */
export function blocksOf(document: string, language: string): string[] {
  const fence = new RegExp("^```" + language + "\n(.*?)^```", "gms");
  return [...document.matchAll(fence)].map(([, block]) => block!);
}

/** Headings as links name them. */
export function anchorsOf(document: string): Set<string> {
  return new Set([...document.matchAll(/^#+ (.*)$/gm)].map(([, heading]) => {
    return heading!.toLowerCase().replace(/[^\w\s-]/g, "").trim().replace(/\s/g, "-");
  }));
}

/** Numbers as people read them: `1,048,576`. */
export function numberOf(text: string): number {
  return Number(text.replaceAll(",", ""));
}
