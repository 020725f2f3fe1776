// The licence texts of everything that is in the executable, as one text.

import { readdir, readFile } from "node:fs/promises";
import { type Package, shippedPackages } from "./packages.ts";
import { root } from "./stage.ts";

/** Each of them with what it is for; sorted, and the same for the same commit. */
export async function licenceTexts(): Promise<string> {
  const sections = [
    section("rustre", await readFile(`${root}LICENSE`, "utf8")),
    section(`Deno ${Deno.version.deno}`, await readFile(`${root}packaging/licences/deno`, "utf8")),
    section(`V8 ${Deno.version.v8}`, await readFile(`${root}packaging/licences/v8`, "utf8")),
  ];
  const packages = await shippedPackages();
  for (const each of packages) {
    sections.push(section(`${each.name} ${each.version}`, await licenceOf(each, packages)));
  }
  return sections.join("\n");
}

function section(title: string, text: string): string {
  return `${title}\n${"=".repeat(title.length)}\n\n${text.trim()}\n`;
}

async function licenceOf(
  { name, directory }: Package,
  packages: readonly Package[],
): Promise<string> {
  const files = (await readdir(directory)).filter((file) => /^(licen[cs]e|copying)/i.test(file));
  if (files.length > 0) {
    const texts = files.sort().map((file) => readFile(`${directory}/${file}`, "utf8"));
    return (await Promise.all(texts)).join("\n");
  }
  // The machine code of a package is a package of its own for each platform, and has no text.
  const whole = packages.find((each) => name.startsWith(`${each.name}-`));
  if (!whole) throw new Error(`The package ${name} has no licence text`);
  return `It is a part of ${whole.name} and has its licence.`;
}
