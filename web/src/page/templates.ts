/** Templates: a prompt in one click, with the style that it is for. */

import type { Style, Template } from "../bundle/manifest.gen";
import { chooseOnly, type Settings } from "./settings";

/** What the page offers. */
export interface Idea {
  template: Template;
  /** Whose it is; absent: it is for whatever style is chosen. */
  style?: Style;
}

/** The styles' own first, then those of the base; its bare prompts where there are none at all. */
export function ideasOf(
  styles: readonly Style[],
  hints: { templates?: Template[]; prompts?: string[] },
): Idea[] {
  const own = styles.flatMap((style) =>
    (style.templates ?? []).map((template) => ({ template, style })),
  );
  const general = (hints.templates ?? []).map((template) => ({ template }));
  if (own.length || general.length) return [...own, ...general];
  return (hints.prompts ?? []).map((prompt) => ({
    template: { title: prompt.split(",")[0] ?? prompt, prompt },
  }));
}

/** The prompt, and the style alone where it is one's own; all other settings stay. */
export function applyIdea(
  settings: Settings,
  styles: readonly Style[],
  { template, style }: Idea,
): Settings {
  const chosen = style ? chooseOnly(settings, styles, style.name) : settings;
  const { prompt, negative_prompt } = template;
  return { ...chosen, prompt, ...(negative_prompt && { negativePrompt: negative_prompt }) };
}

/** Whether the controls say just what the idea says. */
export function isChosen(settings: Settings, styles: readonly Style[], idea: Idea): boolean {
  const applied = applyIdea(settings, styles, idea);
  return JSON.stringify(applied) === JSON.stringify(settings);
}

/** `Miyazaki – meadow`, in the page's language where the bundle has it. */
export function titleOf({ template, style }: Idea, language: string): string {
  const title = template.titles?.[language] ?? template.title;
  return style ? `${style.title} – ${title}` : title;
}
