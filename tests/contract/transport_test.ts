import assert from "node:assert/strict";
import { isRustreError } from "../../shared/errors.ts";
import { systemEnvironment } from "../../shared/platform.ts";
import { MemoryNetwork } from "../support/memory_network.ts";
import { transportContract } from "./transport.ts";

const { transport: tcp } = systemEnvironment();
const { transport: streaming } = systemEnvironment({ dataPath: "streaming" });

transportContract("tcp", () => ({ host: "127.0.0.1", server: tcp, client: tcp }));
transportContract("tcp, streaming", () => {
  return { host: "127.0.0.1", server: streaming, client: streaming };
});

transportContract("memory", () => {
  const network = new MemoryNetwork();
  return {
    host: "server",
    server: network.transport("server"),
    client: network.transport("client"),
  };
});

Deno.test("tcp: connect() to an address that does not answer ends with its signal", async () => {
  const stop = new AbortController();
  // Reserved for documentation: packets to it vanish, or a router refuses them.
  const connecting = tcp.connect({ host: "192.0.2.1", port: 9 }, { signal: stop.signal });
  stop.abort(new Error("enough"));
  await assert.rejects(connecting, (error) => isRustreError(error, "UNREACHABLE"));
});

Deno.test("memory: a connection that both ends have closed is forgotten", async () => {
  const network = new MemoryNetwork();
  const listener = await network.transport("server").listen({ host: "server", port: 0 });
  const { signal } = new AbortController();
  const client = await network.transport("client").connect(listener.address, { signal });
  const server = await listener.accept();
  assert.equal(network.connectionsOf("server"), 1);
  client.close();
  server?.close();
  assert.equal(network.connectionsOf("server"), 0);
  listener.close();
});
