// A local file while it is uploaded: its pieces in any order. A piece is read to make its checksums;
// then it is sent from memory or, where the network can, by the file itself.

import * as fs from "node:fs";
import { blockBytes, ChecksumScratch, partCount } from "../../shared/checksums.ts";
import { payloadBytesOf, type SendableFile } from "../../shared/environment.ts";
import { fileOfDescriptor } from "../../shared/file_ranges.ts";
import { limits } from "../../shared/limits.ts";
import type { FileBytes } from "../file_pieces.ts";
import { NamedError } from "../named_errors.ts";
import { type ContentOf, contentOfBytes } from "../object_client.ts";
import { localCallSync } from "./local_errors.ts";

export class LocalSource implements Disposable {
  readonly #path: string;
  readonly #sizeBytes: number;
  readonly #descriptor: number;
  readonly #file: SendableFile;
  /** What goes through it stays in the processor's cache. */
  #scratch: ChecksumScratch | undefined;

  /** Of a file whose size is known; EBUSY wherever it turns out to be another. */
  constructor(path: string, sizeBytes: number) {
    this.#path = path;
    this.#sizeBytes = sizeBytes;
    this.#descriptor = localCallSync(`read "${path}"`, () => fs.openSync(path, "r"));
    this.#file = fileOfDescriptor(this.#descriptor);
  }

  /** A piece by way of a buffer of its length. */
  throughBuffer(ranges: readonly FileBytes[], buffer: Uint8Array): ContentOf {
    return (offsetInObjectBytes) => {
      let start = 0;
      for (const { offsetBytes, lengthBytes } of ranges) {
        this.#fill(buffer.subarray(start, start + lengthBytes), offsetBytes);
        start += lengthBytes;
      }
      return contentOfBytes(buffer)(offsetInObjectBytes);
    };
  }

  /**
   * A piece that is sent by the file itself. Should the file change in between, the receiver notices
   * it by the checksums, and both are made again.
   */
  fromFile(ranges: readonly FileBytes[]): ContentOf {
    return (offsetInObjectBytes) => {
      const payload = ranges.map((range) => ({ file: this.#file, ...range }));
      const lengthBytes = payloadBytesOf(payload);
      const checksums = new Uint8Array(4 * partCount(offsetInObjectBytes, lengthBytes));
      let doneBytes = 0;
      for (const range of ranges) {
        const ofRange = checksums.subarray(4 * partCount(offsetInObjectBytes, doneBytes));
        this.#makeChecksums(range, offsetInObjectBytes + doneBytes, ofRange);
        doneBytes += range.lengthBytes;
      }
      return { payload, checksums };
    };
  }

  /** Throws EBUSY where the file has grown. */
  requireEnd(): void {
    if (this.#read(new Uint8Array(1), this.#sizeBytes) > 0) throw this.#sizeChanged();
  }

  [Symbol.dispose](): void {
    fs.closeSync(this.#descriptor);
  }

  /** Of a range of the file, in portions that end at block boundaries of the object. */
  #makeChecksums(
    { offsetBytes, lengthBytes }: FileBytes,
    offsetInObjectBytes: number,
    into: Uint8Array,
  ): void {
    const scratch = this.#scratch ??= new ChecksumScratch(limits.fileCopyBytes);
    for (let start = 0; start < lengthBytes;) {
      const atBytes = offsetInObjectBytes + start;
      const length = Math.min(scratch.bytes.length - atBytes % blockBytes, lengthBytes - start);
      this.#fill(scratch.bytes.subarray(0, length), offsetBytes + start);
      const ofPortion = into.subarray(4 * partCount(offsetInObjectBytes, start));
      scratch.encodeChecksums(atBytes, length, ofPortion);
      start += length;
    }
  }

  #fill(into: Uint8Array, offsetBytes: number): void {
    if (this.#read(into, offsetBytes) < into.length) throw this.#sizeChanged();
  }

  /** How many bytes there are, fewer than fit only where the file ends. */
  #read(into: Uint8Array, offsetBytes: number): number {
    return localCallSync(`read "${this.#path}"`, () => {
      let start = 0;
      while (start < into.length) {
        const [length, at] = [into.length - start, offsetBytes + start];
        const count = fs.readSync(this.#descriptor, into, start, length, at);
        if (count === 0) break;
        start += count;
      }
      return start;
    });
  }

  /** A file that was cut or grew while it was read is not what anybody wanted to store. */
  #sizeChanged(): NamedError {
    const { size: nowBytes } = fs.fstatSync(this.#descriptor);
    return new NamedError(
      "EBUSY",
      `Cannot upload "${this.#path}": its size changed from ${this.#sizeBytes} to ${nowBytes} ` +
        "bytes while it was read",
    );
  }
}
