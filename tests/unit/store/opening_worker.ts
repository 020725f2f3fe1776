// A thread that opens stores and tells how that went.

import { messageOf } from "../../../shared/errors.ts";
import { systemEnvironment } from "../../../shared/platform.ts";
import { openStore } from "../../../shared/store/open.ts";

interface Scope {
  postMessage(outcome: string): void;
  onmessage: (event: { readonly data: string }) => void;
}

const scope = globalThis as unknown as Scope;
const { clock } = systemEnvironment();

async function outcomeOf(path: string): Promise<string> {
  try {
    const store = await openStore(`sqlite:${path}`, clock);
    await store.close();
    return "opened";
  } catch (error) {
    return messageOf(error);
  }
}

scope.onmessage = async ({ data }) => scope.postMessage(await outcomeOf(data));
