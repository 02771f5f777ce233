/** Trigger words: what a style wants to read beside the artist's own words. */

import type { Style } from "../bundle/manifest.gen";
import { type Settings, stylesOn } from "./settings";
import { withoutTags } from "./tags";

/** Where trigger words go in a prompt; without it they stand in front. */
export const slot = "{trigger}";

const plain = (words: string) => words.trim().toLowerCase();

/** Whether `prompt` already says `words` as one of its comma-separated phrases. */
function says(prompt: string, words: string): boolean {
  return prompt.split(",").some((phrase) => plain(phrase) === plain(words));
}

/**
 * Words to add to the prompt, once each, in style order. A style at strength 0 adds none, so that
 * the picture is the base model's own.
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

/** The prompt as the text encoder reads it: trigger words in their slot, else in front; no tags. */
export function promptToSend(settings: Settings, styles: readonly Style[]): string {
  const prompt = withoutTags(settings.prompt).trim();
  const words = triggerWords(settings, styles);
  if (!prompt.includes(slot)) return [...words, prompt].filter(Boolean).join(", ");
  return words.length ? prompt.replaceAll(slot, words.join(", ")) : withoutSlot(prompt);
}

/** A group with nothing in it, as `({trigger}:1.2)` is without its words. */
const emptyGroup = /\(\s*(?::\s*[\d.]+\s*)?\)|\[\s*\]/g;

/** Takes the slot out, with the comma that tied it to the rest. */
function withoutSlot(prompt: string): string {
  const rest = prompt.replaceAll(slot, "").replace(emptyGroup, "");
  const phrases = rest.split(",").map((phrase) => phrase.trim());
  return phrases.filter(Boolean).join(", ");
}
