/** Keeps nothing between visits: where the browser stores nothing, or has no room. */

import { EngineProblem } from "./problems";
import type { PartialFile, Store } from "./store";

export class MemoryStore implements Store {
  readonly kind = "memory";
  private readonly files = new Map<string, Uint8Array<ArrayBuffer>>();

  async stat(sha256: string) {
    const file = this.files.get(sha256);
    return file && { bytes: file.length, whole: true };
  }

  async read(sha256: string) {
    return this.files.get(sha256);
  }

  async open(sha256: string, bytes: number): Promise<PartialFile> {
    return new MemoryFile(bytes, (whole) => this.files.set(sha256, whole));
  }

  async remove(sha256: string) {
    this.files.delete(sha256);
  }

  async list() {
    return [...this.files.keys()];
  }

  async records() {
    return [];
  }

  async writeRecord() {}

  async removeRecord() {}

  async clear() {
    this.files.clear();
  }
}

class MemoryFile implements PartialFile {
  bytes = 0;
  validator: string | undefined;
  private readonly whole: Uint8Array<ArrayBuffer>;

  constructor(
    bytes: number,
    private readonly keep: (whole: Uint8Array<ArrayBuffer>) => void,
  ) {
    try {
      this.whole = new Uint8Array(bytes);
    } catch (thrown) {
      if (!(thrown instanceof RangeError)) throw thrown;
      throw new EngineProblem(
        "storage",
        `This tab has no memory for a file of ${bytes} bytes. Close other tabs, or free disk space so that the browser can store it.`,
      );
    }
  }

  async *content() {
    yield this.whole.subarray(0, this.bytes);
  }

  async restart(validator?: string) {
    this.bytes = 0;
    this.validator = validator;
  }

  async write(piece: Uint8Array) {
    this.whole.set(piece, this.bytes);
    this.bytes += piece.length;
  }

  async close(whole: boolean) {
    if (whole) this.keep(this.whole);
  }
}
