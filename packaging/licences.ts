// The licence texts of what is in the executable, as one text: of rustre, of its packages, of Deno and
// V8. Deno is published without those of the libraries that are linked into it, so these are named.

import { readdir, readFile } from "node:fs/promises";
import { cratesIn } from "./crates.ts";
import { type Package, shippedPackages } from "./packages.ts";
import { root } from "./stage.ts";

/** Each of them with what it is for; sorted, and the same for the same commit. */
export async function licenceTexts(): Promise<string> {
  const sections = [
    section("rustre", await readFile(`${root}LICENSE`, "utf8")),
    section(`Deno ${Deno.version.deno}`, await readFile(`${root}packaging/licences/deno`, "utf8")),
    section(`V8 ${Deno.version.v8}`, await readFile(`${root}packaging/licences/v8`, "utf8")),
  ];
  sections.push(section("Libraries that are a part of Deno", await librariesOfDeno()));
  const packages = await shippedPackages();
  for (const each of packages) {
    sections.push(section(`${each.name} ${each.version}`, await licenceOf(each, packages)));
  }
  return sections.join("\n");
}

async function librariesOfDeno(): Promise<string> {
  const crates = cratesIn(await readFile(Deno.execPath()));
  if (crates.length === 0) {
    throw new Error("Deno names no libraries: they are to be found otherwise");
  }
  return `Libraries are linked into Deno that have licences of their own, mostly the MIT licence and
the Apache License 2.0. Deno is published without their texts, so they are NOT in this file.

Deno names the ${crates.length} Rust crates below; there are more that it does not name. Some bring
libraries in C with them, such as SQLite and AWS-LC. The licence of each is found at
https://crates.io/crates/NAME/VERSION.

The same holds for the libraries that are linked into V8, such as ICU, zlib and Abseil. They are
listed in the file DEPS of https://chromium.googlesource.com/v8/v8 at this version.

${listOf(crates)}`;
}

function listOf(crates: readonly string[]): string {
  return crates.map((crate) => `  ${crate}`).join("\n");
}

function section(title: string, text: string): string {
  return `${title}\n${"=".repeat(title.length)}\n\n${text.trim()}\n`;
}

async function licenceOf(
  { name, directory }: Package,
  packages: readonly Package[],
): Promise<string> {
  const entries = await readdir(directory);
  const files = entries.filter((file) => /^(licen[cs]e|copying)/i.test(file));
  if (files.length > 0) {
    const texts = files.sort().map((file) => readFile(`${directory}/${file}`, "utf8"));
    return (await Promise.all(texts)).join("\n");
  }
  // The machine code of a package is a package of its own for each platform, and has no text.
  const whole = packages.find((each) => name.startsWith(`${each.name}-`));
  if (!whole) throw new Error(`The package ${name} has no licence text`);
  const part = `It is a part of ${whole.name} and has its licence.`;
  const machineCode = entries.filter((file) => file.endsWith(".node"));
  const crates = await Promise.all(
    machineCode.map(async (file) => cratesIn(await readFile(`${directory}/${file}`))),
  );
  if (crates.flat().length === 0) return part;
  return `${part} Rust crates are linked into it, without their texts\nas those of Deno:\n\n${
    listOf(crates.flat())
  }`;
}
