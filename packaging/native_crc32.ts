// Stands for the package @node-rs/crc32 in the self-extracting executable: the package looks for its
// native part at run time, and a bundle has it beside itself.

import { createRequire } from "node:module";

const native = createRequire(import.meta.url)("./crc32.node") as typeof import("@node-rs/crc32");

export const { crc32c } = native;
