// The script of a worker, that also dies when it is told to: see mortal_main.ts.

import "../../commands/worker.ts";

type Receive = (event: { readonly data: { readonly type: string } }) => void;
const scope = globalThis as unknown as { onmessage: Receive };
const receive = scope.onmessage;
scope.onmessage = (event) => {
  if (event.data.type !== "die") return receive(event);
  throw new Error("told to die");
};
