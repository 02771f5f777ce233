/**
 * What the browser keeps of styles that were made here: entries and packs in IndexedDB, written in one
 * transaction, so that an entry never stands without its pack. Packs of all bases lie side by side.
 */

import type { DBSchema, IDBPDatabase } from "idb";
import type { Style } from "../bundle/manifest.gen";
import { openDatabase } from "./database";

const NAME = "brushlet-styles";

export interface KeptStyle {
  /** SHA-256 of the LoRA file and the base's hash: one style per file and base. */
  key: string;
  base_hash: string;
  base_name: string;
  /** When it was added, in milliseconds since 1970. */
  added: number;
  style: Style;
}

interface Schema extends DBSchema {
  styles: { key: string; value: KeptStyle; indexes: { base_hash: string } };
  packs: { key: string; value: Uint8Array<ArrayBuffer> };
}

export class KeptStyles {
  private constructor(private readonly database: IDBPDatabase<Schema>) {}

  /** Undefined where the browser keeps nothing, as some do in private windows. */
  static async open(): Promise<KeptStyles | undefined> {
    const database = await openDatabase<Schema>(NAME, (created) => {
      created.createObjectStore("styles", { keyPath: "key" }).createIndex("base_hash", "base_hash");
      created.createObjectStore("packs");
    });
    return database && new KeptStyles(database);
  }

  /** Those of one base, the first added first; without a base all of them. */
  async list(baseHash?: string): Promise<KeptStyle[]> {
    const found = await (baseHash === undefined
      ? this.database.getAll("styles")
      : this.database.getAllFromIndex("styles", "base_hash", baseHash));
    return found.sort((one, other) => one.added - other.added);
  }

  /** @throws DOMException where there is no room */
  async put(kept: KeptStyle, pack: Uint8Array<ArrayBuffer>): Promise<void> {
    const change = this.database.transaction(["styles", "packs"], "readwrite");
    await Promise.all([
      change.objectStore("styles").put(kept),
      change.objectStore("packs").put(pack, kept.key),
      change.done,
    ]);
  }

  pack(key: string): Promise<Uint8Array<ArrayBuffer> | undefined> {
    return this.database.get("packs", key);
  }

  async remove(key: string): Promise<void> {
    const change = this.database.transaction(["styles", "packs"], "readwrite");
    await Promise.all([
      change.objectStore("styles").delete(key),
      change.objectStore("packs").delete(key),
      change.done,
    ]);
  }
}
