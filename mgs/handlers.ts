// The mgs's table of contents: one function for each message. They touch the store and, for a node
// that registers, that node; never another one, so no request waits for a node that hangs.

import type { Handlers } from "../shared/rpc/service.ts";
import type { mgsService, Registration } from "../shared/protocol/mgs.ts";
import { assert } from "../shared/assert.ts";
import type { Prober } from "./prober.ts";
import type { Registry } from "./registry.ts";

export interface MgsContext {
  readonly registry: Registry;
  readonly prober: Prober;
  /** This mgs. */
  readonly self: Registration;
}

export function mgsHandlers({ registry, prober, self }: MgsContext): Handlers<typeof mgsService> {
  return {
    probe: () => Promise.resolve({ nodeId: self.nodeId }),

    async register(registration) {
      await prober.verify(registration, await registry.state());
      prober.noticeRegistered(registration);
      const { epoch } = await registry.apply([{ type: "registered", registration }]);
      void prober.announce();
      return { epoch };
    },

    async unregister({ nodeId }) {
      await registry.apply([{ type: "unregistered", nodeId }]);
      void prober.announce();
      return {};
    },

    async getMap({ knownEpoch }) {
      const map = await registry.currentMap(knownEpoch);
      return map ? { map } : {};
    },

    async status() {
      const map = await registry.currentMap();
      assert(map, "there is always a map");
      return { map, heartbeatAgesMs: prober.heartbeatAgesMs() };
    },

    async reaches(node) {
      return { reached: await prober.reaches(node) };
    },

    async raiseEpoch() {
      const { epoch } = await registry.apply([{ type: "fenced" }]);
      return { epoch };
    },
  };
}
