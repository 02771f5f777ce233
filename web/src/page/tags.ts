/** `<lora:name:weight>` in a prompt: such a tag moves the slider of the style that it names. */

import type { Style } from "../bundle/manifest.gen";
import { changes } from "../engine/manifest";
import { EngineProblem } from "../engine/problems";
import { type TaggedStyle, takeTags } from "../engine/tags";
import {
  type Settings,
  type StyleSetting,
  setStrength,
  toggleStyle,
  writtenStrength,
} from "./settings";

const tag = /<lora:[^<>]+>/g;

/** What tags did to the settings. */
export interface Tagged {
  settings: Settings;
  /** The styles whose sliders were set. */
  moved: Style[];
}

/**
 * Takes the tags of known styles out of `settings.prompt` and sets their sliders. Tags of others stay where the artist sees them; `promptToSend` leaves them out.
 */
export function followTags(settings: Settings, styles: readonly Style[]): Tagged {
  const found = new Map<Style, TaggedStyle>();
  let prompt = settings.prompt.replace(tag, (text) => {
    const named = readTag(text);
    const style = named && styleCalled(styles, named.name);
    if (!named || !style) return text;
    const before = found.get(style); // as in A1111, a style named twice has the sum
    const { unet = 0, te = 0 } = before ?? {};
    found.set(style, { name: style.name, unet: unet + named.unet, te: te + named.te });
    return "";
  });
  if (found.size === 0) return { settings, moved: [] };
  prompt = prompt.replace(/(,\s*)+(?=,|$)|^\s*(,\s*)+/g, "").replace(/ {2,}/g, " ");
  let next = { ...settings, prompt: prompt.trim() && prompt };
  for (const [style, { unet, te }] of found) {
    if (!next.styles[style.name]?.on) next = toggleStyle(next, styles, style.name);
    if (style.kind === "external") next = setStrength(next, style.name, tagged(style, unet, te));
  }
  return { settings: next, moved: [...found.keys()] };
}

/** A prompt without any style tags, those that nobody can read among them. */
export function withoutTags(prompt: string): string {
  return prompt.replace(tag, "");
}

/** The tags that are left in a prompt because they name no style here, or cannot be read. */
export function strangeTags(prompt: string): string[] {
  return [...new Set(prompt.match(tag) ?? [])];
}

/** The style of that name or title; A1111 names files, whose names the exporter makes plain. */
export function styleCalled(styles: readonly Style[], name: string): Style | undefined {
  const plain = name
    .toLowerCase()
    .replace(/\.safetensors$/, "")
    .replace(/[^a-z0-9_]+/g, "-")
    .replace(/^[-_]+|[-_]+$/g, "");
  return (
    styles.find((style) => style.name === name) ??
    styles.find((style) => style.name === plain) ??
    styles.find((style) => style.title.toLowerCase() === name.toLowerCase())
  );
}

/** Undefined for a tag that is not finished, or wrong: it is shown as one that is not read. */
function readTag(text: string): TaggedStyle | undefined {
  try {
    return takeTags(text).styles[0];
  } catch (thrown) {
    if (thrown instanceof EngineProblem) return undefined;
    throw thrown;
  }
}

function tagged(style: Style, unet: number, te: number): Partial<StyleSetting> {
  const apart = unet !== te && changes(style, "text_encoder");
  return { strength: writtenStrength(unet), ...(apart && { te: writtenStrength(te) }) };
}
