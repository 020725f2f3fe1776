// A file to send from, gone at the end of the test.

import { closeSync, ftruncateSync, openSync, rmSync } from "node:fs";
import type { FileRange, SendableFile } from "../../shared/environment.ts";
import { fileOfDescriptor } from "../../shared/file_ranges.ts";

export class TemporaryFile implements Disposable {
  readonly #path: string;
  readonly #descriptor: number;
  readonly file: SendableFile;
  readonly bytes: Uint8Array;

  constructor(bytes: Uint8Array) {
    this.#path = Deno.makeTempFileSync({ prefix: "rustre_" });
    Deno.writeFileSync(this.#path, bytes);
    this.bytes = bytes;
    this.#descriptor = openSync(this.#path, "r+");
    this.file = fileOfDescriptor(this.#descriptor);
  }

  range(offsetBytes = 0, lengthBytes = this.bytes.length - offsetBytes): FileRange {
    return { file: this.file, offsetBytes, lengthBytes };
  }

  cut(lengthBytes: number): void {
    ftruncateSync(this.#descriptor, lengthBytes);
  }

  [Symbol.dispose](): void {
    closeSync(this.#descriptor);
    rmSync(this.#path);
  }
}
