/** Which of the stores this browser has. */

import type { StorageReport } from "../worker/protocol";
import { CacheStore } from "./cachestore";
import { MemoryStore } from "./memorystore";
import { OpfsStore } from "./opfs";
import { messageOf } from "./problems";
import type { Store } from "./store";

/** A store, and why it is no better one. */
export interface Choice {
  store: Store;
  reason?: NonNullable<StorageReport["reason"]>;
  detail?: string;
}

/**
 * The best store that this browser gives a worker. OPFS needs synchronous access handles, which every
 * browser with OPFS has had in workers since 2022; those before have Cache Storage.
 */
export async function chooseStore(): Promise<Choice> {
  if (globalThis.isSecureContext === false) return { store: new MemoryStore(), reason: "insecure" };
  const refusals: string[] = [];
  for (const open of [OpfsStore.open, CacheStore.open]) {
    try {
      const store = await open();
      const detail = refusals.join("; ");
      if (store && store.kind === "opfs") return { store };
      if (store && detail) return { store, reason: "refused", detail };
      if (store) return { store, reason: "absent" };
    } catch (thrown) {
      refusals.push(messageOf(thrown));
    }
  }
  const detail = refusals.join("; ");
  const store = new MemoryStore();
  return detail ? { store, reason: "refused", detail } : { store, reason: "absent" };
}

/** Every store with files in it, for whoever lists or removes them; on any thread. */
export async function filledStores(): Promise<Store[]> {
  const stores = [];
  for (const find of [OpfsStore.find, CacheStore.find]) {
    // A browser that refuses storage keeps nothing in it either.
    const store = await find().catch(() => undefined);
    if (store) stores.push(store);
  }
  return stores;
}
