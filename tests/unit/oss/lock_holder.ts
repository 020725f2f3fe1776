// Locks an OST's directory, says so, and holds it until it is killed.

import { TargetDirectory } from "../../../oss/target_directory.ts";
import { systemEnvironment } from "../../../shared/platform.ts";

await new TargetDirectory(Deno.args[0]!, systemEnvironment()).lock();
await Deno.stdout.write(new TextEncoder().encode("locked\n"));
await Deno.stdin.read(new Uint8Array(1));
