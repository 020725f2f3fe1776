// The entry of the self-extracting executable's program. As long as it runs, its files are locked,
// so that an installation of another version does not clean them away.

import { main } from "../main.ts";
import { inUseName, stateName } from "./manifest.ts";

holdFiles();
Deno.exit(await main(Deno.args));

function holdFiles(): void {
  try {
    // Kept open until the process ends.
    Deno.openSync(new URL(`./${stateName}/${inUseName}`, import.meta.url)).lockSync(false);
  } catch {
    // Without it the program runs as well, for as long as nobody installs another version.
  }
}
