// Every engine keeps the promises of the store.

import { openStore } from "../../shared/store/open.ts";
import { storeContract } from "./store.ts";

storeContract("memory", (_directory, clock) => openStore("memory:", clock), { persistent: false });

storeContract("sqlite", (directory, clock) => openStore(`sqlite:${directory}/meta.db`, clock), {
  persistent: true,
});
