/** What the artist has chosen, and the rules that keep it within what the bundle offers. */

import type { Manifest, Sampler, Style } from "../bundle/manifest.gen";
import { usualImageStrength } from "../engine/imagetoimage";
import { changes } from "../engine/manifest";
import type { TextStyle } from "../library/codec";
import type { StyleChoice } from "../worker/protocol";
import { fittingSize, usualSize } from "./sizes";
import type { SourcePicture } from "./source";

export interface StyleSetting {
  on: boolean;
  strength: number;
  /** On the text encoder; absent: as `strength`. */
  te?: number;
}

export interface Settings {
  prompt: string;
  negativePrompt: string;
  seed: number;
  steps: number;
  guidance: number;
  sampler: string;
  /** In pixels. */
  width: number;
  height: number;
  /** Layers of the text encoder that are left out at its end. */
  clipSkip: number;
  /** The part of the run, from 0 to 1, in which guidance works; outside it a step costs half. */
  guidanceRange: [number, number];
  /** Every how many steps the model's inner layers are computed. */
  cacheInterval: number;
  /** What the picture begins from; absent: from noise. */
  image?: SourcePicture;
  /** How far `image` is left, from 0 to 1. */
  imageStrength: number;
  styles: Record<string, StyleSetting>;
}

/** Seeds of MT19937 are 32 bits wide. */
export const maxSeed = 0xffff_ffff;
export const maxGuidance = 30;
export const maxCacheInterval = 4;
/** CLIP's text encoders have 12 layers and more; smaller ones say so when they are asked. */
export const maxClipSkip = 11;

/** Beyond it, either way, there is no picture any more. */
const mostStrength = 10;

const wanted = { sampler: "ddim", style: "miyazaki" };

/** The strength a style starts at: what the bundle says, or what it was merged at. */
export function initialStrength(style: Style): number {
  if (style.kind === "merged") return style.merged_strength ?? 1;
  return style.strength?.default ?? 0.8;
}

/** A strength that somebody wrote, which may be more than the slider's maker had in mind. */
export const writtenStrength = (value: number) =>
  Math.min(mostStrength, Math.max(-mostStrength, value));

/** The ends of a style's slider: as its maker says, or further where `reached` is. */
export function strengthRange(style: Style | undefined, ...reached: number[]): [number, number] {
  const { min = 0, max = 1.5 } = style?.strength ?? {};
  return [Math.min(min, ...reached), Math.max(max, ...reached)];
}

export function samplerOf(manifest: Manifest, name: string): Sampler | undefined {
  return manifest.samplers.find((sampler) => sampler.name === name);
}

/** What the base draws best, in the first style of the house. */
export function firstSettings(manifest: Manifest): Settings {
  const { hints, samplers } = manifest;
  const sampler = samplerOf(manifest, hints.sampler ?? wanted.sampler) ?? samplers[0];
  const styles = manifest.styles ?? [];
  const first = styles.find((style) => style.name === wanted.style) ?? styles[0];
  return {
    prompt: hints.prompts?.[0] ?? "",
    negativePrompt: "",
    seed: 1,
    steps: hints.steps ?? sampler?.default_steps ?? 20,
    guidance: hints.guidance_scale ?? 7.5,
    sampler: sampler?.name ?? wanted.sampler,
    ...usualSize(manifest.model),
    clipSkip: 0,
    guidanceRange: [0, 1],
    cacheInterval: 1,
    imageStrength: usualImageStrength,
    styles: Object.fromEntries(
      styles.map((style) => [
        style.name,
        { on: style === first, strength: initialStrength(style) },
      ]),
    ),
  };
}

/** What was chosen, as far as this bundle offers it; its other styles are off. */
export function settingsFor(manifest: Manifest, chosen: Settings | undefined): Settings {
  const first = firstSettings(manifest);
  if (!chosen) return first;
  const sampler = samplerOf(manifest, chosen.sampler) ?? samplerOf(manifest, first.sampler);
  const styles = (manifest.styles ?? []).map((style): [string, StyleSetting] => {
    const was = chosen.styles[style.name];
    if (was && style.kind === "external") return [style.name, was];
    // A merged one has a strength of its own.
    return [style.name, { on: was?.on ?? false, strength: initialStrength(style) }];
  });
  return {
    ...first, // what settings of an older page do not say
    ...chosen,
    ...fittingSize(manifest.model, chosen),
    steps: Math.min(chosen.steps, sampler?.max_steps ?? chosen.steps),
    sampler: sampler?.name ?? chosen.sampler,
    styles: Object.fromEntries(styles),
  };
}

/** Another sampler; a step count left at the old one's default follows to the new one's. */
export function chooseSampler(settings: Settings, manifest: Manifest, name: string): Settings {
  const before = samplerOf(manifest, settings.sampler);
  const after = samplerOf(manifest, name);
  if (!after) return settings;
  const untouched = settings.steps === before?.default_steps;
  const steps = untouched ? after.default_steps : Math.min(settings.steps, after.max_steps);
  return { ...settings, sampler: name, steps };
}

/**
 * Turns a style on or off. A merged style is a UNet of its own without LoRA inputs, so it
 * stands alone: turning it on turns the others off, and any other turns it off.
 */
export function toggleStyle(settings: Settings, styles: readonly Style[], name: string): Settings {
  const chosen = styles.find((style) => style.name === name);
  const setting = settings.styles[name];
  if (!chosen || !setting) return settings;
  const next = { ...settings.styles, [name]: { ...setting, on: !setting.on } };
  if (!setting.on) {
    for (const other of styles) {
      const was = next[other.name];
      if (other.name !== name && was && (chosen.kind === "merged" || other.kind === "merged")) {
        next[other.name] = { ...was, on: false };
      }
    }
  }
  return { ...settings, styles: next };
}

/** Turns a style on, and all others off. */
export function chooseOnly(settings: Settings, styles: readonly Style[], name: string): Settings {
  const off = Object.entries(settings.styles).map(([other, was]): [string, StyleSetting] => [
    other,
    other === name ? was : { ...was, on: false },
  ]);
  const alone = { ...settings, styles: Object.fromEntries(off) };
  return alone.styles[name]?.on ? alone : toggleStyle(alone, styles, name);
}

export function setStrength(
  settings: Settings,
  name: string,
  change: Partial<StyleSetting>,
): Settings {
  const setting = settings.styles[name];
  if (!setting) return settings;
  return { ...settings, styles: { ...settings.styles, [name]: { ...setting, ...change } } };
}

/** The styles that are on, in the bundle's order. */
export function stylesOn(settings: Settings, styles: readonly Style[]): Style[] {
  return styles.filter((style) => settings.styles[style.name]?.on);
}

/** What the worker is asked for. */
export function styleChoices(settings: Settings, styles: readonly Style[]): StyleChoice[] {
  return stylesOn(settings, styles).map(({ name }) => ({
    name,
    strength: settings.styles[name]?.strength ?? 0,
  }));
}

/** What the server is asked for. */
export function textStyles(settings: Settings, styles: readonly Style[]): TextStyle[] {
  return stylesOn(settings, styles)
    .filter((style) => changes(style, "text_encoder"))
    .map((style) => ({ name: style.name, te: textStrength(style, settings.styles[style.name]) }))
    .filter(({ te }) => te !== 0);
}

/** A style's strength on the text encoder: its own where it has one, else that of the UNet. */
export function textStrength(style: Style, setting: StyleSetting | undefined): number {
  const own = style.kind === "external" ? setting?.te : undefined;
  return own ?? setting?.strength ?? 0;
}

/** Seeds short enough to be written on the back of a print. */
export function rollSeed(random: () => number = Math.random): number {
  return Math.floor(random() * 1_000_000);
}
