import assert from "node:assert/strict";
import { descriptorOf } from "../../shared/connection_descriptor.ts";

const ignore = Deno.build.os !== "linux";

/** Both ends of a connection: the accepted one first. */
async function ends(listenOn: string, connectTo: string): Promise<[Deno.TcpConn, Deno.TcpConn]> {
  using listener = Deno.listen({ hostname: listenOn, port: 0 });
  const { port } = listener.addr;
  return await Promise.all([listener.accept(), Deno.connect({ hostname: connectTo, port })]);
}

/** The number of the socket behind a descriptor, which no two have. */
function socketOf(descriptor: number | undefined): string {
  assert(descriptor !== undefined);
  return Deno.readLinkSync(`/proc/self/fd/${descriptor}`);
}

for (
  const [what, listenOn, connectTo] of [
    ["IPv4", "127.0.0.1", "127.0.0.1"],
    ["IPv6", "::1", "::1"],
    ["IPv4 to an IPv6 listener", "::", "127.0.0.1"],
  ] as const
) {
  Deno.test(
    { name: `descriptorOf() finds each end of 20 connections, ${what}`, ignore },
    async () => {
      const pairs = await Promise.all(Array.from({ length: 20 }, () => ends(listenOn, connectTo)));
      const sockets = pairs.flat().map((end) => socketOf(descriptorOf(end)));
      assert.equal(new Set(sockets).size, 40);
      for (const socket of sockets) assert.match(socket, /^socket:/);
      for (const end of pairs.flat()) end.close();
    },
  );
}

Deno.test(
  { name: "descriptorOf() does not believe a number that is another's", ignore },
  async () => {
    const [[accepted, connected], [other, otherEnd]] = await Promise.all([
      ends("127.0.0.1", "127.0.0.1"),
      ends("127.0.0.1", "127.0.0.1"),
    ]);
    const right = descriptorOf(accepted);
    const symbol = Object.getOwnPropertySymbols(accepted)
      .find(({ description }) => description === "Deno.internal.fd");
    const wrong = descriptorOf(other);
    const { localAddr, remoteAddr } = accepted;
    for (const claimed of [wrong, 0, 1_000_000, undefined, "7"]) {
      const claiming = { localAddr, remoteAddr, [symbol ?? Symbol("Deno.internal.fd")]: claimed };
      assert.equal(descriptorOf(claiming as unknown as Deno.TcpConn), right);
    }
    for (const end of [accepted, connected, other, otherEnd]) end.close();
  },
);

Deno.test({ name: "descriptorOf() finds none for a connection that is gone", ignore }, async () => {
  const [accepted, connected] = await ends("127.0.0.1", "127.0.0.1");
  const { localAddr, remoteAddr } = accepted;
  accepted.close();
  connected.close();
  await new Promise((resolve) => setTimeout(resolve));
  const gone = { localAddr, remoteAddr } as unknown as Deno.TcpConn;
  assert.equal(descriptorOf(gone), undefined);
});
