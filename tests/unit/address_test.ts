import assert from "node:assert/strict";
import fc from "fast-check";
import {
  formatAddress,
  isLoopback,
  parseAddress,
  parseAddressList,
  parseAdvertised,
  parseHostAndPort,
} from "../../shared/address.ts";
import { isRustreError } from "../../shared/errors.ts";

const addresses: [string, string, number][] = [
  ["127.0.0.1:9400", "127.0.0.1", 9400],
  ["localhost:1", "localhost", 1],
  ["mgs-1.example.org:65535", "mgs-1.example.org", 65535],
  ["[::1]:9400", "::1", 9400],
  ["[fe80::1%eth0]:9400", "fe80::1%eth0", 9400],
  ["[::]:9400", "::", 9400],
  ["a:09", "a", 9],
];
for (const [text, host, port] of addresses) {
  Deno.test(`parseAddress() reads ${text}`, () => {
    assert.deepEqual(parseAddress(text), { host, port });
  });
}

const mistakes: [string, RegExp][] = [
  ["", /it has no host/],
  ["host", /it has no port; write HOST:PORT/],
  [":9400", /it has no host/],
  ["host:", /the port is not a number/],
  ["host:x", /the port is not a number/],
  ["host:-1", /the port is not a number/],
  ["host:65536", /the port is not a number/],
  ["host:1.5", /the port is not a number/],
  ["host:0", /port 0 is not a port to connect to/],
  ["::1:9400", /an IPv6 address needs brackets/],
  ["[::1]", /it has no port/],
  ["[::1]9400", /neither a name nor an IP address/],
  ["[host]:1", /neither a name nor an IP address/],
  ["ho st:1", /neither a name nor an IP address/],
  ["http://host:1", /needs brackets/],
  ["host\n:1", /neither a name nor an IP address/],
  ["-host:1", /neither a name nor an IP address/],
];
for (const [text, reason] of mistakes) {
  Deno.test(`parseAddress() refuses ${JSON.stringify(text)}`, () => {
    assert.throws(
      () => parseAddress(text),
      (error) =>
        isRustreError(error, "EINVAL") && reason.test(error.message) &&
        error.message.startsWith(`Cannot use "${text}" as an address: `),
    );
  });
}

Deno.test("parseAddress() takes port 0 where any port will do", () => {
  assert.deepEqual(parseAddress("0.0.0.0:0", { anyPort: true }), { host: "0.0.0.0", port: 0 });
});

Deno.test("parseAddressList() takes each address once and refuses empty ones", () => {
  assert.deepEqual(parseAddressList("a:1, b:2,a:1"), [
    { host: "a", port: 1 },
    { host: "b", port: 2 },
  ]);
  assert.throws(() => parseAddressList("a:1,"), /it has no host/);
});

Deno.test("parseHostAndPort() leaves out the port where there is none", () => {
  assert.deepEqual(parseHostAndPort("host"), { host: "host", port: undefined });
  assert.deepEqual(parseHostAndPort("[::1]"), { host: "::1", port: undefined });
});

Deno.test("parseAdvertised() refuses what nobody can connect to", () => {
  assert.deepEqual(parseAdvertised("host"), { host: "host", port: undefined });
  assert.deepEqual(parseAdvertised("[::1]:9"), { host: "::1", port: 9 });
  assert.throws(() => parseAdvertised("host:0"), /"host:0".*: port 0 is not a port to connect to$/);
  for (const text of ["0.0.0.0", "0.0.0.0:9400", "[::]:9400"]) {
    assert.throws(
      () => parseAdvertised(text),
      /others cannot connect to it; name one address/,
      text,
    );
  }
});

Deno.test("formatAddress() is read back by parseAddress()", () => {
  const hosts = fc.oneof(fc.ipV4(), fc.ipV6(), fc.domain());
  fc.assert(fc.property(hosts, fc.integer({ min: 1, max: 65535 }), (host, port) => {
    assert.deepEqual(parseAddress(formatAddress({ host, port })), { host, port });
  }));
});

Deno.test("isLoopback() knows the machine's own addresses from names that look like them", () => {
  for (const host of ["127.0.0.1", "127.1.2.3", "::1", "localhost"]) assert(isLoopback(host), host);
  for (const host of ["0.0.0.0", "::", "127.example.org", "10.0.0.1"]) {
    assert(!isLoopback(host), host);
  }
});
