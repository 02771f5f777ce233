/** The pictures of this visit, newest first; they live in memory alone. */

import type { Order } from "./order";
import type { Settings } from "./settings";

export interface Picture {
  number: number;
  /** Object URL of the PNG. */
  url: string;
  order: Order;
  /** What the controls said, to go back to. */
  settings: Settings;
  milliseconds: number;
  /** Tokens of the prompts that were not read. */
  cut: number;
}

/** As many as a filmstrip shows; older ones are let go. */
export const kept = 12;

/** Adds a picture; `dropped` are those whose memory can be freed. */
export function hang(
  pictures: readonly Picture[],
  picture: Picture,
): { pictures: Picture[]; dropped: Picture[] } {
  const all = [picture, ...pictures];
  return { pictures: all.slice(0, kept), dropped: all.slice(kept) };
}

/** `brushlet-miyazaki-1.png`. */
export function fileName({ order }: Picture): string {
  const styles = order.styles.filter(({ strength }) => strength !== 0).map(({ name }) => name);
  return `${["brushlet", ...styles, order.seed].join("-")}.png`;
}
