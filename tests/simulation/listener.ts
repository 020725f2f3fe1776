// Where a process of the simulation takes connections.

import type { Address } from "../../shared/environment.ts";
import { QueuedListener } from "../support/queued_listener.ts";
import type { HostProcess } from "./process.ts";

export class SimulatedListener extends QueuedListener {
  readonly process: HostProcess;

  constructor(address: Address, process: HostProcess, onClose: () => void) {
    super(address, onClose);
    this.process = process;
  }
}
