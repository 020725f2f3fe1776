import assert from "node:assert/strict";
import type { LogRecord } from "@logtape/logtape";
import { RustreError } from "../../shared/errors.ts";
import { formatJson, formatLocalTime, formatText } from "../../shared/logging.ts";

function record(fields: Partial<LogRecord> = {}): LogRecord {
  const rawMessage = fields.rawMessage ?? "Serving";
  return {
    category: ["rustre", "mgs"],
    level: "info",
    message: [rawMessage],
    rawMessage,
    timestamp: 1_700_000_000_123,
    properties: {},
    ...fields,
  };
}

/** What follows time and level. */
function textOf(fields: Partial<LogRecord>): string {
  return formatText(record(fields)).slice("2023-11-14 22:13:20.123 +00:00 INFO  ".length);
}

Deno.test("formatText() has local time with zone, level, role, message and fields", () => {
  const properties = { address: "127.0.0.1:9400", epoch: 3, absent: undefined };
  assert.match(
    formatText(record({ properties, level: "warning" })),
    /^2023-11-1\d \d\d:\d\d:20\.123 [+-]\d\d:\d\d WARN {2}mgs {2}Serving address=127\.0\.0\.1:9400 epoch=3$/,
  );
});

Deno.test("formatText() keeps a record on one line whatever is in it", () => {
  const properties = { name: 'a b"\n2023 INFO fake', list: ["x", 1n], empty: "" };
  assert.equal(
    textOf({ rawMessage: "Lost {name}\nfake", properties }),
    'mgs  Lost {name}\\nfake name="a b\\"\\n2023 INFO fake" list=["x","1"] empty=""',
  );
});

Deno.test("formatText() shows the stack of a bug, and of an operating error its code", () => {
  const operating = new RustreError("EBUSY", "Cannot do it: busy");
  assert.equal(
    textOf({ properties: { error: operating } }),
    'mgs  Serving error="Cannot do it: busy (EBUSY)"',
  );
  const [first, second] = textOf({ properties: { error: new TypeError("oops") } }).split("\n");
  assert.equal(first, 'mgs  Serving error="TypeError: oops"');
  assert.match(second ?? "", /^ {4}at /);
});

Deno.test("formatJson() is one JSON document with the fields apart", () => {
  const properties = { epoch: 3, ino: 5n, level: "mine", error: new RustreError("EIO", "Broken") };
  assert.deepEqual(JSON.parse(formatJson(record({ properties }))), {
    time: "2023-11-14T22:13:20.123Z",
    level: "info",
    role: "mgs",
    message: "Serving",
    fields: { epoch: 3, ino: "5", level: "mine", error: "Broken (EIO)" },
  });
});

Deno.test("formatLocalTime() gives the zone in hours and minutes", () => {
  const offset = Date.prototype.getTimezoneOffset;
  try {
    Date.prototype.getTimezoneOffset = () => -330;
    assert(formatLocalTime(0).endsWith(" +05:30"));
    Date.prototype.getTimezoneOffset = () => 210;
    assert(formatLocalTime(0).endsWith(" -03:30"));
  } finally {
    Date.prototype.getTimezoneOffset = offset;
  }
});
