// The licence texts of everything that is in the executable, as one text.

import { readdir, readFile } from "node:fs/promises";
import { shippedPackages } from "./packages.ts";
import { root } from "./stage.ts";

/** Each of them with what it is for; sorted, and the same for the same commit. */
export async function licenceTexts(): Promise<string> {
  const sections = [
    section("rustre", await readFile(`${root}LICENSE`, "utf8")),
    section(`Deno ${Deno.version.deno}`, await readFile(`${root}packaging/licences/deno`, "utf8")),
    section(`V8 ${Deno.version.v8}`, await readFile(`${root}packaging/licences/v8`, "utf8")),
  ];
  for (const { name, version, directory } of await shippedPackages()) {
    sections.push(section(`${name} ${version}`, await licenceOf(name, directory)));
  }
  return sections.join("\n");
}

function section(title: string, text: string): string {
  return `${title}\n${"=".repeat(title.length)}\n\n${text.trim()}\n`;
}

async function licenceOf(name: string, directory: string): Promise<string> {
  const files = (await readdir(directory)).filter((file) => /^(licen[cs]e|copying)/i.test(file));
  if (files.length > 0) {
    const texts = files.sort().map((file) => readFile(`${directory}/${file}`, "utf8"));
    return (await Promise.all(texts)).join("\n");
  }
  // A package with a native part for one platform has its licence in the package that it belongs to.
  const { license, repository } = JSON.parse(await readFile(`${directory}/package.json`, "utf8"));
  if (typeof license !== "string") throw new Error(`The package ${name} has no licence`);
  const url = typeof repository === "string" ? repository : repository?.url ?? "no repository";
  return `${license}, as its package says, which has no text of its own. It comes from ${url}.`;
}
