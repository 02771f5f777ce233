/** What is kept of a bundle besides its files: which they are, whose they are, and its manifest. */

import type { FileRef, Manifest } from "../bundle/manifest.gen";
import { sha256 } from "./hash";

export interface BundleRecord {
  /** Where it comes from; one record for each. */
  manifestUrl: string;
  /** Unix milliseconds. */
  openedAt: number;
  /** As it was last fetched, for visits without a network. */
  manifest: Manifest;
  /** By SHA-256, all that the manifest names, stored or not. */
  files: Record<string, RecordedFile>;
}

export interface RecordedFile {
  url: string;
  bytes: number;
  /** The styles that alone need it; absent where the base does. */
  styles?: string[];
}

/** The record of a bundle that is opened now. */
export function recordOf(manifest: Manifest, manifestUrl: string): BundleRecord {
  const { styles = [], unet, shards, ...rest } = manifest;
  const variantOf = new Map(styles.map(({ name, variant }) => [variant, name]));
  const files: BundleRecord["files"] = {};
  const add = (part: unknown, style?: string) => {
    for (const { sha256, url, bytes } of filesIn(part, shards)) {
      const known = files[sha256];
      if (!style) files[sha256] = { url, bytes };
      else if (!known) files[sha256] = { url, bytes, styles: [style] };
      else if (known.styles && !known.styles.includes(style)) known.styles.push(style);
    }
  };
  add(rest);
  // The base first: what it needs is no style's own.
  for (const variant of unet) if (!variantOf.has(variant.name)) add(variant);
  for (const variant of unet) add(variant, variantOf.get(variant.name));
  for (const style of styles) add(style, style.name);
  return { manifestUrl, openedAt: Date.now(), manifest, files };
}

/** All files that a part of a manifest refers to; a graph names its shards by key. */
function filesIn(part: unknown, shards: Manifest["shards"]): FileRef[] {
  if (typeof part !== "object" || part === null) return [];
  if ("sha256" in part && "url" in part && "bytes" in part) return [part as FileRef];
  return Object.entries(part).flatMap(([key, value]) =>
    key === "shards"
      ? (value as string[]).flatMap((name) => shards[name] ?? [])
      : filesIn(value, shards),
  );
}

/** The name of a bundle's record. */
export async function recordKey(manifestUrl: string): Promise<string> {
  const hash = await sha256();
  hash.update(new TextEncoder().encode(manifestUrl));
  return hash.hex();
}
