/**
 * What the browser keeps of pictures: what made them, their PNGs and small copies, and the pictures
 * that some of them began from, in IndexedDB. Bytes rather than Blobs, which some browsers lose there.
 */

import type { DBSchema, IDBPDatabase } from "idb";
import { openDatabase } from "../engine/database";
import type { Notice, ProviderReport } from "../worker/protocol";
import type { Order } from "./order";
import type { Settings } from "./settings";

const NAME = "brushlet-gallery";

type Bytes = Uint8Array<ArrayBuffer>;

/** What a picture came of. */
export interface PictureFacts {
  order: Order;
  /** What the controls said, to go back to. */
  settings: Settings;
  milliseconds: number;
  /** What computed it: a merged style may need another provider than the base; none: the server. */
  provider: ProviderReport | undefined;
  /** Providers that failed on the way. */
  notices: readonly Notice[];
}

/** A kept picture without its pixels. Its source picture is left out until it is loaded. */
export interface GalleryEntry extends PictureFacts {
  id: number;
  /** Milliseconds since 1970. */
  created: number;
  /** Of its PNG. */
  bytes: number;
  /** The id of the picture that it began from, and that one's name. */
  source?: { id: string; name: string };
}

interface Source {
  bytes: Bytes;
  type: string;
}

/** All that is kept of a picture, to bring it back. */
export interface RemovedPicture {
  entry: GalleryEntry;
  png: Bytes | undefined;
  thumb: Bytes | undefined;
  source: Source | undefined;
}

interface Schema extends DBSchema {
  pictures: { key: number; value: GalleryEntry; indexes: { source: string } };
  pngs: { key: number; value: Bytes };
  thumbs: { key: number; value: Bytes };
  sources: { key: string; value: Source };
}

const stores = ["pictures", "pngs", "thumbs", "sources"] as const;

export class GalleryStore {
  private constructor(private readonly database: IDBPDatabase<Schema>) {}

  /** Undefined where the browser keeps nothing, as some do in private windows. */
  static async open(): Promise<GalleryStore | undefined> {
    const database = await openDatabase<Schema>(NAME, (created) => {
      created
        .createObjectStore("pictures", { keyPath: "id", autoIncrement: true })
        .createIndex("source", "source.id");
      for (const name of ["pngs", "thumbs", "sources"] as const) created.createObjectStore(name);
    });
    return database && new GalleryStore(database);
  }

  /** All pictures, the newest first. */
  async list(): Promise<GalleryEntry[]> {
    return (await this.database.getAll("pictures")).reverse();
  }

  /**
   * Keeps a picture whole, or not at all.
   *
   * @param thumb a small copy of any type; none: the PNG is small enough
   * @throws DOMException `QuotaExceededError` where there is no room
   */
  async add(facts: PictureFacts, png: Bytes, thumb: Bytes | undefined): Promise<GalleryEntry> {
    const { image } = facts.settings;
    const source = image && {
      bytes: new Uint8Array(await image.blob.arrayBuffer()),
      type: image.blob.type,
    };
    const entry: Omit<GalleryEntry, "id"> = {
      ...withoutSource(facts),
      created: Date.now(),
      bytes: png.length,
      ...(image && { source: { id: image.id, name: image.name } }),
    };
    const change = this.database.transaction(stores, "readwrite");
    // The key is the store's to choose, which the type does not know.
    const id = await change.objectStore("pictures").add(entry as GalleryEntry);
    await Promise.all([
      change.objectStore("pngs").put(png, id),
      thumb && change.objectStore("thumbs").put(thumb, id),
      image && source && change.objectStore("sources").put(source, image.id),
      change.done,
    ]);
    return { ...entry, id };
  }

  png(id: number): Promise<Bytes | undefined> {
    return this.database.get("pngs", id);
  }

  /** A small copy of it, or the PNG. */
  async thumb(id: number): Promise<Bytes | undefined> {
    return (await this.database.get("thumbs", id)) ?? (await this.png(id));
  }

  /** What made it, with the picture that it began from. */
  async facts(entry: GalleryEntry): Promise<PictureFacts> {
    const { order, settings, milliseconds, provider, notices, source } = entry;
    const plain = { order, settings, milliseconds, provider, notices };
    const kept = source && (await this.database.get("sources", source.id));
    if (!source || !kept) return plain;
    const blob = new Blob([kept.bytes], { type: kept.type });
    return {
      ...plain,
      order: { ...order, image: blob },
      settings: { ...settings, image: { ...source, blob } },
    };
  }

  /** Removes a picture; `restore` brings back what is returned. */
  async remove(entry: GalleryEntry): Promise<RemovedPicture> {
    const { id, source } = entry;
    const change = this.database.transaction(stores, "readwrite");
    const [png, thumb, kept] = await Promise.all([
      change.objectStore("pngs").get(id),
      change.objectStore("thumbs").get(id),
      source && change.objectStore("sources").get(source.id),
    ]);
    await Promise.all([
      change.objectStore("pictures").delete(id),
      change.objectStore("pngs").delete(id),
      change.objectStore("thumbs").delete(id),
    ]);
    const begun = change.objectStore("pictures").index("source");
    if (source && (await begun.count(source.id)) === 0) {
      await change.objectStore("sources").delete(source.id);
    }
    await change.done;
    return { entry, png, thumb, source: kept };
  }

  /** @throws DOMException as `add` */
  async restore({ entry, png, thumb, source }: RemovedPicture): Promise<void> {
    const change = this.database.transaction(stores, "readwrite");
    await Promise.all([
      change.objectStore("pictures").put(entry),
      png && change.objectStore("pngs").put(png, entry.id),
      thumb && change.objectStore("thumbs").put(thumb, entry.id),
      entry.source && source && change.objectStore("sources").put(source, entry.source.id),
      change.done,
    ]);
  }

  async clear(): Promise<void> {
    const change = this.database.transaction(stores, "readwrite");
    await Promise.all([...stores.map((name) => change.objectStore(name).clear()), change.done]);
  }
}

function withoutSource(facts: PictureFacts): PictureFacts {
  const { image: _, ...order } = facts.order;
  const { image: __, ...settings } = facts.settings;
  return { ...facts, order, settings };
}
