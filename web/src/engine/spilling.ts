/** A transfer that outgrows the browser's storage goes on in memory, with what it has. */

import type { PartialFile } from "./store";

export class SpillingFile implements PartialFile {
  private spilled = false;

  /**
   * @param file in the store
   * @param inMemory opens the same file in memory
   * @param onSpill told why, once, when the stored part is no longer needed
   */
  constructor(
    private file: PartialFile,
    private readonly inMemory: () => Promise<PartialFile>,
    private readonly onSpill: (thrown: unknown) => Promise<void>,
  ) {}

  get bytes(): number {
    return this.file.bytes;
  }

  get validator(): string | undefined {
    return this.file.validator;
  }

  content(): AsyncIterable<Uint8Array<ArrayBuffer>> {
    return this.file.content();
  }

  async restart(validator?: string): Promise<void> {
    try {
      await this.file.restart(validator);
    } catch (thrown) {
      await this.spill(thrown, false);
      await this.file.restart(validator);
    }
  }

  async write(piece: Uint8Array<ArrayBuffer>): Promise<void> {
    const before = this.file.bytes;
    try {
      await this.file.write(piece);
    } catch (thrown) {
      const taken = this.file.bytes - before;
      await this.spill(thrown);
      await this.file.write(piece.subarray(taken));
    }
  }

  async close(whole: boolean): Promise<void> {
    try {
      await this.file.close(whole);
    } catch (thrown) {
      if (!whole) return; // nothing of it is kept; what went wrong before is told
      await this.spill(thrown);
      await this.file.close(whole);
    }
  }

  /** Goes on in memory. @throws what it was told when it is there already */
  async spill(reason: unknown, withContent = true): Promise<void> {
    if (this.spilled) throw reason;
    this.spilled = true;
    const memory = await this.inMemory();
    await memory.restart(this.file.validator);
    if (withContent) for await (const piece of this.file.content()) await memory.write(piece);
    await this.file.close(false).catch(() => {}); // the store has failed already
    this.file = memory;
    await this.onSpill(reason);
  }
}
