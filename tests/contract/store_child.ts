// Run by store_persistence.ts as a process of its own: store_child.ts TASK STORE_URL ARGUMENT.

import { systemEnvironment } from "../../shared/platform.ts";
import { openStore } from "../../shared/store/open.ts";
import { transact, type TransactionContext } from "../../shared/store/transact.ts";
import { bytes, integer, integerOf } from "./store.ts";

const tasks: Record<string, (context: TransactionContext, argument: string) => Promise<void>> = {
  /** Writes pairs of keys for ever, and prints the name of each pair that is committed. */
  async pairs(context, argument) {
    let count = 0;
    await Promise.all(Array.from({ length: 16 }, async () => {
      for (;;) {
        const name = `${argument}-${count++}`;
        await transact(context, (transaction) => {
          transaction.set(`pair/${name}/left`, bytes(name));
          transaction.set(`pair/${name}/right`, bytes(name));
          return Promise.resolve();
        });
        print(name);
      }
    }));
  },

  /** Adds 1 to four counters and their twins, 1,000 times in all, by reading and writing. */
  async counters(context) {
    let left = 1000;
    await Promise.all(Array.from({ length: 8 }, async () => {
      while (left-- > 0) {
        const counter = left % 4;
        await transact(context, async (transaction) => {
          for (const key of [`counter/${counter}`, `twin/${counter}`]) {
            const before = integerOf(await transaction.get(key)) ?? 0n;
            transaction.set(key, integer(before + 1n));
          }
        });
      }
    }));
  },

  /** For each line: prints what is under "here", after writing it to "there". */
  async echo(context) {
    const chunks = Deno.stdin.readable.pipeThrough(new TextDecoderStream());
    for await (const _ of chunks) {
      const seen = await transact(context, async (transaction) => {
        const value = integerOf(await transaction.get("here"))!;
        transaction.set("there", integer(value));
        return value;
      });
      print(String(seen));
    }
  },
};

function print(line: string): void {
  Deno.stdout.writeSync(bytes(line + "\n"));
}

const [task, url, argument] = Deno.args;
const environment = systemEnvironment();
const store = await openStore(url!, environment.clock);
await tasks[task!]!({ store, environment }, argument!);
await store.close();
