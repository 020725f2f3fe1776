// Tells systemd, or whoever speaks its protocol, how far a server is (sd_notify(3)): a datagram to the
// socket that it names in the environment.

import { sendDatagram } from "../shared/libc.ts";
import { loggerOf } from "../shared/logging.ts";

/** `state`: lines such as `READY=1`. Does nothing where no service manager asked for it. */
export async function notifyServiceManager(state: string): Promise<void> {
  const path = Deno.env.get("NOTIFY_SOCKET");
  if (path === undefined || path === "") return;
  if (await sendDatagram(path, state)) return;
  loggerOf("process").warn("Cannot tell the service manager", { path, state });
}
