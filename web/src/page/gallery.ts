/** The pictures on the wall and in the gallery: what is known of them, and how they are found. */

import type { Manifest } from "../bundle/manifest.gen";
import type { GalleryEntry, PictureFacts } from "./gallerystore";
import type { Order } from "./order";
import { samplerOf } from "./settings";

export interface Picture extends PictureFacts {
  /** Of this visit, counted from 1; those of earlier ones from -1 downwards. */
  number: number;
  /** In the gallery, once it is kept there. */
  id?: number;
  /** Object URL of the PNG. */
  url: string;
}

/** As many as a filmstrip shows. */
export const shownAtMost = 12;

/** Adds a picture; `dropped` are those whose memory can be freed. */
export function hang(
  pictures: readonly Picture[],
  picture: Picture,
): { pictures: Picture[]; dropped: Picture[] } {
  const all = [picture, ...pictures];
  return { pictures: all.slice(0, shownAtMost), dropped: all.slice(shownAtMost) };
}

/** `brushlet-miyazaki-1.png`. */
export function fileName({ order }: { order: Order }): string {
  const styles = order.styles.filter(({ strength }) => strength !== 0).map(({ name }) => name);
  return `${["brushlet", ...styles, order.seed].join("-")}.png`;
}

/**
 * The entries in which every word of `search` occurs: in the prompts, the styles' names and titles, the
 * sampler or the seed.
 */
export function found(
  entries: readonly GalleryEntry[],
  search: string,
  manifest: Manifest | undefined,
): GalleryEntry[] {
  const words = search.toLowerCase().split(/\s+/).filter(Boolean);
  if (words.length === 0) return [...entries];
  const titles = new Map(manifest?.styles?.map(({ name, title }) => [name, title]));
  return entries.filter(({ order, settings }) => {
    const styles = order.styles.filter(({ strength }) => strength !== 0);
    const text = [
      settings.prompt,
      order.prompt,
      order.negativePrompt,
      ...styles.flatMap(({ name }) => [name, titles.get(name) ?? ""]),
      order.sampler,
      (manifest && samplerOf(manifest, order.sampler)?.title) ?? "",
    ]
      .join("\n")
      .toLowerCase();
    return words.every((word) => text.includes(word) || String(order.seed) === word);
  });
}
