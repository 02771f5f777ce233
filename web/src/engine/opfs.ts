/**
 * Files in the origin private file system. A file has its hash as its name; `<hash>.part` beside it
 * says that it is not whole, and holds the validator for going on. It is there before the file's first
 * byte and goes after the last one is on disk, so that a crash never leaves half a file that looks whole.
 */

import { sleep } from "./problems";
import { type BundleRecord, recordKey } from "./records";
import type { Kept, PartialFile, ReadHandle, Store } from "./store";

const FOLDER = "brushlet";
const PIECE = 4 * 2 ** 20;
/** The handle of a worker that was just ended is let go a moment later. */
const patience = { tries: 40, pauseMs: 50 };

/** FileSystemSyncAccessHandle: the worker library has it, which clashes with the page's. */
interface SyncHandle extends ReadHandle {
  write(from: Uint8Array, options: { at: number }): number;
  // Promises in Safari before 16.4
  getSize(): number | Promise<number>;
  truncate(bytes: number): undefined | Promise<void>;
  flush(): undefined | Promise<void>;
}

type FileHandle = FileSystemFileHandle & {
  createSyncAccessHandle?: (options?: { mode: "read-only" }) => Promise<SyncHandle>;
};

export class OpfsStore implements Store {
  readonly kind = "opfs";

  private constructor(
    private readonly root: FileSystemDirectoryHandle,
    private readonly files: FileSystemDirectoryHandle,
    private readonly bundles: FileSystemDirectoryHandle,
  ) {}

  /** Undefined where the browser has none for workers. @throws where it refuses it */
  static async open(): Promise<OpfsStore | undefined> {
    if (!globalThis.navigator?.storage?.getDirectory) return undefined;
    if (!("createSyncAccessHandle" in FileSystemFileHandle.prototype)) return undefined;
    return OpfsStore.at(true);
  }

  /** Undefined where nothing was stored. */
  static async find(): Promise<OpfsStore | undefined> {
    if (!globalThis.navigator?.storage?.getDirectory) return undefined;
    return OpfsStore.at(false).catch(absent);
  }

  private static async at(create: boolean): Promise<OpfsStore> {
    const origin = await navigator.storage.getDirectory();
    const root = await origin.getDirectoryHandle(FOLDER, { create });
    const files = await root.getDirectoryHandle("files", { create });
    return new OpfsStore(root, files, await root.getDirectoryHandle("bundles", { create }));
  }

  async stat(sha256: string): Promise<Kept | undefined> {
    const handle = await this.files.getFileHandle(sha256).catch(absent);
    if (!handle) return undefined;
    const part = await this.files.getFileHandle(`${sha256}.part`).catch(absent);
    return { bytes: (await handle.getFile()).size, whole: !part };
  }

  async read(sha256: string): Promise<Blob | undefined> {
    if (!(await this.stat(sha256))?.whole) return undefined;
    return (await this.files.getFileHandle(sha256)).getFile();
  }

  async handle(sha256: string): Promise<ReadHandle | undefined> {
    const file: FileHandle = await this.files.getFileHandle(sha256);
    // Browsers that know no `mode` give it to one tab at a time.
    return file.createSyncAccessHandle?.({ mode: "read-only" }).catch(() => undefined);
  }

  async open(sha256: string, expected: number): Promise<PartialFile> {
    const part = await this.files.getFileHandle(`${sha256}.part`).catch(absent);
    const found = part && (await readJson<Part>(part));
    const before = await this.stat(sha256);
    // Without locks another tab may have just ended it, and read it: then all of it is kept.
    if (!part && before?.bytes !== expected) await this.writePart(sha256, {});
    const handle = await exclusive(await this.files.getFileHandle(sha256, { create: true }));
    let bytes = await handle.getSize();
    if (!found && bytes !== expected) {
      await handle.truncate(0); // whatever it was, nobody began it as a transfer
      bytes = 0;
    }
    return new OpfsFile(handle, bytes, found?.validator, {
      restarted: (validator) => this.writePart(sha256, validator ? { validator } : {}),
      // Without locks another tab may have ended the same transfer.
      whole: () => this.files.removeEntry(`${sha256}.part`).catch(absent),
    });
  }

  async remove(sha256: string): Promise<void> {
    for (const name of [sha256, `${sha256}.part`]) {
      await this.files.removeEntry(name).catch(absent);
    }
  }

  async list(): Promise<string[]> {
    const names = await namesIn(this.files);
    return [...new Set(names.map((name) => name.replace(/\.part$/, "")))];
  }

  async records(): Promise<BundleRecord[]> {
    const records = [];
    for (const name of await namesIn(this.bundles)) {
      const handle = await this.bundles.getFileHandle(name).catch(absent);
      const record = handle && (await readJson<BundleRecord>(handle));
      if (record) records.push(record);
    }
    return records;
  }

  async writeRecord(record: BundleRecord): Promise<void> {
    await writeJson(this.bundles, await recordKey(record.manifestUrl), record);
  }

  async removeRecord(manifestUrl: string): Promise<void> {
    await this.bundles.removeEntry(await recordKey(manifestUrl)).catch(absent);
  }

  async clear(): Promise<void> {
    for (const folder of [this.files, this.bundles]) {
      for (const name of await namesIn(folder)) await folder.removeEntry(name).catch(absent);
    }
    const origin = await navigator.storage.getDirectory();
    await origin.removeEntry(this.root.name, { recursive: true });
  }

  private writePart(sha256: string, part: Part): Promise<void> {
    return writeJson(this.files, `${sha256}.part`, part);
  }
}

interface Part {
  validator?: string;
}

class OpfsFile implements PartialFile {
  constructor(
    private readonly handle: SyncHandle,
    public bytes: number,
    public validator: string | undefined,
    private readonly tell: {
      restarted(validator?: string): Promise<void>;
      whole(): Promise<void>;
    },
  ) {}

  async *content() {
    const buffer = new Uint8Array(Math.min(PIECE, this.bytes));
    for (let at = 0; at < this.bytes; ) {
      const read = this.handle.read(buffer, { at });
      if (read === 0) throw new Error(`the stored file ends at ${at} of ${this.bytes} bytes`);
      yield buffer.subarray(0, read);
      at += read;
    }
  }

  async restart(validator?: string) {
    await this.tell.restarted(validator);
    await this.handle.truncate(0);
    this.bytes = 0;
    this.validator = validator;
  }

  async write(piece: Uint8Array) {
    const written = this.handle.write(piece, { at: this.bytes });
    // Chromium's private windows tell of no full disk: they write less than they say.
    const size = await this.handle.getSize();
    if (written < piece.length || size < this.bytes + piece.length) {
      throw new DOMException("the disk took only a part of the file", "QuotaExceededError");
    }
    this.bytes += piece.length;
  }

  async close(whole: boolean) {
    try {
      await this.handle.flush();
    } finally {
      await this.handle.close();
    }
    if (whole) await this.tell.whole();
  }
}

/** Writes whole or not at all is not to be had here: a record that does not parse counts as none. */
async function writeJson(
  folder: FileSystemDirectoryHandle,
  name: string,
  value: unknown,
): Promise<void> {
  const handle = await exclusive(await folder.getFileHandle(name, { create: true }));
  try {
    await handle.truncate(0);
    handle.write(new TextEncoder().encode(JSON.stringify(value)), { at: 0 });
    await handle.flush();
  } finally {
    await handle.close();
  }
}

async function readJson<T>(handle: FileSystemFileHandle): Promise<T | undefined> {
  try {
    return JSON.parse(await (await handle.getFile()).text());
  } catch {
    return undefined; // cut off by a crash
  }
}

/** The only access handle of a file; waits for one that is about to be let go. */
async function exclusive(file: FileHandle): Promise<SyncHandle> {
  if (!file.createSyncAccessHandle) throw new Error("files can be written in workers only");
  for (let left = patience.tries; ; left--) {
    try {
      return await file.createSyncAccessHandle();
    } catch (thrown) {
      const taken = (thrown as DOMException).name === "NoModificationAllowedError";
      if (!taken || left === 0) throw thrown;
      await sleep(patience.pauseMs);
    }
  }
}

async function namesIn(folder: FileSystemDirectoryHandle): Promise<string[]> {
  const names = [];
  // In the DOM library of TypeScript directories cannot be iterated yet.
  for await (const name of (folder as unknown as { keys(): AsyncIterable<string> }).keys()) {
    names.push(name);
  }
  return names;
}

function absent(thrown: DOMException): undefined {
  if (thrown.name !== "NotFoundError") throw thrown;
}
