/** Trigger words: what a style wants to read in front of the artist's own words. */

import type { Style } from "../bundle/manifest.gen";
import { type Settings, stylesOn } from "./settings";

const plain = (words: string) => words.trim().toLowerCase();

/** Whether `prompt` already says `words` as one of its comma-separated phrases. */
function says(prompt: string, words: string): boolean {
  return prompt.split(",").some((phrase) => plain(phrase) === plain(words));
}

/**
 * Words to put in front of the prompt, once each, in style order. A style at strength 0 adds
 * none, so that the picture is the base model's own.
 */
export function triggerWords(settings: Settings, styles: readonly Style[]): string[] {
  const words: string[] = [];
  for (const style of stylesOn(settings, styles)) {
    if ((settings.styles[style.name]?.strength ?? 0) <= 0) continue;
    for (const word of style.trigger_words ?? []) {
      const known = words.some((other) => plain(other) === plain(word));
      if (plain(word) && !known && !says(settings.prompt, word)) words.push(word.trim());
    }
  }
  return words;
}

/** The prompt as the text encoder reads it. */
export function promptToSend(settings: Settings, styles: readonly Style[]): string {
  return [...triggerWords(settings, styles), settings.prompt.trim()].filter(Boolean).join(", ");
}
