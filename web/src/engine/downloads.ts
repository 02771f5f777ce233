/** The files of one bundle: from the store where they are sound, else from the server. */

import type { FileRef, Manifest } from "../bundle/manifest.gen";
import type { LoadProgress, StorageReport } from "../worker/protocol";
import { ReadingRoom, sha256Of } from "./hash";
import { bundleLock, fileLock, ifFree, withLock, withShared } from "./locks";
import { MemoryStore } from "./memorystore";
import { Mounts } from "./mounts";
import { EngineProblem, messageOf } from "./problems";
import { recordOf } from "./records";
import { SpillingFile } from "./spilling";
import { prune } from "./storage";
import type { Content, PartialFile, Store } from "./store";
import type { Choice } from "./stores";
import { Tally } from "./tally";
import { transfer } from "./transfer";

export interface DownloadHooks {
  onProgress?: (progress: LoadProgress) => void;
  signal?: AbortSignal;
}

/** A piece of work that may fetch files: what counts their bytes, and what ends it. */
export interface Work {
  tally: Tally;
  signal: AbortSignal | undefined;
}

export function startWork({ onProgress, signal }: DownloadHooks): Work {
  return { tally: new Tally(onProgress), signal };
}

type Stage = LoadProgress["stage"];
type Place = Pick<StorageReport, "kind" | "reason" | "detail">;

/** How often a tab looks how far the other one is. */
const LOOK_MS = 500;
/** What a file system needs besides the bytes of the files. */
const MARGIN = 8 * 2 ** 20;

export class Files {
  private readonly memory = new MemoryStore();
  /** Files that were made on this device: url -> how to read one. */
  private readonly made = new Map<string, () => Promise<Uint8Array<ArrayBuffer>>>();
  /** Undefined where the browser stores nothing. */
  private readonly store: Store | undefined;
  /** Where files go now, and why not somewhere better. */
  private place: Place;
  /** Hashes that were held against the stored bytes since this tab opened the bundle. */
  private readonly sound = new Set<string>();
  private readonly room = new ReadingRoom();
  private readonly mounts = new Mounts();
  /** Those that are transferred here now. */
  private readonly coming = new Set<string>();
  /** Those whose bytes were not what they should be. */
  private readonly damaged = new Set<string>();

  /**
   * @param base URL of manifest.json
   * @param choice memory alone without it
   */
  constructor(
    readonly base: string,
    choice?: Choice,
  ) {
    if (choice?.store.kind !== "memory") this.store = choice?.store;
    const { reason, detail } = choice ?? {};
    this.place = {
      kind: this.store?.kind ?? "memory",
      ...(reason && { reason }),
      ...(detail && { detail }),
    };
  }

  get kept(): Place {
    return this.place;
  }

  /** Writes down which files are this bundle's, and lets those go that no bundle needs any more. */
  async register(manifest: Manifest): Promise<void> {
    const { store, base } = this;
    if (!store) return;
    try {
      await store.writeRecord(recordOf(manifest, base));
      await ifFree([bundleLock(base)], () => prune(store));
    } catch (thrown) {
      this.spill(thrown);
    }
  }

  /** Does what creates sessions from shards; meanwhile nobody removes them. One at a time. */
  reading<T>(work: () => Promise<T>): Promise<T> {
    return withShared(bundleLock(this.base), work).finally(() => this.mounts.close());
  }

  /**
   * Tells the tally of files that will be asked for: what of them is here, and what will be downloaded.
   * Where that has no room in the browser's storage, it goes to memory.
   */
  async plan(files: readonly FileRef[], { tally }: Work): Promise<void> {
    let missing = 0;
    for (const file of files) {
      if (tally.knows(file)) continue;
      const here = Math.min(await this.bytesHere(file), file.bytes);
      tally.plan(file, here);
      missing += file.bytes - here;
    }
    if (missing > 0) await this.makeSureOfRoom(missing);
    tally.storage = this.place.kind;
  }

  /**
   * A file's bytes.
   *
   * @throws EngineProblem as `transfer`
   */
  async get(file: FileRef, stage: Stage, work: Work): Promise<Uint8Array<ArrayBuffer>> {
    const made = this.made.get(file.url);
    if (made) return made();
    return bytesOf(await this.content(file, stage, work));
  }

  /**
   * Has a file stored for later visits, where anything is; one that is there already is not read.
   *
   * @throws EngineProblem as `transfer`
   */
  async keep(file: FileRef, work: Work): Promise<void> {
    if (!this.store || this.place.kind === "memory") return;
    const kept = await this.store.stat(file.sha256).catch(() => undefined);
    if (!kept?.whole) await this.content(file, "shards", work);
  }

  /**
   * A shard as a session takes it: checked, but read tensor by tensor where it lies on disk. It is
   * good until the `reading` ends that asks for it.
   *
   * @throws EngineProblem as `transfer`
   */
  async shard(file: FileRef, work: Work): Promise<Uint8Array<ArrayBuffer>> {
    const content = await this.content(file, "shards", work);
    const stored = content instanceof Blob;
    return this.mounts.add(content, stored ? await this.store?.handle?.(file.sha256) : undefined);
  }

  /** Has a file read on this device instead of fetched; without `read` it is no more. */
  provide({ url }: FileRef, read: (() => Promise<Uint8Array<ArrayBuffer>>) | undefined): void {
    if (read) this.made.set(url, read);
    else this.made.delete(url);
  }

  /** Frees what was used to check shards: a session is about to need the memory. */
  checked(): void {
    this.room.close();
  }

  /** Frees a file's memory; a stored one stays where it is. */
  drop({ sha256 }: FileRef): void {
    void this.memory.remove(sha256);
  }

  private async content(file: FileRef, stage: Stage, work: Work): Promise<Content> {
    const { tally, signal } = work;
    await this.plan([file], work);
    const have = async () => {
      const content = await this.stored(file);
      if (!content) return this.download(file, stage, work);
      tally.count(file, file.bytes, true);
      tally.report(stage, file.url);
      return content;
    };
    if (!this.store || (await this.stored(file))) return have();
    const onWait = () => this.watchOther(file, stage, tally);
    return withLock(fileLock(file.sha256), have, { signal, onWait });
  }

  /** What is here whole and is what the manifest promises. */
  private async stored(file: FileRef): Promise<Content | undefined> {
    const { sha256, bytes } = file;
    const inMemory = await this.memory.read(sha256);
    if (inMemory) return inMemory;
    try {
      const content = await this.store?.read(sha256);
      if (!(content instanceof Blob)) return content;
      // Once a visit. One shard lies in memory for it: Web Crypto takes no pieces.
      const matches =
        content.size === bytes &&
        (this.sound.has(sha256) || (await sha256Of(content, this.room)) === sha256);
      (matches ? this.sound : this.damaged).add(sha256);
      return matches ? content : undefined;
    } catch {
      this.damaged.add(sha256); // what cannot be read is fetched
      return undefined;
    }
  }

  /** Fetches a file that is not stored, or not as it should be. The caller has its lock. */
  private async download(file: FileRef, stage: Stage, work: Work): Promise<Content> {
    const { sha256, url, bytes } = file;
    this.coming.add(sha256);
    try {
      await this.fill(await this.begin(file), file, stage, work);
      this.sound.add(sha256);
      const content = (await this.memory.read(sha256)) ?? (await this.store?.read(sha256));
      if (content) return content;
      // Another tab is writing it, where the browser has no locks; or the browser has let it go.
      await this.fill(await this.memory.open(sha256, bytes), file, stage, work);
    } finally {
      this.coming.delete(sha256);
    }
    const content = await this.memory.read(sha256);
    if (content) return content;
    throw new EngineProblem("internal", `${url} was fetched, but is not in memory.`, url);
  }

  /** Transfers what a file still lacks. */
  private async fill(partial: PartialFile, file: FileRef, stage: Stage, work: Work): Promise<void> {
    const { tally, signal } = work;
    let whole = false;
    try {
      await transfer(this.base, file, partial, {
        signal,
        // A browser that stores the file need not keep it in its cache as well.
        cache: this.place.kind === "memory" ? "default" : "no-store",
        onBytes: (loaded) => {
          tally.storage = this.place.kind;
          tally.count(file, loaded);
          tally.report(stage, file.url);
        },
        onLost: () => tally.report(stage, file.url, "network"),
      });
      whole = true;
    } finally {
      await partial.close(whole);
    }
  }

  private async begin({ sha256, bytes }: FileRef): Promise<PartialFile> {
    const { store } = this;
    const inMemory = () => this.memory.open(sha256, bytes);
    if (!store) return inMemory();
    try {
      const kept = await store.stat(sha256);
      if (kept?.whole) {
        // Without locks another tab may have just stored it: that one is left alone.
        if (!this.damaged.delete(sha256)) return inMemory();
        await store.remove(sha256);
      }
      const noRoom = this.place.kind === "memory";
      if (noRoom && (!kept || kept.whole)) return inMemory();
      const file = new SpillingFile(await store.open(sha256, bytes), inMemory, async (thrown) => {
        this.spill(thrown);
        await store.remove(sha256).catch(() => {}); // it is in memory, and the next visit's problem
      });
      if (noRoom) await file.spill(undefined);
      return file;
    } catch (thrown) {
      this.spill(thrown);
      return inMemory();
    }
  }

  private async bytesHere({ sha256 }: FileRef): Promise<number> {
    const inMemory = await this.memory.stat(sha256);
    const here = inMemory ?? (await this.store?.stat(sha256).catch(() => undefined));
    return here?.bytes ?? 0;
  }

  /** Reports the progress of another tab, or of other work of this one, until told to stop. */
  private watchOther(file: FileRef, stage: Stage, tally: Tally): () => void {
    const look = async () => {
      tally.count(file, Math.min(await this.bytesHere(file), file.bytes), true);
      tally.report(stage, file.url, this.coming.has(file.sha256) ? undefined : "tab");
    };
    void look();
    const timer = setInterval(look, LOOK_MS);
    return () => clearInterval(timer);
  }

  private async makeSureOfRoom(missing: number): Promise<void> {
    if (this.place.kind === "memory") return;
    const estimate = await navigator.storage?.estimate?.().catch(() => undefined);
    const { quota, usage = 0 } = estimate ?? {};
    if (quota === undefined || quota - usage >= missing + MARGIN) return;
    const detail = `${missing} bytes are to be stored, ${Math.max(0, quota - usage)} are free`;
    this.place = { kind: "memory", reason: "quota", detail };
  }

  /** From here on files go to memory. */
  private spill(thrown: unknown): void {
    if (this.place.kind === "memory") return;
    const full = thrown instanceof DOMException && thrown.name === "QuotaExceededError";
    this.place = { kind: "memory", reason: full ? "quota" : "failed", detail: messageOf(thrown) };
  }
}

async function bytesOf(content: Content): Promise<Uint8Array<ArrayBuffer>> {
  return content instanceof Blob ? new Uint8Array(await content.arrayBuffer()) : content;
}
