/** What the browser keeps of bundles: a list for people, and its removal. Works on any thread. */

import { bundleLock, ifFree } from "./locks";
import { EngineProblem } from "./problems";
import type { BundleRecord, RecordedFile } from "./records";
import type { Kept, Store } from "./store";
import { filledStores } from "./stores";

export interface StoredStyle {
  name: string;
  title: string;
  /** Of the files that it alone needs. */
  bytes: number;
}

export interface StoredBundle {
  name: string;
  manifestUrl: string;
  baseHash: string;
  kind: Store["kind"];
  /** Of all its files here, its styles' among them. */
  bytes: number;
  /** Of those, what other bundles need too: what removing it leaves. */
  sharedBytes: number;
  /** When it was last opened, Unix milliseconds. */
  openedAt: number;
  styles: StoredStyle[];
}

export interface StorageOverview {
  bundles: StoredBundle[];
  /** Of all files, each counted once. */
  bytes: number;
  /** Of this origin, all that it stores; undefined where the browser does not say. */
  usage?: number;
  quota?: number;
  /** Whether the browser promised not to evict it by itself. */
  persisted: boolean;
}

/** Everything that is stored. */
export async function listStorage(): Promise<StorageOverview> {
  const bundles: StoredBundle[] = [];
  let bytes = 0;
  for (const store of await filledStores()) {
    const kept = await keptFiles(store);
    for (const { bytes: size } of kept.values()) bytes += size;
    const records = await store.records();
    for (const record of records) bundles.push(summary(record, records, kept, store.kind));
  }
  bundles.sort((a, b) => b.openedAt - a.openedAt);
  const { usage, quota } = (await globalThis.navigator?.storage?.estimate?.()) ?? {};
  return {
    bundles,
    bytes,
    ...(usage !== undefined && { usage }),
    ...(quota !== undefined && { quota }),
    persisted: await isPersisted(),
  };
}

/**
 * Removes a bundle and what only it needs. Tabs that have it open go on; they fetch anew what they
 * come to need.
 *
 * @throws EngineProblem `storage` while a tab loads from it
 */
export async function removeBundle(manifestUrl: string): Promise<void> {
  await unlessLoading([manifestUrl], async (store) => {
    await store.removeRecord(manifestUrl);
    await prune(store);
  });
}

/**
 * Removes the files that a style alone needs; the style stays in its bundle, and is fetched again when
 * it is used.
 *
 * @throws EngineProblem `storage` while a tab loads from its bundle
 */
export async function removeStyle(manifestUrl: string, name: string): Promise<void> {
  await unlessLoading([manifestUrl], async (store) => {
    const records = await store.records();
    const own = records.find((record) => record.manifestUrl === manifestUrl);
    const others = records.filter((record) => record !== own);
    for (const [sha256, file] of Object.entries(own?.files ?? {})) {
      const shared = others.some(({ files }) => sha256 in files);
      if (!shared && isOnlyOf(file, name)) await store.remove(sha256);
    }
  });
}

/** @throws EngineProblem `storage` while a tab loads from any bundle */
export async function removeAll(): Promise<void> {
  const urls = new Set<string>();
  for (const store of await filledStores()) {
    for (const { manifestUrl } of await store.records()) urls.add(manifestUrl);
  }
  await unlessLoading([...urls], (store) => store.clear());
}

/** Removes files that no bundle needs any more: those of earlier exports. */
export async function prune(store: Store): Promise<void> {
  const needed = new Set((await store.records()).flatMap(({ files }) => Object.keys(files)));
  for (const sha256 of await store.list()) {
    if (!needed.has(sha256)) await store.remove(sha256).catch(taken);
  }
}

/**
 * Asks the browser not to evict what is stored, which only a page may. Firefox asks the visitor; others
 * decide by themselves.
 */
export async function askToPersist(): Promise<boolean> {
  try {
    return (await globalThis.navigator?.storage?.persist?.()) ?? false;
  } catch {
    return false; // refused in so many words
  }
}

export async function isPersisted(): Promise<boolean> {
  return (await globalThis.navigator?.storage?.persisted?.().catch(() => false)) ?? false;
}

async function unlessLoading(
  manifestUrls: string[],
  remove: (store: Store) => Promise<void>,
): Promise<void> {
  const done = await ifFree(manifestUrls.map(bundleLock), async () => {
    for (const store of await filledStores()) await remove(store);
  });
  if (done) return;
  throw new EngineProblem(
    "storage",
    "A tab is loading these files. Try again when it has loaded, or close it.",
    manifestUrls.join(", "),
  );
}

async function keptFiles(store: Store): Promise<Map<string, Kept>> {
  const kept = new Map<string, Kept>();
  for (const sha256 of await store.list()) {
    const file = await store.stat(sha256);
    if (file) kept.set(sha256, file);
  }
  return kept;
}

function summary(
  record: BundleRecord,
  records: BundleRecord[],
  kept: Map<string, Kept>,
  kind: Store["kind"],
): StoredBundle {
  const { manifest, manifestUrl, openedAt, files } = record;
  const others = records.filter((other) => other !== record);
  const sum = (wanted: (file: RecordedFile, sha256: string) => boolean) =>
    Object.entries(files)
      .filter(([sha256, file]) => wanted(file, sha256))
      .reduce((bytes, [sha256]) => bytes + (kept.get(sha256)?.bytes ?? 0), 0);
  const styles = (manifest.styles ?? []).map(({ name, title }) => {
    return { name, title, bytes: sum((file) => isOnlyOf(file, name)) };
  });
  return {
    name: manifest.name,
    manifestUrl,
    baseHash: manifest.base_hash,
    kind,
    bytes: sum(() => true),
    sharedBytes: sum((_, sha256) => others.some((other) => sha256 in other.files)),
    openedAt,
    styles: styles.filter(({ bytes }) => bytes > 0),
  };
}

function isOnlyOf({ styles }: RecordedFile, name: string): boolean {
  return styles?.length === 1 && styles[0] === name;
}

/** A file that a tab is writing stays. */
function taken(thrown: DOMException): void {
  if (thrown.name !== "NoModificationAllowedError") throw thrown;
}
