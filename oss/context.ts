// What the handlers of an oss work on.

import type { Clock } from "../shared/environment.ts";
import type { Logger } from "../shared/logging.ts";
import type { Registration } from "../shared/registration.ts";
import type { ossService } from "../shared/protocol/oss.ts";
import type { ReplyOf, RequestOf } from "../shared/rpc/service.ts";
import type { DamagedBlocks } from "./damaged_blocks.ts";
import type { Epochs } from "./epochs.ts";
import type { ObjectStore } from "./object_store.ts";
import type { Replication } from "./replication.ts";

export interface OssContext {
  readonly clock: Clock;
  readonly targetIndex: number;
  readonly objects: ObjectStore;
  readonly damaged: DamagedBlocks;
  readonly epochs: Epochs;
  readonly replication: Replication;
  readonly registration: Registration;
  readonly log: Logger;
}

type OssMethod = keyof typeof ossService["methods"];
export type OssRequest<Name extends OssMethod> = RequestOf<typeof ossService, Name>;
export type OssReply<Name extends OssMethod> = ReplyOf<typeof ossService, Name>;
