import assert from "node:assert/strict";
import { nearest } from "../../../commands/nearest.ts";

const names = ["log-dir", "log-format", "log-level", "mgs", "mds", "workers"];

Deno.test("nearest() finds the name that was meant, and none where none is near", () => {
  for (
    const [given, meant] of [
      ["log_level", "log-level"],
      ["loglevel", "log-level"],
      ["Log-Dir", "log-dir"],
      ["worker", "workers"],
      ["wrokers", "workers"],
      ["mgss", "mgs"],
      ["colour", undefined],
      ["advertise", undefined],
    ] as const
  ) assert.equal(nearest(given, names), meant, given);
});
