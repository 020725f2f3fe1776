// deno-lint-ignore-file no-console -- its first line is its address
// The machine's limit for a get: a process that does nothing but send a file to whoever connects,
// with sendfile(2) and poll(2), and waits for the next one. `deno run sendfile_loop.ts FILE`.

import fs from "node:fs";
import { descriptorOf } from "../shared/connection_descriptor.ts";

const { symbols } = Deno.dlopen("libc.so.6", {
  sendfile: { parameters: ["i32", "i32", "buffer", "usize"], result: "isize" },
  poll: { parameters: ["buffer", "u64", "i32"], result: "i32", nonblocking: true },
});

const pollOut = 4;
const bytesPerCall = 1 << 20;

async function send(connection: Deno.TcpConn, file: number): Promise<void> {
  const socket = descriptorOf(connection)!;
  const interest = new Uint8Array(8);
  new DataView(interest.buffer).setInt32(0, socket, true);
  new DataView(interest.buffer).setInt16(4, pollOut, true);
  const offset = new Uint8Array(8);
  const { size } = fs.fstatSync(file);
  for (let done = 0; done < size;) {
    const count = Number(symbols.sendfile(socket, file, offset, BigInt(bytesPerCall)));
    if (count > 0) done += count;
    else await symbols.poll(interest, 1n, 1000);
  }
  connection.close();
}

const file = fs.openSync(Deno.args[0]!, "r");
const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
console.log(listener.addr.port);
for await (const connection of listener) await send(connection, file);
