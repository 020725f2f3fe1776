import assert from "node:assert/strict";
import { advertiser, type HostAddresses } from "../../shared/advertise.ts";
import { formatAddress, parseAddress, parseHostAndPort } from "../../shared/address.ts";
import { isRustreError, RustreError } from "../../shared/errors.ts";

/** A machine with one network; mgs "dead" does not answer. */
const machine: HostAddresses = {
  towards({ host }) {
    if (host === "dead") return Promise.reject(new RustreError("UNREACHABLE", "dead is dead"));
    return Promise.resolve(host.startsWith("127.") ? "127.0.0.1" : "10.0.0.5");
  },
  external: () => ["10.0.0.5", "10.0.9.9"],
};

const cases: {
  name: string;
  explicit?: string;
  listening: string;
  mgs: string[];
  expected: string;
}[] = [
  {
    name: "what the operator says, with the bound port",
    explicit: "public.example.org",
    listening: "10.0.0.5:9401",
    mgs: ["10.0.0.1:9400"],
    expected: "public.example.org:9401",
  },
  {
    name: "the port that the operator says",
    explicit: "public.example.org:80",
    listening: "0.0.0.0:9401",
    mgs: ["10.0.0.1:9400"],
    expected: "public.example.org:80",
  },
  {
    name: "the particular address that is listened on",
    listening: "127.0.0.1:9401",
    mgs: ["10.0.0.1:9400"],
    expected: "127.0.0.1:9401",
  },
  {
    name: "the address on the way to the mgs",
    listening: "0.0.0.0:9401",
    mgs: ["10.0.0.1:9400"],
    expected: "10.0.0.5:9401",
  },
  {
    name: "the address on the way to the mgs for IPv6's wildcard",
    listening: "[::]:9401",
    mgs: ["10.0.0.1:9400"],
    expected: "10.0.0.5:9401",
  },
  {
    name: "loopback where every mgs is reached by it",
    listening: "0.0.0.0:9401",
    mgs: ["127.0.0.1:9400"],
    expected: "127.0.0.1:9401",
  },
  {
    name: "an address that an mgs elsewhere sees, rather than loopback",
    listening: "0.0.0.0:9401",
    mgs: ["127.0.0.1:9400", "10.0.0.1:9400"],
    expected: "10.0.0.5:9401",
  },
  {
    name: "the way to an mgs that answers",
    listening: "0.0.0.0:9401",
    mgs: ["dead:9400", "10.0.0.1:9400"],
    expected: "10.0.0.5:9401",
  },
  {
    name: "of an mgs the first external address",
    listening: "0.0.0.0:9400",
    mgs: [],
    expected: "10.0.0.5:9400",
  },
];

for (const { name, explicit, listening, mgs, expected } of cases) {
  Deno.test(`advertiser() publishes ${name}`, async () => {
    const advertise = advertiser(explicit ? parseHostAndPort(explicit) : undefined, machine);
    const address = await advertise(parseAddress(listening), mgs.map((each) => parseAddress(each)));
    assert.equal(formatAddress(address), expected);
  });
}

Deno.test("advertiser() publishes loopback on a machine without a network", async () => {
  const advertise = advertiser(undefined, { ...machine, external: () => [] });
  assert.deepEqual(await advertise({ host: "0.0.0.0", port: 1 }, []), {
    host: "127.0.0.1",
    port: 1,
  });
  assert.deepEqual(await advertise({ host: "::", port: 1 }, []), { host: "::1", port: 1 });
});

Deno.test("advertiser() says what was tried and what to do where no mgs answers", async () => {
  const advertise = advertiser(undefined, machine);
  await assert.rejects(
    advertise({ host: "0.0.0.0", port: 1 }, [{ host: "dead", port: 2 }]),
    (error) =>
      isRustreError(error, "UNREACHABLE") &&
      /"dead:2": dead is dead; .*--advertise/.test(error.message),
  );
});
