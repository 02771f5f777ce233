/**
 * Files in Cache Storage, for browsers without OPFS. Each lies there in pieces, because what is put
 * there cannot be appended to; `head` says how many pieces count.
 */

import { type BundleRecord, recordKey } from "./records";
import type { Kept, PartialFile, Store } from "./store";

const CACHE = "brushlet";
/** Keys have to look like addresses; this one is never asked for. */
const ROOT = "https://store.brushlet.invalid/";
const PIECE = 4 * 2 ** 20;

interface Head {
  bytes: number;
  pieces: number;
  whole: boolean;
  validator?: string | undefined;
}

export class CacheStore implements Store {
  readonly kind = "cache";

  private constructor(private readonly cache: Cache) {}

  /** Undefined where the browser has none. @throws where it refuses it */
  static async open(): Promise<CacheStore | undefined> {
    return globalThis.caches && new CacheStore(await caches.open(CACHE));
  }

  /** Undefined where nothing was stored. */
  static async find(): Promise<CacheStore | undefined> {
    return (await globalThis.caches?.has(CACHE)) ? CacheStore.open() : undefined;
  }

  async stat(sha256: string): Promise<Kept | undefined> {
    return this.head(sha256);
  }

  async read(sha256: string): Promise<Blob | undefined> {
    const head = await this.head(sha256);
    return head?.whole ? this.content(sha256, head) : undefined;
  }

  async open(sha256: string): Promise<PartialFile> {
    const head = (await this.head(sha256)) ?? { bytes: 0, pieces: 0, whole: false };
    return new CacheFile(head, {
      content: () => this.content(sha256, head),
      writeHead: () => this.writeJson(headUrl(sha256), head),
      writePiece: (n, piece) => this.cache.put(pieceUrl(sha256, n), new Response(piece)),
    });
  }

  async remove(sha256: string): Promise<void> {
    await this.cache.delete(headUrl(sha256)); // first: a file without its head is none
    for (const { url } of await this.cache.keys()) {
      if (url.startsWith(fileUrl(sha256))) await this.cache.delete(url);
    }
  }

  async list(): Promise<string[]> {
    const files = (await this.cache.keys()).map(({ url }) => url.slice(ROOT.length).split("/"));
    return [...new Set(files.flatMap(([kind, sha256]) => (kind === "files" && sha256) || []))];
  }

  async records(): Promise<BundleRecord[]> {
    const records = [];
    for (const { url } of await this.cache.keys()) {
      if (!url.startsWith(`${ROOT}bundles/`)) continue;
      const record = await this.readJson<BundleRecord>(url);
      if (record) records.push(record);
    }
    return records;
  }

  async writeRecord(record: BundleRecord): Promise<void> {
    await this.writeJson(`${ROOT}bundles/${await recordKey(record.manifestUrl)}`, record);
  }

  async removeRecord(manifestUrl: string): Promise<void> {
    await this.cache.delete(`${ROOT}bundles/${await recordKey(manifestUrl)}`);
  }

  async clear(): Promise<void> {
    for (const { url } of await this.cache.keys()) await this.cache.delete(url);
    await caches.delete(CACHE);
  }

  private head(sha256: string): Promise<Head | undefined> {
    return this.readJson<Head>(headUrl(sha256));
  }

  private async content(sha256: string, { pieces }: Head): Promise<Blob | undefined> {
    const blobs = [];
    for (let n = 0; n < pieces; n++) {
      const piece = await this.cache.match(pieceUrl(sha256, n));
      if (!piece) return undefined;
      blobs.push(await piece.blob());
    }
    return new Blob(blobs);
  }

  private async readJson<T>(url: string): Promise<T | undefined> {
    const found = await this.cache.match(url);
    return found?.json();
  }

  private writeJson(url: string, value: unknown): Promise<void> {
    return this.cache.put(url, new Response(JSON.stringify(value)));
  }
}

class CacheFile implements PartialFile {
  /** What is not yet a piece of its own. */
  private readonly tail = new Uint8Array(PIECE);
  private tailBytes = 0;

  constructor(
    private readonly head: Head,
    private readonly cache: {
      content(): Promise<Blob | undefined>;
      writeHead(): Promise<void>;
      writePiece(n: number, piece: Uint8Array<ArrayBuffer>): Promise<void>;
    },
  ) {}

  get bytes(): number {
    return this.head.bytes + this.tailBytes;
  }

  get validator(): string | undefined {
    return this.head.validator;
  }

  async *content() {
    const kept = await this.cache.content();
    if (kept?.size !== this.head.bytes) throw new Error("the stored file has lost a piece");
    for (let at = 0; at < kept.size; at += PIECE) {
      yield new Uint8Array(await kept.slice(at, at + PIECE).arrayBuffer());
    }
    yield this.tail.subarray(0, this.tailBytes);
  }

  async restart(validator?: string) {
    Object.assign(this.head, { bytes: 0, pieces: 0, whole: false, validator });
    this.tailBytes = 0;
    await this.cache.writeHead();
  }

  async write(piece: Uint8Array) {
    for (let at = 0; at < piece.length; ) {
      const part = piece.subarray(at, at + PIECE - this.tailBytes);
      this.tail.set(part, this.tailBytes);
      this.tailBytes += part.length;
      at += part.length;
      if (this.tailBytes === PIECE) await this.flush();
    }
  }

  async close(whole: boolean) {
    await this.flush();
    this.head.whole = whole;
    await this.cache.writeHead();
  }

  private async flush() {
    if (this.tailBytes === 0) return;
    await this.cache.writePiece(this.head.pieces, this.tail.slice(0, this.tailBytes));
    this.head.pieces++;
    this.head.bytes += this.tailBytes;
    this.tailBytes = 0;
    await this.cache.writeHead();
  }
}

const fileUrl = (sha256: string) => `${ROOT}files/${sha256}/`;
const headUrl = (sha256: string) => `${fileUrl(sha256)}head`;
const pieceUrl = (sha256: string, n: number) => `${fileUrl(sha256)}${n}`;
