/** An infotext, of ours or of A1111, made into the page's settings as far as the bundle has them. */

import type { Manifest } from "../bundle/manifest.gen";
import type { Infotext } from "./infotext";
import { samplerIn } from "./infotext";
import { type Missed, missedSettings } from "./missed";
import {
  chooseSampler,
  firstSettings,
  maxCacheInterval,
  maxClipSkip,
  maxGuidance,
  maxSeed,
  type Settings,
  settingsFor,
} from "./settings";
import { followTags, strangeTags } from "./tags";
import { promptToSend, triggerWords } from "./triggers";

export interface OpenedInfotext {
  settings: Settings;
  missed: Missed;
}

/** Tags at a prompt's end, where ours stand. */
const lastTags = /(?:\s*<lora:[^<>]+>)+\s*$/;

/** The settings that an infotext asks for; what it does not say is as a fresh page has it. */
export function openInfotext(told: Infotext, manifest: Manifest): OpenedInfotext {
  const first = firstSettings(manifest);
  const { fields } = told;
  const number = (name: string, min: number, max: number, otherwise: number) => {
    const value = Number(fields.get(name) || Number.NaN);
    return Number.isFinite(value) ? Math.min(max, Math.max(min, value)) : otherwise;
  };
  const whole = (...all: Parameters<typeof number>) => Math.round(number(...all));
  const { settings: styled, strange } = withStyles(told.prompt, manifest, first);
  const sampler = samplerIn(fields, manifest.samplers);
  const sized = sizeIn(fields.get("Size"));
  const chosen = chooseSampler(styled, manifest, sampler?.name ?? first.sampler);
  const settings = settingsFor(manifest, {
    ...chosen,
    negativePrompt: told.negativePrompt,
    steps: whole("Steps", 1, 1000, chosen.steps),
    guidance: number("CFG scale", 1, maxGuidance, first.guidance),
    seed: whole("Seed", 0, maxSeed, first.seed),
    clipSkip: whole("Clip skip", 1, maxClipSkip + 1, 1) - 1,
    guidanceRange: rangeIn(fields.get("Guided")),
    cacheInterval: whole("Cache interval", 1, maxCacheInterval, 1),
    ...sized,
  });
  const model = fields.get("Model");
  const hash = fields.get("Model hash");
  const isOther = hash !== undefined && hash !== "" && !manifest.base_hash.startsWith(hash);
  const missed: Missed = {
    styles: strange,
    image: fields.has("Denoising strength") && !fields.has("Hires upscale"),
    ...missedSettings(manifest, sized ?? {}),
    ...(fields.get("Sampler") && !sampler && { sampler: samplerNameIn(fields) }),
    ...(isOther && { model: model ?? hash }),
  };
  return { settings: withoutLead(settings, manifest), missed };
}

/** Styles by the prompt's tags; all others are off, and tags that name none are taken out. */
function withStyles(prompt: string, manifest: Manifest, first: Settings) {
  const styles = manifest.styles ?? [];
  const off = Object.entries(first.styles).map(([name, was]) => [name, { ...was, on: false }]);
  const start: Settings = { ...first, styles: Object.fromEntries(off) };
  const tags = lastTags.exec(prompt)?.[0] ?? "";
  const words = prompt.slice(0, prompt.length - tags.length);
  // Words without tags among them stay letter for letter: a comma more is another picture.
  const atEnd = followTags({ ...start, prompt: tags }, styles).settings;
  const strange = strangeTags(atEnd.prompt);
  const { settings } = followTags({ ...atEnd, prompt: words }, styles);
  strange.push(...strangeTags(settings.prompt));
  const rest = strangeTags(settings.prompt).reduce(
    (text, tag) => text.replaceAll(tag, ""),
    settings.prompt,
  );
  const nameOf = (tag: string) => /^<lora:([^:>]*)/.exec(tag)?.[1] || tag;
  return { settings: { ...settings, prompt: rest.trim() }, strange: strange.map(nameOf) };
}

/** Trigger words that the page would put in front by itself need not stand in the prompt. */
function withoutLead(settings: Settings, manifest: Manifest): Settings {
  const styles = manifest.styles ?? [];
  const lead = triggerWords({ ...settings, prompt: "" }, styles).join(", ");
  const { prompt } = settings;
  if (!lead || !prompt.startsWith(lead)) return settings;
  const rest = { ...settings, prompt: prompt.slice(lead.length).replace(/^,\s*/, "") };
  return promptToSend(rest, styles) === prompt ? rest : settings;
}

function samplerNameIn(fields: ReadonlyMap<string, string>): string {
  return [fields.get("Sampler"), fields.get("Schedule type")].filter(Boolean).join(" ");
}

function sizeIn(text: string | undefined) {
  const [, width, height] = /^(\d{1,5})x(\d{1,5})$/.exec(text ?? "") ?? [];
  return width && height ? { width: Number(width), height: Number(height) } : undefined;
}

function rangeIn(text: string | undefined): [number, number] {
  const [, from, to] = /^([\d.]+)-([\d.]+)$/.exec(text ?? "") ?? [];
  const range: [number, number] = [Number(from), Number(to)];
  return range[0] >= 0 && range[0] < range[1] && range[1] <= 1 ? range : [0, 1];
}
