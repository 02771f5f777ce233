/** What is kept on this device, of bundles and of styles that were added, to be looked at and removed. */

import { type KeptStyle, KeptStyles } from "../engine/keptstyles";
import { listStorage, removeBundle, removeStyle, type StorageOverview } from "../engine/storage";

export interface Kept extends StorageOverview {
  own: KeptStyle[];
}

/** What the storage panel can do; tests put their own in. */
export interface StorageDesk {
  list(): Promise<Kept>;
  /** @throws EngineProblem `storage` while a tab loads from it */
  removeBundle(manifestUrl: string): Promise<void>;
  /** @throws EngineProblem `storage` while a tab loads from its bundle */
  removeStyle(manifestUrl: string, name: string): Promise<void>;
  /** Forgets a style that was added from a file, whichever base it is for. */
  removeOwn(key: string): Promise<void>;
}

export const browserStorage: StorageDesk = {
  async list() {
    const [overview, styles] = await Promise.all([listStorage(), KeptStyles.open()]);
    return { ...overview, own: (await styles?.list()) ?? [] };
  },
  removeBundle,
  removeStyle,
  async removeOwn(key) {
    await (await KeptStyles.open())?.remove(key);
  },
};

/** Of its pack, in bytes. */
export const sizeOf = ({ style }: KeptStyle): number => style.pack?.bytes ?? 0;
